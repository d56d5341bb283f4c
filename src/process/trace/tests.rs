//! Tracers as a whole, with collectors that write down what they get.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body_util::Full;
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span as OtlpSpan;
use proptest::prelude::*;
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::batch::Pace;
use super::context::{GRPC_TRACE_BIN, TRACEPARENT, TRACESTATE, TraceContext};
use super::endpoint::Protocol;
use super::span::Outcome;
use super::{Otlp, Settings, Tracer, endpoint};
use crate::process::metrics::Metrics;
use crate::process::serve::Plain;
use crate::process::tasks::Tasks;
use crate::testing::eventually::eventually;
use crate::testing::fake_app::FakeApp;
use crate::testing::listening::listen;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// No pauses, and limits that no test meets.
const QUICK: Pace = Pace {
    delay: Duration::ZERO,
    retry: Duration::ZERO,
    drain: Duration::from_secs(600),
    flush: Duration::from_secs(600),
};

fn settings() -> Settings {
    Settings {
        service: "shop".to_owned(),
        rate: 1.0,
        stdout: false,
        zipkin: None,
        otlp: None,
        drain: Duration::ZERO,
    }
}

fn otlp(address: std::net::SocketAddr, protocol: Protocol) -> Settings {
    let endpoint = endpoint::otlp(&address.to_string(), protocol, Some(false));
    Settings {
        otlp: Some(Otlp {
            endpoint: endpoint.unwrap(),
            protocol,
            headers: vec![(
                HeaderName::from_static("x-key"),
                HeaderValue::from_static("k"),
            )],
            timeout: Duration::from_secs(600),
        }),
        ..settings()
    }
}

/// A tracer that records into a task that never sends: for tests of contexts alone.
fn tracer(rate: f64, tasks: &mut Tasks) -> Tracer {
    let settings = Settings {
        rate,
        stdout: true,
        ..settings()
    };
    Tracer::start_at(QUICK, &settings, None, tasks)
}

fn tasks() -> Tasks {
    Tasks::new(CancellationToken::new())
}

fn parent(text: &str) -> HeaderMap {
    HeaderMap::from_iter([(TRACEPARENT, text.parse().unwrap())])
}

/// The headers with which a call goes on.
fn onward(tracer: &Tracer, mut headers: HeaderMap) -> HeaderMap {
    tracer
        .server_span(&headers.clone(), || "call".into())
        .inject(&mut headers);
    headers
}

async fn end(tracer: Tracer, tasks: Tasks) {
    drop(tracer);
    tasks.shutdown().cancel();
    tasks.finish().await.unwrap();
}

fn call(tracer: &Tracer, headers: &HeaderMap, outcome: Outcome) {
    let mut span = tracer.server_span(headers, || "GET /x".into());
    span.set("http.route", "/x");
    span.set("status", 200);
    span.end(outcome);
}

fn spans(message: &ExportTraceServiceRequest) -> Vec<OtlpSpan> {
    let resources = message.resource_spans.iter();
    let scopes = resources.flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope| scope.spans.clone()).collect()
}

#[tokio::test]
async fn one_that_is_off_passes_a_valid_context_and_makes_none() {
    let off = Tracer::default();
    assert_eq!(onward(&off, parent(PARENT)), parent(PARENT));
    assert!(onward(&off, HeaderMap::new()).is_empty());
    assert!(onward(&off, parent("00-00-00-00")).is_empty());
    // No exporter, or a rate of zero, is off.
    let mut tasks = tasks();
    let none = Tracer::start(&settings(), None, &mut tasks);
    assert!(onward(&none, HeaderMap::new()).is_empty());
    assert!(onward(&tracer(0.0, &mut tasks), HeaderMap::new()).is_empty());
}

#[tokio::test]
async fn a_call_goes_on_in_the_trace_of_its_caller() {
    let tracer = tracer(1.0, &mut tasks());
    let mut headers = parent(PARENT);
    headers.insert(TRACESTATE, HeaderValue::from_static("a=1"));
    headers.insert("baggage", HeaderValue::from_static("user=1"));
    headers.insert(GRPC_TRACE_BIN, HeaderValue::from_static("old"));
    let onward = onward(&tracer, headers);
    let before = TraceContext::parse(PARENT.as_bytes()).unwrap();
    let after = TraceContext::of(&onward).unwrap();
    assert_eq!(after.trace_id(), before.trace_id());
    assert_ne!(after.span_id(), before.span_id());
    assert!(after.is_sampled());
    assert_eq!(onward.get(TRACESTATE).unwrap(), "a=1");
    assert_eq!(onward.get("baggage").unwrap(), "user=1");
    let alone: HeaderMap = onward
        .into_iter()
        .filter_map(|(name, value)| Some((name?, value)))
        .filter(|(name, _)| *name != TRACEPARENT)
        .collect();
    assert_eq!(TraceContext::of(&alone), None, "not valid, so taken out");
}

#[tokio::test]
async fn a_trace_begins_here_where_the_caller_has_none() {
    let mut tasks = tasks();
    for (rate, is_sampled) in [(1.0, true), (1e-300, false)] {
        let tracer = tracer(rate, &mut tasks);
        let mut headers = parent("00-00000000000000000000000000000000-0000000000000000-00");
        headers.insert(TRACESTATE, HeaderValue::from_static("a=1"));
        let onward = onward(&tracer, headers);
        let made = TraceContext::of(&onward).unwrap();
        assert_eq!(made.is_sampled(), is_sampled);
        assert_eq!(onward.get(TRACESTATE), None, "that of no trace");
    }
}

proptest! {
    #[test]
    fn what_leaves_is_valid_or_absent(
        text in "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}|[ -~]{0,60}",
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _entered = runtime.enter();
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_str(&text).unwrap());
        for tracer in [Tracer::default(), tracer(0.5, &mut tasks())] {
            let onward = onward(&tracer, headers.clone());
            let is_there = onward.contains_key(TRACEPARENT);
            prop_assert_eq!(is_there, TraceContext::of(&onward).is_some());
            let mut answer = headers.clone();
            tracer.server_span(&headers, || "call".into()).mark(&mut answer);
            let is_there = answer.contains_key(TRACEPARENT);
            prop_assert_eq!(is_there, TraceContext::of(&answer).is_some());
        }
    }
}

#[tokio::test]
async fn spans_leave_as_otlp_over_http() {
    let collector = FakeApp::start().await;
    let mut tasks = tasks();
    let settings = otlp(collector.address(), Protocol::Http);
    let tracer = Tracer::start_at(QUICK, &settings, None, &mut tasks);
    call(&tracer, &parent(PARENT), Outcome::Failed("why"));
    call(
        &tracer,
        &parent(&PARENT.replace("-01", "-00")),
        Outcome::Fine,
    );
    end(tracer, tasks).await;
    let [request] = &collector.recorded()[..] else {
        panic!("one request for one span: an unsampled parent has none")
    };
    assert_eq!(request.uri.path(), "/v1/traces");
    assert_eq!(request.header("content-type"), ["application/x-protobuf"]);
    assert_eq!(request.header("x-key"), ["k"]);
    let message = ExportTraceServiceRequest::decode(request.body.clone()).unwrap();
    let resource = message.resource_spans[0].resource.clone().unwrap();
    assert_eq!(resource.attributes[0].key, "service.name");
    let [span] = &spans(&message)[..] else {
        panic!("one span")
    };
    let context = TraceContext::parse(PARENT.as_bytes()).unwrap();
    assert_eq!(span.trace_id, context.trace_id());
    assert_eq!(span.parent_span_id, context.span_id());
    assert_eq!(
        (span.name.as_str(), span.kind, span.flags),
        ("GET /x", 2, 0x301)
    );
    assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
    let keys: Vec<_> = span
        .attributes
        .iter()
        .map(|pair| pair.key.as_str())
        .collect();
    assert_eq!(keys, ["http.route", "status"]);
    let status = span.status.clone().unwrap();
    assert_eq!((status.code, status.message.as_str()), (2, "why"));
}

#[tokio::test]
async fn spans_leave_as_zipkins_json() {
    let collector = FakeApp::start().await;
    let mut tasks = tasks();
    let url = format!("http://{}/api/v2/spans", collector.address());
    let settings = Settings {
        zipkin: Some(endpoint::zipkin(&url).unwrap()),
        ..settings()
    };
    let tracer = Tracer::start_at(QUICK, &settings, None, &mut tasks);
    call(&tracer, &HeaderMap::new(), Outcome::Failed("why"));
    end(tracer, tasks).await;
    let request = collector.recorded().pop().unwrap();
    assert_eq!(request.uri.path(), "/api/v2/spans");
    assert_eq!(request.header("content-type"), ["application/json"]);
    let spans: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    let span = &spans[0];
    assert_eq!(span["traceId"].as_str().unwrap().len(), 32);
    assert_eq!(span["id"].as_str().unwrap().len(), 16);
    assert!(span.get("parentId").is_none(), "a zero one is not valid");
    assert_eq!(
        (&span["kind"], &span["name"]),
        (&"SERVER".into(), &"GET /x".into())
    );
    assert_eq!(span["localEndpoint"]["serviceName"], "shop");
    assert!(span["duration"].as_u64().unwrap() > 0);
    let tags = serde_json::json!({"error": "why", "http.route": "/x", "status": "200"});
    assert_eq!(span["tags"], tags);
}

/// A collector over gRPC, which refuses its first requests for a while.
#[derive(Clone, Default)]
struct Collector {
    refusals: Arc<Mutex<Vec<tonic::Status>>>,
    seen: Arc<Mutex<Vec<(HeaderMap, ExportTraceServiceRequest)>>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        if let Some(status) = self.refusals.lock().unwrap().pop() {
            return Err(status);
        }
        let (metadata, _, message) = request.into_parts();
        let seen = (metadata.into_headers(), message);
        self.seen.lock().unwrap().push(seen);
        Ok(tonic::Response::new(ExportTraceServiceResponse {
            partial_success: Some(ExportTracePartialSuccess {
                rejected_spans: 1,
                error_message: String::new(),
            }),
        }))
    }
}

#[tokio::test]
async fn spans_leave_as_otlp_over_grpc_and_a_busy_collector_is_asked_again() {
    let collector = Collector::default();
    let busy = || tonic::Status::unavailable("busy");
    collector.refusals.lock().unwrap().extend([busy(), busy()]);
    let routes = Routes::new(TraceServiceServer::new(collector.clone()));
    let routes = TowerToHyperService::new(routes.prepare().into_axum_router());
    let (address, _server) = listen(Plain, routes).await;
    let mut tasks = tasks();
    let metrics = Metrics::new(None);
    let settings = otlp(address, Protocol::Grpc);
    let tracer = metrics::with_local_recorder(&metrics, || {
        Tracer::start_at(QUICK, &settings, None, &mut tasks)
    });
    call(&tracer, &HeaderMap::new(), Outcome::Fine);
    eventually("the span arrives", async || {
        collector.seen.lock().unwrap().first().cloned()
    })
    .await;
    end(tracer, tasks).await;
    let seen = collector.seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].0.get("x-key").unwrap(), "k");
    assert_eq!(spans(&seen[0].1)[0].name, "GET /x");
    let text = metrics.render();
    // The collector says that it refused the one span that it took.
    let line = "spans_dropped_total{exporter=\"otlp\",reason=\"refused\"} 1";
    assert!(text.contains(line), "{text}");
}

#[tokio::test]
async fn a_dead_collector_holds_nobody_up_and_the_rest_is_dropped_and_counted() {
    // It takes connections and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = otlp(silent.local_addr().unwrap(), Protocol::Http);
    let mut tasks = tasks();
    let metrics = Metrics::new(None);
    let pace = Pace {
        drain: Duration::ZERO,
        flush: Duration::ZERO,
        ..QUICK
    };
    let tracer = metrics::with_local_recorder(&metrics, || {
        Tracer::start_at(pace, &settings, None, &mut tasks)
    });
    // Without an await in between: no span could wait for the exporter.
    for _ in 0..3000 {
        call(&tracer, &HeaderMap::new(), Outcome::Fine);
    }
    let text = metrics.render();
    let line = "spans_dropped_total{exporter=\"otlp\",reason=\"queue_full\"} 952";
    assert!(text.contains(line), "{text}");
    end(tracer, tasks).await;
    let text = metrics.render();
    let line = "spans_dropped_total{exporter=\"otlp\",reason=\"export_failed\"} 2048";
    assert!(text.contains(line), "{text}");
    assert!(
        text.contains("spans_exported_total{exporter=\"otlp\"} 0"),
        "{text}"
    );
}

#[tokio::test]
async fn a_refused_batch_is_dropped_and_a_redirect_leads_nowhere() {
    let elsewhere = FakeApp::start().await;
    let target = format!("http://{}/v1/traces", elsewhere.address());
    let collector = FakeApp::answering(move |_| {
        let moved = Response::builder().status(307).header("location", &target);
        moved.body(Full::new(Bytes::new())).unwrap()
    })
    .await;
    let mut tasks = tasks();
    let metrics = Metrics::new(None);
    let settings = otlp(collector.address(), Protocol::Http);
    let tracer = metrics::with_local_recorder(&metrics, || {
        Tracer::start_at(QUICK, &settings, None, &mut tasks)
    });
    call(&tracer, &HeaderMap::new(), Outcome::Fine);
    end(tracer, tasks).await;
    assert_eq!(collector.recorded().len(), 1);
    assert!(elsewhere.recorded().is_empty());
    let line = "spans_dropped_total{exporter=\"otlp\",reason=\"export_failed\"} 1";
    assert!(metrics.render().contains(line));
}

#[tokio::test]
async fn a_span_that_is_dropped_says_that_its_call_was_broken_off() {
    let collector = FakeApp::start().await;
    let mut tasks = tasks();
    let settings = otlp(collector.address(), Protocol::Http);
    let tracer = Tracer::start_at(QUICK, &settings, None, &mut tasks);
    drop(tracer.server_span(&HeaderMap::new(), || "GET /x".into()));
    end(tracer, tasks).await;
    let body = collector.recorded().pop().unwrap().body;
    let message = ExportTraceServiceRequest::decode(body).unwrap();
    let status = spans(&message)[0].status.clone().unwrap();
    assert_eq!(status.message, "cancelled");
}
