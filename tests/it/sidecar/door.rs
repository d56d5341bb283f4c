//! Every listener × route × method × way in, with and without the token, against one table.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use sidegate::api::grpc::METHODS as GRPC_METHODS;
use sidegate::api::routes::{ROUTES, Route, RouteId};
use sidegate::process::listener::{ListenAddr, Socket};
use sidegate::testing::fake_app::FakeApp;
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;

use super::{Running, TOKEN};

/// A way to show a token: headers, query, and whether it is good.
type Way = (&'static [(&'static str, &'static str)], &'static str, bool);

/// Each of them on its own.
const WAYS: [Way; 14] = [
    (&[], "", false),
    (&[("dapr-api-token", "wrong")], "", false),
    (&[("dapr-api-token", "")], "", false),
    (&[("dapr-api-token", "T0KEN")], "", false),
    (&[("dapr-api-token", "t0ken2")], "", false),
    (&[("dapr-api-token", "t0ke")], "", false),
    (
        &[("dapr-api-token", "x"), ("dapr-api-token", TOKEN)],
        "",
        false,
    ),
    (&[("authorization", "Bearer t0ken")], "", false),
    (&[("cookie", "dapr-api-token=t0ken")], "", false),
    (&[("x-dapr-api-token", TOKEN)], "", false),
    (&[("dapr_api_token", TOKEN)], "", false),
    (&[], "?dapr-api-token=t0ken", false),
    (&[("dapr-api-token", TOKEN)], "", true),
    (
        &[("dapr-api-token", TOKEN), ("dapr-api-token", "x")],
        "",
        true,
    ),
];

/// The decision on each route: a route that is not in it does not compile.
fn needs_token(route: RouteId, method: &Method) -> bool {
    match route {
        RouteId::Healthz | RouteId::HealthzOutbound => *method != Method::GET,
        RouteId::GetMetadata
        | RouteId::SetMetadata
        | RouteId::Shutdown
        | RouteId::GetBulkSecret
        | RouteId::GetSecret
        | RouteId::BulkPublish
        | RouteId::Publish
        | RouteId::InvokeBinding
        | RouteId::GetState
        | RouteId::DeleteState
        | RouteId::SaveState
        | RouteId::BulkGetState
        | RouteId::StateTransaction
        | RouteId::QueryState
        | RouteId::GetConfiguration
        | RouteId::SubscribeConfiguration
        | RouteId::UnsubscribeConfiguration
        | RouteId::TryLock
        | RouteId::Unlock
        | RouteId::Invoke
        | RouteId::Fallback => true,
    }
}

fn methods() -> Vec<Method> {
    let names = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "ODD",
    ];
    let methods = names.iter().map(|name| Method::from_bytes(name.as_bytes()));
    methods.map(Result::unwrap).collect()
}

fn path(route: &Route) -> String {
    let path = route.pattern.replace("{*target}", "app/method/m");
    path.replace("{*path}", "m")
        .replace("{store}", "s")
        .replace("{pubsub}", "p")
        .replace("{*topic}", "t/u")
        .replace("{key}", "k")
        .replace("{name}", "n")
        .replace("{id}", "i")
}

/// A connection of a client, over which calls go one after the other.
enum Client {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Client {
    async fn open(address: &ListenAddr, is_http2: bool, drivers: &mut JoinSet<()>) -> Self {
        let stream = TokioIo::new(match address {
            ListenAddr::Tcp(address) => Socket::Tcp(TcpStream::connect(address).await.unwrap()),
            ListenAddr::Unix(path) => Socket::Unix(UnixStream::connect(path).await.unwrap()),
        });
        if is_http2 {
            let executor = TokioExecutor::new();
            let (sender, connection) = http2::handshake(executor, stream).await.unwrap();
            drivers.spawn(async { connection.await.unwrap_or_default() });
            Self::Http2(sender)
        } else {
            let (sender, connection) = http1::handshake(stream).await.unwrap();
            drivers.spawn(async { connection.await.unwrap_or_default() });
            Self::Http1(sender)
        }
    }

    async fn call(&mut self, mut request: Request<Full<Bytes>>) -> Response<Bytes> {
        let answer = match self {
            Self::Http1(sender) => {
                sender.ready().await.unwrap();
                let host = http::HeaderValue::from_static("localhost");
                request.headers_mut().insert("host", host);
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                let uri = format!("http://localhost{}", request.uri());
                *request.uri_mut() = uri.parse().unwrap();
                sender.send_request(request).await
            }
        };
        let (head, body) = answer.unwrap().into_parts();
        Response::from_parts(head, body.collect().await.unwrap().to_bytes())
    }
}

fn request(method: &Method, uri: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    super::request(method.as_str(), uri, headers)
}

/// The HTTP listeners of a sidecar on ports, and of one on Unix sockets.
fn http_listeners(on_ports: &Running, on_sockets: &Running) -> Vec<ListenAddr> {
    let public = ListenAddr::Tcp(on_ports.public());
    let addresses = [&on_ports.addresses, &on_sockets.addresses];
    let api = addresses
        .into_iter()
        .flat_map(|addresses| addresses.http.clone());
    api.chain([public]).collect()
}

#[tokio::test]
async fn no_http_listener_lets_a_call_in_without_the_token() {
    let app = FakeApp::start().await;
    let port = app.address().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--app-port", &port, "--disable-init-endpoints=config"];
    let on_ports = Running::with_token(&flags).await;
    let folder_flag = format!("--unix-domain-socket={}", folder.path().display());
    let on_sockets = Running::with_token(&[&flags[..], &[&folder_flag]].concat()).await;
    let mut drivers = JoinSet::new();
    for listener in http_listeners(&on_ports, &on_sockets) {
        for is_http2 in [false, true] {
            let mut client = Client::open(&listener, is_http2, &mut drivers).await;
            for route in &ROUTES {
                for method in methods() {
                    check_http(&mut client, route, &method, &listener).await;
                }
            }
        }
    }
    // Calls with the token reached the app; none without it did, and none brought the token along.
    let recorded = app.recorded();
    assert!(!recorded.is_empty());
    for call in recorded {
        assert_eq!(call.header("x-shown"), ["good"], "{call:?}");
        assert!(call.header("dapr-api-token").is_empty(), "{call:?}");
    }
}

async fn check_http(client: &mut Client, route: &Route, method: &Method, listener: &ListenAddr) {
    for (headers, query, is_good) in WAYS {
        if is_good && route.id == RouteId::Shutdown && *method == Method::POST {
            // It would do what it is asked for.
            continue;
        }
        // What no route takes would go to the app.
        let shown = if is_good { "good" } else { "bad" };
        let headers = [headers, &[("dapr-app-id", "app"), ("x-shown", shown)]].concat();
        let uri = format!("{}{query}", path(route));
        let answer = client.call(request(method, &uri, &headers)).await;
        let context = format!("{listener} {method} {uri} {headers:?}: {answer:?}");
        if is_good || !needs_token(route.id, method) {
            assert_ne!(answer.status(), StatusCode::UNAUTHORIZED, "{context}");
        } else {
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{context}");
            let body = if *method == Method::HEAD {
                ""
            } else {
                "invalid api token\n"
            };
            assert_eq!(answer.body(), body, "{context}");
        }
    }
}

/// Methods that are not served: of Dapr's own service, unary and streaming, of others, and those
/// that servers often leave open.
const UNKNOWN_GRPC: [&str; 6] = [
    "/dapr.proto.runtime.v1.Dapr/InvokeActor",
    "/dapr.proto.runtime.v1.Dapr/SubscribeTopicEventsAlpha1",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/grpc.health.v1.Health/Check",
    "/my.Service/Do",
];

/// A gRPC call whose messages end at once, or never.
async fn grpc_status(
    address: std::net::SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    is_stream: bool,
) -> String {
    type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, std::convert::Infallible>;
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let executor = TokioExecutor::new();
    let (mut sender, connection) = http2::handshake(executor, stream).await.unwrap();
    let mut driver = JoinSet::new();
    driver.spawn(async { connection.await.unwrap_or_default() });
    // A message without content is five zeros: not compressed, of length 0.
    let message = Bytes::from_static(&[0; 5]);
    let body = if is_stream {
        let first = futures_util::stream::iter([Ok(Frame::data(message))]);
        let rest = futures_util::stream::pending();
        let both = futures_util::StreamExt::chain(first, rest);
        Body::new(StreamBody::new(both))
    } else {
        Body::new(Full::new(message))
    };
    let mut request = Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = sender
        .send_request(request.body(body).unwrap())
        .await
        .unwrap();
    let status = |headers: &HeaderMap| headers.get("grpc-status").cloned();
    let found = match status(answer.headers()) {
        Some(found) => found,
        None => {
            let body = answer.into_body().collect().await.unwrap();
            status(body.trailers().unwrap()).unwrap()
        }
    };
    found.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn no_grpc_method_lets_a_call_in_without_the_token() {
    let sidecar = Running::with_token(&[]).await;
    let served = GRPC_METHODS.iter().map(|method| method.path);
    for path in served.chain(UNKNOWN_GRPC) {
        for (headers, query, is_good) in WAYS {
            let uri = format!("{path}{query}");
            for is_stream in [false, true] {
                let is_served = !UNKNOWN_GRPC.contains(&path);
                if is_good && (path.ends_with("/Shutdown") || is_served && is_stream) {
                    // It would end the sidecar, or wait for the end of its message.
                    continue;
                }
                let status = grpc_status(sidecar.grpc(), &uri, headers, is_stream).await;
                let context = format!("{path} {headers:?} stream: {is_stream}");
                if is_good {
                    assert_ne!(status, "16", "{context}");
                } else {
                    assert_eq!(status, "16", "{context}");
                }
            }
        }
    }
}

#[tokio::test]
async fn the_grpc_port_serves_grpc_only() {
    let sidecar = Running::with_token(&[]).await;
    let mut drivers = JoinSet::new();
    for is_http2 in [false, true] {
        let address = ListenAddr::Tcp(sidecar.grpc());
        let mut client = Client::open(&address, is_http2, &mut drivers).await;
        for route in &ROUTES {
            for method in methods() {
                let token = [("dapr-api-token", TOKEN)];
                let answer = client.call(request(&method, &path(route), &token)).await;
                assert_eq!(
                    answer.status(),
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "{method}"
                );
                assert!(answer.body().is_empty());
            }
        }
    }
}

#[tokio::test]
async fn the_metrics_port_serves_nothing_of_the_api() {
    let sidecar = Running::with_token(&[]).await;
    let mut drivers = JoinSet::new();
    let address = ListenAddr::Tcp(sidecar.metrics());
    let mut client = Client::open(&address, false, &mut drivers).await;
    for route in &ROUTES {
        for method in methods() {
            let uri = path(route);
            let answer = client.call(request(&method, &uri, &[])).await;
            match method {
                Method::GET => {
                    assert_eq!(answer.status(), StatusCode::OK);
                    let text = std::str::from_utf8(answer.body()).unwrap();
                    assert!(text.starts_with("# TYPE "), "{uri}: {text}");
                    assert!(!text.contains(TOKEN), "{uri}: {text}");
                }
                Method::HEAD => assert!(answer.body().is_empty()),
                _ => assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}"),
            }
        }
    }
    assert_eq!(sidecar.status("GET", "/v1.0/healthz", &[]).await, 204);
}

#[tokio::test]
async fn without_a_token_in_the_environment_calls_need_none() {
    let sidecar = Running::start(&[], &[]).await;
    assert_eq!(sidecar.status("GET", "/v1.0/metadata", &[]).await, 200);
    let path = "/dapr.proto.runtime.v1.Dapr/GetMetadata";
    assert_eq!(grpc_status(sidecar.grpc(), path, &[], false).await, "0");
}
