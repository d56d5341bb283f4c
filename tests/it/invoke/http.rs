//! Callers over HTTP.

use bytes::Bytes;
use dapr::dapr::proto::common::v1::http_extension::Verb;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use sidegate::app_channel::{AppChannelConfig, AppProtocol};
use sidegate::testing::fake_app::FakeApp;
use sidegate::testing::fake_grpc_app::FakeGrpcApp;
use sidegate::testing::http_client::{send, send_h2c};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tonic::Code;

use super::{Sidecar, TOKEN_HEADER, basic, error_body, message};
use crate::app_channel::{Server, config, feed, streamed, token};

#[tokio::test]
async fn an_app_is_addressed_by_header_basic_authentication_or_path() {
    let app = FakeApp::start().await;
    let sidecar = Sidecar::of(config(AppProtocol::Http, app.address())).await;
    let by_path = "/v1.0/invoke/app/method/a/b?q=1&q=%202";
    let basic = basic("app");
    for (path, header, seen) in [
        (by_path, None, "/a/b?q=1&q=%202"),
        ("/v1.0/invoke/app.ns/method/x", None, "/x"),
        ("/v1.0/invoke/app/method/", None, "/"),
        ("/x/y?z", Some(("dapr-app-id", "app")), "/x/y?z"),
        ("/x/y?z", Some(("authorization", basic.as_str())), "/x/y?z"),
        ("/", Some(("dapr-app-id", "app")), "/"),
        (
            "/v1.0/invoke/other/method/x",
            Some(("dapr-app-id", "app")),
            "/v1.0/invoke/other/method/x",
        ),
        (
            "/v1.0/%68ealthz",
            Some(("dapr-app-id", "app")),
            "/v1.0/healthz",
        ),
    ] {
        let mut request = Request::get(path);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let answer = send(sidecar.http, request.body(Full::default()).unwrap()).await;
        assert_eq!(answer.status(), 200, "{path}");
        let last = app.recorded().pop().unwrap();
        assert_eq!(last.uri, seen, "{path} {header:?}");
        let passed_on = last.header("authorization").first().copied();
        let sent = header.filter(|(name, _)| *name == "authorization");
        assert_eq!(passed_on, sent.map(|(_, value)| value));
    }
}

#[tokio::test]
async fn a_path_is_normalised_once_and_delivered_as_it_was_judged() {
    let app = FakeApp::start().await;
    let sidecar = Sidecar::of(config(AppProtocol::Http, app.address())).await;
    for (method, delivered) in [
        ("a%2Fb", "/a/b"),
        ("a%20b", "/a%20b"),
        ("%C3%A4", "/%C3%A4"),
        ("a//b/./c/", "/a/b/c"),
        ("admin%2F..%2Fpublic", "/public"),
        ("%2e%2e%2f%2e%2e%2fx", "/x"),
        ("neworde%2572", "/neworde%2572"),
        ("a%252e%252e%252fb", "/a%252e%252e%252fb"),
        ("a;b=c", "/a;b=c"),
    ] {
        let path = format!("/v1.0/invoke/app/method/{method}");
        assert_eq!(sidecar.get(&path).await.status(), 200, "{method}");
        assert_eq!(app.recorded().pop().unwrap().uri, delivered, "{method}");
    }
    let count = app.recorded().len();
    for (method, text) in [
        ("x%23y", "method contains forbidden character: \"x#y\""),
        ("x%3Fy", "method contains forbidden character: \"x?y\""),
        (
            "x%0Ay",
            "method contains control character at position 1: \"x\\ny\"",
        ),
    ] {
        let answer = sidecar
            .get(&format!("/v1.0/invoke/app/method/{method}"))
            .await;
        let text = format!("failed to invoke, id: app, err: invalid method: {text}");
        assert_eq!(answer.status(), 500);
        assert_eq!(answer.body(), &error_body(&text));
    }
    assert_eq!(app.recorded().len(), count, "none of them reached the app");
}

#[tokio::test]
async fn the_app_sees_its_own_token_and_never_one_that_a_caller_sent() {
    let http_app = FakeApp::start().await;
    let grpc_app = FakeGrpcApp::answering(|_| Ok(tonic::Response::new(Default::default()))).await;
    let basic = basic("app");
    let ways = [
        ("/v1.0/invoke/app/method/x", "x-none", "1"),
        ("/x", "dapr-app-id", "app"),
        ("/x", "authorization", basic.as_str()),
    ];
    for own in [None, Some("own")] {
        for api in [None, Some("api")] {
            for protocol in [AppProtocol::Http, AppProtocol::H2c, AppProtocol::Grpc] {
                let address = if protocol.is_grpc() {
                    grpc_app.address()
                } else {
                    http_app.address()
                };
                let app = AppChannelConfig {
                    token: own.map(token),
                    ..config(protocol, address)
                };
                let sidecar = Sidecar::start(Some(app), api).await;
                let expected: Vec<&str> = own.into_iter().collect();
                let seen = || {
                    let over_http = http_app.recorded().pop();
                    let over_grpc = grpc_app.recorded().pop();
                    let tokens: Vec<String> = if protocol.is_grpc() {
                        let call = over_grpc.unwrap();
                        call.values(TOKEN_HEADER)
                            .iter()
                            .map(ToString::to_string)
                            .collect()
                    } else {
                        let call = over_http.unwrap();
                        call.header(TOKEN_HEADER)
                            .iter()
                            .map(ToString::to_string)
                            .collect()
                    };
                    tokens
                };
                let sent = api.unwrap_or("spoof");
                for (path, name, value) in ways {
                    let request = Request::post(path).header(name, value);
                    let request = request
                        .header(TOKEN_HEADER, sent)
                        .header(TOKEN_HEADER, "two");
                    let request = request.header("connection", TOKEN_HEADER);
                    let answer = send(sidecar.http, request.body(Full::default()).unwrap()).await;
                    assert_eq!(answer.status(), 200);
                    assert_eq!(seen(), expected, "{protocol} {path} {own:?} {api:?}");
                }
                let mut request = tonic::Request::new(message("app", "x", Verb::Post));
                request
                    .metadata_mut()
                    .insert(TOKEN_HEADER, sent.parse().unwrap());
                sidecar.invoke_service(request).await.unwrap();
                assert_eq!(seen(), expected, "{protocol} gRPC {own:?} {api:?}");
            }
        }
    }
}

#[tokio::test]
async fn headers_for_one_hop_and_spoofed_identities_reach_neither_side() {
    let app = FakeApp::answering(|_| {
        let answer = Response::builder()
            .status(201)
            .header("connection", "x-answer-hop")
            .header("x-answer-hop", "1")
            .header("keep-alive", "timeout=5")
            .header("x-bin", "1")
            .header(TOKEN_HEADER, "echo")
            .header("x-kept", "a")
            .header("x-kept", "b");
        answer.body(Full::from("done")).unwrap()
    })
    .await;
    for protocol in [AppProtocol::Http, AppProtocol::H2c] {
        let sidecar = Sidecar::of(config(protocol, app.address())).await;
        let request = Request::put("/v1.0/invoke/app/method/x")
            .header("connection", "x-hop, upgrade")
            .header("upgrade", "websocket")
            .header("x-hop", "1")
            .header("te", "trailers")
            .header("proxy-authorization", "1")
            .header("x-bin", "1")
            .header("destination-app-id", "1")
            .header("dapr-caller-app-id", "spoof")
            .header("dapr-caller-namespace", "spoof")
            .header("dapr-callee-app-id", "spoof")
            .header("grpc-foo", "1")
            .header(
                "traceparent",
                "00-11111111111111111111111111111111-2222222222222222-01",
            )
            .header("x-kept", "1")
            .body(Full::from("body"))
            .unwrap();
        let answer = send(sidecar.http, request).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.body()[..]),
            (201, &b"done"[..])
        );
        let mut names: Vec<_> = answer
            .headers()
            .keys()
            .map(http::HeaderName::as_str)
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "date", "traceparent", "x-kept"]);
        assert_eq!(answer.headers().get_all("x-kept").iter().count(), 2);

        let seen = app.recorded().pop().unwrap();
        assert_eq!(
            (seen.method.as_str(), &seen.body[..]),
            ("PUT", &b"body"[..])
        );
        let mut names: Vec<_> = seen.headers.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        names.retain(|name| *name != "host");
        let expected = [
            "content-length",
            "dapr-callee-app-id",
            "dapr-caller-app-id",
            "dapr-caller-namespace",
            "dapr-grpc-foo",
            "traceparent",
            "x-kept",
        ];
        assert_eq!(names, expected, "{protocol}");
        assert_eq!(seen.header("dapr-caller-app-id"), ["app"]);
        assert_eq!(seen.header("dapr-caller-namespace"), ["ns"]);
        assert_eq!(seen.header("dapr-callee-app-id"), ["app"]);
    }
}

#[tokio::test]
async fn every_method_is_passed_on_and_head_keeps_its_length() {
    let app = FakeApp::answering(|_| Response::new(Full::from("12345"))).await;
    let sidecar = Sidecar::of(config(AppProtocol::Http, app.address())).await;
    for method in [
        "GET", "HEAD", "OPTIONS", "PATCH", "DELETE", "TRACE", "PROPFIND",
    ] {
        let request = Request::builder()
            .method(method)
            .uri("/v1.0/invoke/app/method/x");
        let answer = send(sidecar.http, request.body(Full::default()).unwrap()).await;
        assert_eq!(answer.status(), 200, "{method}");
        assert_eq!(app.recorded().pop().unwrap().method, method);
        assert_eq!(answer.headers()["content-length"], "5", "{method}");
        assert_eq!(answer.body().len(), if method == "HEAD" { 0 } else { 5 });
    }
}

#[tokio::test]
async fn an_answer_that_tells_of_a_failure_is_handed_on_as_it_is() {
    for status in [204, 304, 404, 418, 500, 599] {
        let app = FakeApp::answering(move |_| {
            let answer = Response::builder().status(status).header("x-own", "1");
            answer.body(Full::from("why")).unwrap()
        })
        .await;
        let sidecar = Sidecar::of(config(AppProtocol::Http, app.address())).await;
        let answer = sidecar.get("/v1.0/invoke/app/method/x").await;
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["x-own"], "1");
        let body = if status < 400 { "" } else { "why" };
        assert_eq!(answer.body(), body);
    }
}

#[tokio::test]
async fn callers_over_http_2_reach_the_app_too() {
    let app = FakeApp::answering(|seen| Response::new(Full::from(seen.body.clone()))).await;
    for protocol in [AppProtocol::Http, AppProtocol::H2c] {
        let sidecar = Sidecar::of(config(protocol, app.address())).await;
        let uri = format!("http://{}/v1.0/invoke/app/method/x?y", sidecar.http);
        let request = Request::post(uri).body(Full::from("body")).unwrap();
        let answer = send_h2c(sidecar.http, request).await;
        assert_eq!(answer.body(), "body");
        assert_eq!(
            app.recorded().pop().unwrap().uri.path_and_query().unwrap(),
            "/x?y"
        );
    }
}

#[tokio::test]
async fn a_body_above_the_limit_is_413_however_it_is_framed() {
    let app = FakeApp::start().await;
    for protocol in [AppProtocol::Http, AppProtocol::H2c] {
        let config = config(protocol, app.address());
        let limit = config.max_body_bytes;
        let sidecar = Sidecar::of(config).await;
        let announced = format!("content-length: {}\r\n\r\n", limit + 1);
        let chunk = format!("{:x}\r\n{}\r\n", limit + 1, "x".repeat(limit + 1));
        let streamed = format!("transfer-encoding: chunked\r\n\r\n{chunk}0\r\n\r\n");
        for rest in [announced, streamed] {
            let mut stream = TcpStream::connect(sidecar.http).await.unwrap();
            let head = "POST /v1.0/invoke/app/method/x HTTP/1.1\r\nhost: a\r\n";
            stream
                .write_all(format!("{head}{rest}").as_bytes())
                .await
                .unwrap();
            let mut start = [0; 12];
            stream.read_exact(&mut start).await.unwrap();
            assert_eq!(
                String::from_utf8_lossy(&start),
                "HTTP/1.1 413",
                "{protocol}"
            );
        }
        assert!(app.recorded().is_empty(), "no request looked complete");
    }
}

/// An app that answers every connection with these bytes.
async fn raw_app(answer: &'static str) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut task = JoinSet::new();
    task.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = Vec::new();
            while !seen.ends_with(b"\r\n\r\n") {
                seen.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, task)
}

#[tokio::test]
async fn interim_answers_and_upgrades_of_the_app_are_not_passed_on() {
    for (answer, status) in [
        (
            "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n\
             HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            200,
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            500,
        ),
        ("no HTTP at all\r\n\r\n", 500),
        ("", 500),
    ] {
        let (address, _app) = raw_app(answer).await;
        let sidecar = Sidecar::of(config(AppProtocol::Http, address)).await;
        let seen = sidecar.get("/v1.0/invoke/app/method/x").await;
        assert_eq!(seen.status(), status, "{answer}: {seen:?}");
    }
}

#[tokio::test]
async fn an_answer_with_too_many_header_bytes_is_an_error() {
    let header = "x".repeat(1 << 20);
    let answer = format!("HTTP/1.1 200 OK\r\nx: {header}\r\ncontent-length: 0\r\n\r\n");
    let (address, _app) = raw_app(Box::leak(answer.into_boxed_str())).await;
    let sidecar = Sidecar::of(config(AppProtocol::Http, address)).await;
    assert_eq!(sidecar.get("/v1.0/invoke/app/method/x").await.status(), 500);
}

#[tokio::test]
async fn a_tunnel_is_not_opened() {
    let app = FakeApp::start().await;
    let sidecar = Sidecar::of(config(AppProtocol::Http, app.address())).await;
    let mut stream = TcpStream::connect(sidecar.http).await.unwrap();
    let request = "CONNECT a:80 HTTP/1.1\r\nhost: a\r\ndapr-app-id: app\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&start), "HTTP/1.1 500");
    assert!(app.recorded().is_empty());
}

/// Reads until `text` has come.
async fn read_until(stream: &mut TcpStream, text: &str) {
    let mut seen = Vec::new();
    while !seen.ends_with(text.as_bytes()) {
        seen.push(stream.read_u8().await.unwrap());
    }
}

#[tokio::test]
async fn an_event_reaches_the_caller_before_the_next_one_exists() {
    let (senders, mut sender) = tokio::sync::mpsc::channel(1);
    let app = Server::start(move |_| {
        let senders = senders.clone();
        async move {
            let (sender, body) = streamed();
            senders.send(sender).await.unwrap();
            let mut answer = Response::new(body);
            let events = http::HeaderValue::from_static("text/event-stream");
            answer.headers_mut().insert("content-type", events);
            answer
        }
    })
    .await;
    for protocol in [AppProtocol::Http, AppProtocol::H2c] {
        let sidecar = Sidecar::of(config(protocol, app.address)).await;
        let mut caller = TcpStream::connect(sidecar.http).await.unwrap();
        let request = "GET /v1.0/invoke/app/method/x HTTP/1.1\r\nhost: a\r\n\r\n";
        caller.write_all(request.as_bytes()).await.unwrap();
        let mut events = sender.recv().await.unwrap();
        read_until(&mut caller, "\r\n\r\n").await;
        for event in ["data: 1\n\n", "data: 2\n\n"] {
            feed(&mut events, event.as_bytes()).await;
            read_until(&mut caller, event).await;
        }
        // The caller goes away, and the app hears of it.
        drop(caller);
        events.closed().await;
    }
}

#[tokio::test]
async fn callers_that_do_not_read_hold_up_nobody_else() {
    // Far more than the sockets on the way hold.
    let large = Bytes::from(vec![7; 64 << 20]);
    let app = FakeApp::answering(move |seen| {
        let is_large = seen.uri.path() == "/large";
        let body = if is_large {
            large.clone()
        } else {
            Bytes::from("small")
        };
        Response::new(Full::new(body))
    })
    .await;
    for protocol in [AppProtocol::Http, AppProtocol::H2c] {
        let sidecar = Sidecar::of(config(protocol, app.address())).await;
        let mut stuck = Vec::new();
        for _ in 0..16 {
            let mut caller = TcpStream::connect(sidecar.http).await.unwrap();
            let request = "GET /v1.0/invoke/app/method/large HTTP/1.1\r\nhost: a\r\n\r\n";
            caller.write_all(request.as_bytes()).await.unwrap();
            read_until(&mut caller, "\r\n\r\n").await;
            stuck.push(caller);
        }
        assert_eq!(
            sidecar.get("/v1.0/invoke/app/method/small").await.status(),
            200
        );
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_while_it_waits_frees_its_place_in_the_queue() {
    let (senders, mut sender) = tokio::sync::mpsc::channel(8);
    let app = Server::start(move |request: Request<hyper::body::Incoming>| {
        let senders = senders.clone();
        async move {
            let (sender, body) = streamed();
            let path = request.uri().path().to_owned();
            senders.send((path, sender)).await.unwrap();
            Response::new(body)
        }
    })
    .await;
    let sidecar = Sidecar::of(AppChannelConfig {
        max_concurrency: std::num::NonZeroUsize::new(1),
        ..config(AppProtocol::Http, app.address)
    })
    .await;
    let call = async |path: &str| {
        let mut caller = TcpStream::connect(sidecar.http).await.unwrap();
        let request = format!("GET /v1.0/invoke/app/method/{path} HTTP/1.1\r\nhost: a\r\n\r\n");
        caller.write_all(request.as_bytes()).await.unwrap();
        caller
    };
    let _first = call("1").await;
    let (path, busy) = sender.recv().await.unwrap();
    assert_eq!(path, "/1");
    drop(call("2").await);
    let _third = call("3").await;
    drop(busy);
    // The second one may have got its place before it was seen to be gone; it never keeps it.
    let (mut path, mut answer) = sender.recv().await.unwrap();
    if path == "/2" {
        answer.closed().await;
        (path, answer) = sender.recv().await.unwrap();
    }
    assert_eq!(path, "/3");
    drop(answer);
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off_for_the_caller() {
    let (address, _app) = raw_app("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
    let sidecar = Sidecar::of(config(AppProtocol::Http, address)).await;
    let mut stream = TcpStream::connect(sidecar.http).await.unwrap();
    let request = "GET /v1.0/invoke/app/method/x HTTP/1.1\r\nhost: a\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // Ends with an error or with the end of the connection, before the ninth byte.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("content-length: 9"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhalf"), "{answer}");
}

#[tokio::test]
async fn an_answer_larger_than_the_limit_streams_to_a_caller_over_http() {
    let app = FakeApp::answering(|_| Response::new(Full::from(vec![7; 8 << 20]))).await;
    let sidecar = Sidecar::of(config(AppProtocol::Http, app.address())).await;
    let answer = sidecar.get("/v1.0/invoke/app/method/x").await;
    assert_eq!(answer.body().len(), 8 << 20);
    let status = sidecar
        .invoke_service(message("app", "x", Verb::Get))
        .await
        .unwrap_err();
    let text = "failed to invoke, id: app, err: answer: the body is larger than 65536 bytes";
    assert_eq!((status.code(), status.message()), (Code::Internal, text));
}

#[tokio::test]
async fn trailers_of_a_streaming_app_reach_a_caller_over_http_2_and_requests_have_none() {
    use http_body::Frame;
    use http_body_util::StreamBody;
    let frames = |name: &'static str| {
        let mut trailers = http::HeaderMap::new();
        trailers.insert(name, "t".parse().unwrap());
        trailers.insert(TOKEN_HEADER, "spoof".parse().unwrap());
        let data = Frame::data(Bytes::from_static(b"data"));
        let frames = [
            Ok::<_, std::convert::Infallible>(data),
            Ok(Frame::trailers(trailers)),
        ];
        StreamBody::new(tokio_stream::iter(frames))
    };
    let (seen_sender, mut seen) = tokio::sync::mpsc::channel(1);
    let app = Server::start(move |request| {
        let seen = seen_sender.clone();
        async move {
            let whole = request.into_body().collect().await.unwrap();
            seen.send(whole.trailers().cloned()).await.unwrap();
            let body = frames("x-end").map_err(|never| match never {});
            Response::new(http_body_util::combinators::UnsyncBoxBody::new(body))
        }
    })
    .await;
    let sidecar = Sidecar::of(config(AppProtocol::H2c, app.address)).await;
    let stream = TcpStream::connect(sidecar.http).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, io)
        .await
        .unwrap();
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let uri = format!("http://{}/v1.0/invoke/app/method/x", sidecar.http);
    let request = Request::post(uri).body(frames("x-start")).unwrap();
    let answer = client.send_request(request).await.unwrap().into_body();
    let answer = answer.collect().await.unwrap();
    assert_eq!(answer.trailers().unwrap()["x-end"], "t");
    assert!(!answer.trailers().unwrap().contains_key(TOKEN_HEADER));
    assert_eq!(seen.recv().await.unwrap(), None);
}
