//! Traces of a whole sidecar, with an app and a collector that write down what they get.

use dapr::dapr::proto::runtime::v1::GetMetadataRequest;
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use http::Response;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::{Value, json};
use sidegate::testing::fake_app::{FakeApp, Recorded};
use sidegate::testing::http_client::send;

use super::configuration::configuration;
use super::{Running, TOKEN, request};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A sidecar with a token, its app, and a collector of its traces.
struct Traced {
    sidecar: Running,
    app: FakeApp,
    collector: FakeApp,
    _folder: tempfile::TempDir,
}

impl Traced {
    async fn start(tracing: impl FnOnce(&str) -> Value) -> Self {
        let (app, collector) = (FakeApp::start().await, FakeApp::start().await);
        let tracing = tracing(&collector.address().to_string());
        let (folder, flag) = configuration(&json!({"tracing": tracing}));
        let port = format!("--app-port={}", app.address().port());
        let sidecar = Running::with_token(&[&flag, &port]).await;
        Self {
            sidecar,
            app,
            collector,
            _folder: folder,
        }
    }

    async fn call(&self, path: &str, headers: &[(&str, &str)]) -> Response<bytes::Bytes> {
        let token = [("dapr-api-token", TOKEN)];
        let headers = [&token[..], headers].concat();
        send(self.sidecar.http(), request("GET", path, &headers)).await
    }

    /// What the app got on a path.
    fn seen(&self, path: &str) -> Recorded {
        let recorded = self.app.recorded();
        let found = recorded.into_iter().find(|seen| seen.uri.path() == path);
        found.unwrap()
    }

    /// Ends the sidecar, after which every span has left it. What the collector got, by path.
    async fn exported(self) -> Vec<Recorded> {
        self.sidecar.stop.cancel();
        self.sidecar.ended().await.unwrap();
        self.collector.recorded()
    }
}

fn otlp(address: &str) -> Value {
    let otel = json!({"endpointAddress": address, "protocol": "http", "isSecure": false});
    json!({"samplingRate": "1", "otel": otel})
}

fn spans(exported: &[Recorded]) -> Vec<Span> {
    let messages = exported
        .iter()
        .map(|request| ExportTraceServiceRequest::decode(request.body.clone()).unwrap());
    let resources = messages.flat_map(|message| message.resource_spans);
    let scopes = resources.flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn one_trace_leads_from_a_client_through_the_sidecar_to_the_app() {
    let traced = Traced::start(otlp).await;
    let headers = [
        ("traceparent", PARENT),
        ("tracestate", "vendor=1"),
        ("baggage", "user=7"),
    ];
    let answer = traced
        .call("/v1.0/invoke/app/method/orders", &headers)
        .await;
    assert_eq!(answer.status(), 200);
    let seen = traced.seen("/orders");
    assert_eq!(seen.header("tracestate"), ["vendor=1"]);
    assert_eq!(seen.header("baggage"), ["user=7"]);
    let onward = seen.header("traceparent")[0].to_owned();
    assert_eq!(answer.headers()["traceparent"], onward);

    let exported = traced.exported().await;
    let [span] = &spans(&exported)[..] else {
        panic!("one call, one span")
    };
    let written = format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id));
    assert_eq!(written, onward);
    assert_eq!(hex(&span.trace_id), TRACE_ID);
    assert_eq!(hex(&span.parent_span_id), "00f067aa0ba902b7");
    assert_eq!(span.name, "CallLocal/app/orders");
}

#[tokio::test]
async fn an_unsampled_call_goes_on_unsampled_and_is_not_exported() {
    let traced = Traced::start(otlp).await;
    let unsampled = PARENT.replace("-01", "-00");
    let headers = [("traceparent", unsampled.as_str())];
    let answer = traced
        .call("/v1.0/invoke/app/method/orders", &headers)
        .await;
    let onward = traced.seen("/orders").header("traceparent")[0].to_owned();
    assert!(
        onward.contains(TRACE_ID) && onward.ends_with("-00"),
        "{onward}"
    );
    assert_eq!(answer.headers()["traceparent"], onward);
    assert_eq!(spans(&traced.exported().await), []);
}

#[tokio::test]
async fn a_call_without_a_context_begins_a_trace_and_health_checks_do_not() {
    let traced = Traced::start(otlp).await;
    let answer = traced
        .call("/v1.0/healthz/outbound", &[("traceparent", PARENT)])
        .await;
    assert_eq!(answer.headers().get("traceparent"), None);
    let zero = "00-00000000000000000000000000000000-0000000000000000-00";
    let answer = traced
        .call("/v1.0/metadata", &[("traceparent", zero)])
        .await;
    let made = answer.headers()["traceparent"].to_str().unwrap().to_owned();
    let [span] = &spans(&traced.exported().await)[..] else {
        panic!("one span: none for health")
    };
    assert!(
        made.contains(&hex(&span.trace_id)) && made.ends_with("-01"),
        "{made}"
    );
    assert_eq!(span.name, "/v1.0/metadata");
    assert!(span.parent_span_id.is_empty());
}

#[tokio::test]
async fn without_an_exporter_a_valid_context_passes_and_none_is_made() {
    for tracing in [json!({}), json!({"samplingRate": "1"})] {
        let traced = Traced::start(|_| tracing).await;
        let answer = traced.call("/v1.0/invoke/app/method/with", &[("traceparent", PARENT)]);
        assert_eq!(answer.await.headers()["traceparent"], PARENT);
        assert_eq!(traced.seen("/with").header("traceparent"), [PARENT]);
        let answer = traced.call("/v1.0/invoke/app/method/without", &[]).await;
        assert_eq!(answer.headers().get("traceparent"), None);
        let broken = [("traceparent", "00-0-0-00"), ("tracestate", "a=1")];
        traced.call("/v1.0/invoke/app/method/broken", &broken).await;
        for path in ["/without", "/broken"] {
            let seen = traced.seen(path);
            assert!(seen.header("traceparent").is_empty(), "{path}");
            assert!(seen.header("tracestate").is_empty(), "{path}");
        }
    }
}

#[tokio::test]
async fn no_token_no_query_and_no_header_is_in_what_is_exported() {
    // Both forms: one collector, two exporters.
    let traced = Traced::start(|address| {
        let mut tracing = otlp(address);
        let url = format!("http://{address}/api/v2/spans");
        tracing["zipkin"] = json!({"endpointAddress": url});
        tracing
    })
    .await;
    let secrets = [
        ("authorization", "Bearer hunter2-bearer"),
        ("cookie", "hunter2-cookie"),
        ("dapr-foo", "hunter2-dapr"),
        ("x-own", "hunter2-own"),
    ];
    let path = "/v1.0/invoke/app/method/orders?q=hunter2-query";
    assert_eq!(traced.call(path, &secrets).await.status(), 200);
    let wrong = [("dapr-api-token", "hunter2-wrong")];
    let refused = traced.sidecar.status("GET", path, &wrong).await;
    assert_eq!(refused, 401);
    let mut client = DaprClient::connect(format!("http://{}", traced.sidecar.grpc()))
        .await
        .unwrap();
    for (token, is_accepted) in [(TOKEN, true), ("hunter2-wrong", false)] {
        let mut call = tonic::Request::new(GetMetadataRequest {});
        for (name, value) in secrets.iter().chain(&[("dapr-api-token", token)]) {
            call.metadata_mut().insert(*name, value.parse().unwrap());
        }
        assert_eq!(client.get_metadata(call).await.is_ok(), is_accepted);
    }
    drop(client);

    let exported = traced.exported().await;
    let (otlp, zipkin): (Vec<_>, Vec<_>) = exported
        .into_iter()
        .partition(|request| request.uri.path() == "/v1/traces");
    let mut names: Vec<_> = spans(&otlp).into_iter().map(|span| span.name).collect();
    names.sort_unstable();
    let (http, grpc) = (
        "CallLocal/app/orders",
        "/dapr.proto.runtime.v1.Dapr/GetMetadata",
    );
    assert_eq!(
        names,
        [grpc, grpc, http, http],
        "refused calls are there too"
    );
    assert!(!zipkin.is_empty());
    for request in otlp.iter().chain(&zipkin) {
        let bytes = String::from_utf8_lossy(&request.body);
        for secret in [
            TOKEN,
            "hunter2",
            "Bearer",
            "q=",
            "authorization",
            "cookie",
            "x-own",
        ] {
            assert!(!bytes.contains(secret), "{secret} in {bytes}");
        }
        assert!(request.header("dapr-api-token").is_empty());
    }
}

#[tokio::test]
async fn the_environment_alone_turns_tracing_on() {
    let collector = FakeApp::start().await;
    let endpoint = format!("http://{}", collector.address());
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=k"),
        ("OTEL_SERVICE_NAME", "shop"),
    ];
    let sidecar = Running::start(&[], &environment).await;
    assert_eq!(sidecar.status("GET", "/v1.0/metadata", &[]).await, 200);
    sidecar.stop.cancel();
    sidecar.ended().await.unwrap();
    let request = collector.recorded().pop().unwrap();
    assert_eq!(request.header("x-key"), ["k"]);
    let message = ExportTraceServiceRequest::decode(request.body).unwrap();
    let resource = message.resource_spans[0].resource.clone().unwrap();
    assert!(format!("{resource:?}").contains("\"shop\""), "{resource:?}");
}
