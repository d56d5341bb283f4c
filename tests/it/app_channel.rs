//! The road to the app, over real sockets.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::{
    BindingEventRequest, BindingEventResponse, ListInputBindingsResponse,
};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use sidegate::app_channel::{
    AppChannel, AppChannelConfig, AppProtocol, Error, HealthConfig, ROADS, Road, Speech,
};
use sidegate::base::token::Token;
use sidegate::blocks::subscriptions::to_app;
use sidegate::process::body::{Body as RequestBody, whole};
use sidegate::process::serve::{Handshake, Plain};
use sidegate::process::tasks::BoxError;
use sidegate::testing::certificates::Authority;
use sidegate::testing::eventually::eventually;
use sidegate::testing::fake_app::FakeApp;
use sidegate::testing::fake_grpc_app::FakeGrpcApp;
use sidegate::testing::listening::listen;
use sidegate::testing::mounted_secret::MountedSecret;
use sidegate::tls::handshake::TlsHandshake;
use sidegate::tls::identity::IdentityFiles;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::pubsub::{Files, Running, in_memory, message};

const TOKEN_HEADER: &str = "dapr-api-token";

pub(crate) fn config(protocol: AppProtocol, address: SocketAddr) -> AppChannelConfig {
    AppChannelConfig {
        protocol,
        address: address.ip().to_string(),
        port: address.port(),
        token: None,
        max_concurrency: None,
        max_body_bytes: 64 * 1024,
        health: None,
        app_id: "app".to_owned(),
    }
}

pub(crate) fn token(text: &str) -> Token {
    let parsed = Token::parse("APP_API_TOKEN", Some(text)).unwrap().unwrap();
    parsed.token
}

fn health() -> HealthConfig {
    HealthConfig {
        path: "healthy".to_owned(),
        interval: Duration::from_millis(5),
        timeout: Duration::from_secs(60),
        threshold: 2,
    }
}

fn get(path: &str) -> Request<RequestBody> {
    Request::get(path).body(whole("")).unwrap()
}

pub(crate) type Sender = tokio::sync::mpsc::Sender<Result<Frame<Bytes>, BoxError>>;

/// A body of unknown length, written by the test.
pub(crate) fn streamed() -> (Sender, UnsyncBoxBody<Bytes, BoxError>) {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let frames = ReceiverStream::new(receiver);
    (sender, UnsyncBoxBody::new(StreamBody::new(frames)))
}

pub(crate) async fn feed(sender: &mut Sender, data: &'static [u8]) {
    let frame = Frame::data(Bytes::from_static(data));
    sender.send(Ok(frame)).await.unwrap();
}

/// An app made of one function, for what [`FakeApp`] cannot: streams, and TLS.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _task: JoinSet<()>,
}

pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

impl Server {
    pub(crate) async fn start<F, A>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Answer> + Send + 'static,
    {
        Self::start_with(Plain, answer).await
    }

    async fn start_with<H, F, A>(handshake: H, answer: F) -> Self
    where
        H: Handshake,
        F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Answer> + Send + 'static,
    {
        let service = service_fn(move |request| answer(request).map(Ok::<_, Infallible>));
        let (address, task) = listen(handshake, service).await;
        Self {
            address,
            _task: task,
        }
    }
}

async fn call_about_bindings(channel: &AppChannel, road: Road, headers: HeaderMap) {
    let name = road.row().name;
    match road {
        Road::ListInputBindings => {
            let answer = channel.callback(road, name, headers, ()).await;
            let _: ListInputBindingsResponse = answer.unwrap().unwrap();
        }
        Road::BindingEventGrpc => {
            let event = BindingEventRequest::default();
            let answer = channel.callback(road, name, headers, event).await;
            let _: BindingEventResponse = answer.unwrap().unwrap();
        }
        _ => {
            let mut request = Request::new(Bytes::new());
            *request.headers_mut() = headers;
            channel.call_http(road, request).await.unwrap();
        }
    }
}

/// Makes the call of a road to an app that has just been started for it, with a token of the
/// caller's own on it where the road takes headers. Hands back the tokens that the app saw.
async fn tokens_seen_on(road: Road, own: Option<Token>, callers: Option<&str>) -> Vec<String> {
    let http = FakeApp::start().await;
    let grpc = FakeGrpcApp::answering(|_| Ok(tonic::Response::new(Default::default()))).await;
    let (protocol, address) = match road.row().speech {
        Speech::Http => (AppProtocol::Http, http.address()),
        Speech::Grpc => (AppProtocol::Grpc, grpc.address()),
    };
    let is_probe = matches!(road, Road::HealthProbeHttp | Road::HealthProbeGrpc);
    let channel = AppChannel::new(AppChannelConfig {
        token: own,
        health: is_probe.then(health),
        ..config(protocol, address)
    })
    .unwrap();
    let token = callers.map(|token| {
        (
            HeaderName::from_static(TOKEN_HEADER),
            token.parse().unwrap(),
        )
    });
    let headers = HeaderMap::from_iter(token);
    let was_called = || !http.recorded().is_empty() || !grpc.recorded().is_empty();
    call(road, channel, headers, was_called).await;
    let over_http = http.recorded().into_iter().take(1);
    let over_grpc = grpc.recorded().into_iter().take(1);
    let tokens: Vec<Vec<String>> = over_http
        .map(|call| {
            call.header(TOKEN_HEADER)
                .iter()
                .map(ToString::to_string)
                .collect()
        })
        .chain(over_grpc.map(|call| {
            call.values(TOKEN_HEADER)
                .iter()
                .map(ToString::to_string)
                .collect()
        }))
        .collect();
    assert_eq!(tokens.len(), 1, "the app was called on {road:?}");
    tokens.concat()
}

/// Makes the call of a road. `was_called` tells whether the app knows of it.
async fn call(road: Road, channel: AppChannel, headers: HeaderMap, was_called: impl Fn() -> bool) {
    match road {
        Road::InvokeHttp => {
            let mut request = get("/x");
            *request.headers_mut() = headers;
            channel.invoke_http(request).await.unwrap();
        }
        Road::InvokeGrpc => {
            let answer = channel.invoke_grpc(headers, Default::default()).await;
            answer.unwrap().outcome.unwrap();
        }
        Road::ProxyGrpc => {
            // An empty message in the frame that gRPC puts before each.
            let mut request = Request::post("/dapr.proto.runtime.v1.AppCallback/OnInvoke")
                .header("content-type", "application/grpc")
                .body(whole(vec![0; 5]))
                .unwrap();
            request.headers_mut().extend(headers);
            let answer = channel.proxy_grpc(request).await.unwrap();
            let trailers = answer.into_body().collect().await.unwrap();
            assert_eq!(trailers.trailers().unwrap()["grpc-status"], "0");
        }
        Road::ConfigDiscovery => channel.discover_config().await,
        Road::HealthProbeHttp | Road::HealthProbeGrpc => {
            let mut healthy = channel.healthy();
            let probe = channel.health_probe().unwrap();
            tokio::select! {
                ended = probe.run(CancellationToken::new()) => panic!("ended: {ended:?}"),
                seen = healthy.wait_for(|healthy| *healthy) => assert!(*seen.unwrap()),
            }
        }
        Road::SubscribeDiscovery | Road::ListTopicSubscriptions => {
            let files = Files::new();
            files.write("p.yaml", &in_memory("p"));
            let _running = Running::start(&files, Some(channel)).await;
            eventually("the app is asked", async || was_called().then_some(())).await;
        }
        Road::TopicEventHttp | Road::TopicEventGrpc => {
            let message = message(r#"{"id": "1"}"#, &headers);
            to_app(channel).deliver(&message).await;
        }
        Road::BulkTopicEventHttp | Road::BulkTopicEventGrpc => {
            let message = message(r#"{"id": "1"}"#, &headers);
            to_app(channel).deliver_all(&[message]).await;
        }
        Road::BindingProbe
        | Road::ListInputBindings
        | Road::BindingEventHttp
        | Road::BindingEventGrpc
        | Road::ConfigurationChange => call_about_bindings(&channel, road, headers).await,
    }
}

#[tokio::test]
async fn every_road_carries_the_own_token_and_no_other() {
    for row in &ROADS {
        let road = row.road;
        for callers in [None, Some("spoof")] {
            let seen = tokens_seen_on(road, Some(token("own")), callers).await;
            assert_eq!(seen, ["own"], "{road:?}, caller sent {callers:?}");
            let seen = tokens_seen_on(road, None, callers).await;
            assert!(
                seen.is_empty(),
                "{road:?}, caller sent {callers:?}: {seen:?}"
            );
        }
    }
}

#[tokio::test]
async fn whatever_host_a_request_names_the_app_gets_it() {
    let app = FakeApp::start().await;
    let channel = AppChannel::new(config(AppProtocol::Http, app.address())).unwrap();
    let request = get("http://192.0.2.1:1/x?y=z");
    channel.invoke_http(request).await.unwrap();
    let recorded = app.recorded();
    assert_eq!(recorded[0].uri, "/x?y=z");
    assert_eq!(recorded[0].header("host"), [app.address().to_string()]);
}

#[tokio::test]
async fn an_announced_oversize_body_never_starts_a_request() {
    for protocol in [AppProtocol::Http, AppProtocol::H2c] {
        let app = FakeApp::start().await;
        let channel = AppChannel::new(config(protocol, app.address())).unwrap();
        let limit = channel.config().max_body_bytes;
        let over = Request::post("/x").body(whole(vec![0; limit + 1])).unwrap();
        let error = channel.invoke_http(over).await.unwrap_err();
        assert_eq!(error, Error::BodyTooLarge { limit });
        let exact = Request::post("/y").body(whole(vec![0; limit])).unwrap();
        channel.invoke_http(exact).await.unwrap();
        let recorded = app.recorded();
        assert_eq!(recorded.len(), 1, "{protocol}");
        assert_eq!(recorded[0].body.len(), limit);
    }
}

#[tokio::test]
async fn a_streamed_oversize_body_is_broken_off_and_never_looks_complete() {
    for protocol in [AppProtocol::Http, AppProtocol::H2c] {
        let (outcomes, mut outcome) = tokio::sync::mpsc::channel(8);
        let app = Server::start(move |request: Request<Incoming>| {
            let outcomes = outcomes.clone();
            async move {
                // Sent from a drop guard too: hyper drops the handler with the connection.
                let mut broken = Report(outcomes, Some("broken off"));
                if request.into_body().collect().await.is_ok() {
                    broken.1 = Some("complete");
                }
                Response::new(streamed().1)
            }
        })
        .await;
        let channel = AppChannel::new(config(protocol, app.address)).unwrap();
        let limit = channel.config().max_body_bytes;
        let (sender, body) = streamed();
        let call = channel.invoke_http(Request::post("/x").body(body).unwrap());
        let write = async {
            // The peer may stop reading before all of it is sent.
            for _ in 0..limit / 1024 + 1 {
                let frame = Frame::data(Bytes::from_static(&[0; 1024]));
                if sender.send(Ok(frame)).await.is_err() {
                    break;
                }
            }
            sender.clone()
        };
        let (answer, _sender) = tokio::join!(call, write);
        assert_eq!(
            answer.unwrap_err(),
            Error::BodyTooLarge { limit },
            "{protocol}"
        );
        assert_eq!(outcome.recv().await, Some("broken off"), "{protocol}");
    }
}

/// Sends a word when it is dropped.
struct Report(
    tokio::sync::mpsc::Sender<&'static str>,
    Option<&'static str>,
);

impl Drop for Report {
    fn drop(&mut self) {
        if let Some(word) = self.1.take() {
            let _ = self.0.try_send(word);
        }
    }
}

#[tokio::test]
async fn an_upload_that_its_sender_breaks_off_is_broken_off_for_the_app() {
    for protocol in [AppProtocol::Http, AppProtocol::H2c] {
        let app = FakeApp::start().await;
        let channel = AppChannel::new(config(protocol, app.address())).unwrap();
        let (mut sender, body) = streamed();
        let call = channel.invoke_http(Request::post("/x").body(body).unwrap());
        let write = async {
            feed(&mut sender, b"half").await;
            sender.send(Err("gone".into())).await.unwrap();
        };
        let (answer, ()) = tokio::join!(call, write);
        assert_eq!(answer.unwrap_err(), Error::Exchange, "{protocol}");
        channel.invoke_http(get("/after")).await.unwrap();
        let seen: Vec<_> = app
            .recorded()
            .iter()
            .map(|r| r.uri.path().to_owned())
            .collect();
        assert_eq!(seen, ["/after"], "{protocol}");
    }
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    for protocol in [AppProtocol::Http, AppProtocol::H2c] {
        let echo = |request: Request<Incoming>| async {
            Response::new(UnsyncBoxBody::new(request.into_body().map_err(Into::into)))
        };
        let app = Server::start(echo).await;
        let channel = AppChannel::new(config(protocol, app.address)).unwrap();
        let (mut sender, body) = streamed();
        feed(&mut sender, b"one").await;
        let request = Request::post("/x").body(body).unwrap();
        let mut answer = channel.invoke_http(request).await.unwrap().into_body();
        for (expected, next) in [("one", "two"), ("two", "three")] {
            let frame = answer.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), expected, "{protocol}");
            feed(&mut sender, next.as_bytes()).await;
        }
        drop(sender);
        let rest = answer.collect().await.unwrap().to_bytes();
        assert_eq!(rest, "three", "{protocol}");
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_ends_the_request_to_the_app() {
    for protocol in [AppProtocol::Http, AppProtocol::H2c] {
        let (events, mut event) = tokio::sync::mpsc::channel(8);
        let app = Server::start(move |_| {
            let events = events.clone();
            async move {
                events.send("called").await.unwrap();
                let _report = Report(events, Some("cancelled"));
                std::future::pending().await
            }
        })
        .await;
        let channel = AppChannel::new(config(protocol, app.address)).unwrap();
        let call = channel.invoke_http(get("/x"));
        tokio::select! {
            _ = call => panic!("the app never answers"),
            seen = event.recv() => assert_eq!(seen, Some("called")),
        }
        assert_eq!(event.recv().await, Some("cancelled"), "{protocol}");
    }
}

#[tokio::test]
async fn calls_above_the_limit_wait_and_those_that_went_away_take_no_place() {
    let running = Arc::new(AtomicUsize::new(0));
    let (senders, mut sender) = tokio::sync::mpsc::channel(8);
    let count = Arc::clone(&running);
    let app = Server::start(move |_| {
        let (senders, count) = (senders.clone(), Arc::clone(&count));
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            let (mut body_sender, body) = streamed();
            feed(&mut body_sender, b"start").await;
            senders.send(body_sender).await.unwrap();
            Response::new(body)
        }
    })
    .await;
    let channel = AppChannel::new(AppChannelConfig {
        max_concurrency: NonZeroUsize::new(1),
        ..config(AppProtocol::Http, app.address)
    })
    .unwrap();
    let first = channel.invoke_http(get("/1")).await.unwrap();
    let mut gone = Box::pin(channel.invoke_http(get("/2")));
    let mut waiting = Box::pin(channel.invoke_http(get("/3")));
    assert!(gone.as_mut().now_or_never().is_none());
    assert!(waiting.as_mut().now_or_never().is_none());
    drop(gone);
    // The first call has its headers, but its body has not ended: the app is busy with it.
    drop(sender.recv().await);
    assert!(waiting.as_mut().now_or_never().is_none());
    assert_eq!(running.load(Ordering::SeqCst), 1);
    assert_eq!(
        first.into_body().collect().await.unwrap().to_bytes(),
        "start"
    );
    waiting.await.unwrap();
    assert_eq!(running.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_redirect_is_handed_back_and_not_followed() {
    let app = FakeApp::answering(|_| {
        let redirect = Response::builder().status(302).header("location", "/other");
        redirect.body(Full::default()).unwrap()
    })
    .await;
    let channel = AppChannel::new(config(AppProtocol::Http, app.address())).unwrap();
    let answer = channel.invoke_http(get("/x")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::FOUND);
    assert_eq!(answer.headers()["location"], "/other");
    assert_eq!(app.recorded().len(), 1);
}

#[tokio::test]
async fn an_app_that_does_not_listen_is_an_error_at_once() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    for protocol in [AppProtocol::Http, AppProtocol::Grpc] {
        let channel = AppChannel::new(config(protocol, address)).unwrap();
        let error = if protocol.is_grpc() {
            let answer = channel.invoke_grpc(HeaderMap::new(), Default::default());
            answer.await.unwrap_err()
        } else {
            channel.invoke_http(get("/x")).await.unwrap_err()
        };
        assert_eq!(error, Error::Connect);
        assert_eq!(error.to_string(), "cannot connect to the app");
    }
}

#[tokio::test]
async fn an_app_with_a_certificate_of_its_own_is_called_over_tls() {
    let issued = Authority::new().issue(&["somewhere.else"]);
    let files = MountedSecret::new(&[("tls.crt", &issued.certificate), ("tls.key", &issued.key)]);
    let identity = IdentityFiles {
        certificate: files.file("tls.crt"),
        key: files.file("tls.key"),
        client_ca: None,
        client_names: Vec::new(),
    };
    let (_keep, receiver) = tokio::sync::watch::channel(Arc::new(identity.load().unwrap()));
    let app = Server::start_with(TlsHandshake::new(receiver), |request| async move {
        let seen = request.headers().get(TOKEN_HEADER).cloned();
        let mut answer = Response::new(UnsyncBoxBody::new(whole("secure")));
        answer
            .headers_mut()
            .extend(seen.map(|token| (http::header::ETAG, token)));
        answer
    })
    .await;
    let channel = AppChannel::new(AppChannelConfig {
        token: Some(token("own")),
        ..config(AppProtocol::Https, app.address)
    })
    .unwrap();
    let answer = channel.invoke_http(get("/x")).await.unwrap();
    assert_eq!(answer.headers()["etag"], "own");
    assert_eq!(
        answer.into_body().collect().await.unwrap().to_bytes(),
        "secure"
    );
}

#[tokio::test]
async fn the_app_is_healthy_after_one_success_and_unhealthy_after_failures_in_a_row() {
    let status = Arc::new(AtomicU16::new(503));
    let answered = Arc::clone(&status);
    let app = FakeApp::answering(move |_| {
        let status = answered.load(Ordering::SeqCst);
        Response::builder()
            .status(status)
            .body(Full::default())
            .unwrap()
    })
    .await;
    let channel = AppChannel::new(AppChannelConfig {
        health: Some(health()),
        ..config(AppProtocol::Http, app.address())
    })
    .unwrap();
    let mut healthy = channel.healthy();
    let mut probe = JoinSet::new();
    probe.spawn(
        channel
            .health_probe()
            .unwrap()
            .run(CancellationToken::new()),
    );

    eventually("some probes", async || {
        (app.recorded().len() > 2).then_some(())
    })
    .await;
    assert_eq!(
        channel.invoke_http(get("/x")).await.unwrap_err(),
        Error::Unhealthy
    );
    status.store(204, Ordering::SeqCst);
    healthy.wait_for(|healthy| *healthy).await.unwrap();
    channel.invoke_http(get("/x")).await.unwrap();
    status.store(500, Ordering::SeqCst);
    healthy.wait_for(|healthy| !*healthy).await.unwrap();
    assert_eq!(
        channel.invoke_http(get("/x")).await.unwrap_err(),
        Error::Unhealthy
    );
    status.store(200, Ordering::SeqCst);
    healthy.wait_for(|healthy| *healthy).await.unwrap();

    let paths = app
        .recorded()
        .into_iter()
        .map(|recorded| recorded.uri.to_string());
    assert!(
        paths
            .filter(|path| path != "/x")
            .all(|path| path == "/healthy")
    );
}

#[tokio::test]
async fn waits_until_the_app_listens() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    let channel = AppChannel::new(config(AppProtocol::Http, address)).unwrap();
    let mut waiting = Box::pin(channel.wait_until_listening());
    assert!(waiting.as_mut().now_or_never().is_none());
    let _listener = socket.listen(1).unwrap();
    waiting.await;
}

#[tokio::test]
async fn asks_the_app_for_its_configuration_with_daprs_headers() {
    for answer in ["{\"entities\":[\"Cat\"]}", "", "no json"] {
        let app = FakeApp::answering(move |_| Response::new(Full::from(answer))).await;
        let channel = AppChannel::new(config(AppProtocol::Http, app.address())).unwrap();
        channel.discover_config().await;
        let recorded = &app.recorded()[0];
        assert_eq!(
            (&recorded.method, recorded.uri.path()),
            (&http::Method::GET, "/dapr/config")
        );
        assert_eq!(recorded.header("dapr-app-id"), ["app"]);
        assert_eq!(recorded.header("content-type"), ["application/json"]);
    }
}
