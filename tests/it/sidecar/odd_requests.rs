//! Requests that are written to slip past the door: odd paths, odd methods, odd frames.

use std::net::SocketAddr;

use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::test_runner::{Config, TestRunner};
use sidegate::testing::eventually::eventually;
use sidegate::testing::fake_app::FakeApp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Running, TOKEN, raw};

/// Sends bytes as they stand: the status of the answer, 0 without one.
async fn send_raw(address: SocketAddr, request: &str) -> u16 {
    let answer = raw(address, request).await;
    let status = answer
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3));
    status.map_or(0, |status| status.parse().unwrap())
}

fn call(line: &str) -> String {
    format!("{line} HTTP/1.1\r\nhost: localhost\r\ndapr-app-id: app\r\nconnection: close\r\n\r\n")
}

/// A sidecar before an app that must never hear of these requests.
async fn sidecar() -> (FakeApp, Running) {
    let app = FakeApp::start().await;
    let port = app.address().port().to_string();
    let flags = ["--app-port", &port, "--disable-init-endpoints=config"];
    let sidecar = Running::with_token(&flags).await;
    eventually("the sidecar is ready", async || {
        let status = sidecar.status("GET", "/v1.0/healthz", &[]).await;
        (status == 204).then_some(())
    })
    .await;
    (app, sidecar)
}

#[tokio::test]
async fn no_spelling_of_a_path_gets_past_the_door() {
    let (app, sidecar) = sidecar().await;
    for line in [
        "GET /v1.0/%68ealthz",
        "GET /v1.0/healthz%2foutbound",
        "GET /v1.0/healthz%2Foutbound",
        "GET /%2fv1.0/healthz",
        "GET /%2Fv1.0/healthz",
        "GET /v1%2e0/healthz",
        "GET /v1.0/healthz%00",
        "GET /v1.0/healthz%20",
        "GET /v1.0/healthz%3f",
        "GET /v1.0/healthz%23",
        "GET /v1.0/healthz;",
        "GET /v1.0/healthz;a=b",
        "GET /v1.0/healthz,",
        "GET /v1.0/healthz.",
        "GET /v1.0/healthz\\",
        "GET /V1.0/healthz",
        "GET /v1.0/HEALTHZ",
        "GET /v1.0/healthz/../metadata",
        "GET /v1.0/healthz/..",
        "GET /v1.0/healthz/outbound/../../metadata",
        "GET /v1.0/healthz/%2e%2e/metadata",
        "GET /v1.0/metadata/healthz",
        "GET /v1.0/metadata?/v1.0/healthz",
        "GET /v1.0/metadata?x=/v1.0/healthz",
        "GET /v1.0/metadata;/v1.0/healthz",
        "GET /v1.0/metadata#/v1.0/healthz",
        "GET http://localhost/v1.0/metadata",
        "GET http://v1.0/healthz",
        "GET http://localhost?/v1.0/healthz",
        "GET /http://localhost/v1.0/healthz",
        "GET /v1.0-alpha1/healthz",
        "GET /healthz",
        "GET /v1.0/invoke/app/method/v1.0/healthz",
        "HEAD /v1.0/healthz",
        "POST /v1.0/healthz",
        "PUT /v1.0/healthz",
        "OPTIONS /v1.0/healthz",
        "OPTIONS *",
        "get /v1.0/healthz",
        "GETX /v1.0/healthz",
    ] {
        let status = send_raw(sidecar.http(), &call(line)).await;
        // What hyper does not read as a request at all is refused before the door.
        assert!([401, 400].contains(&status), "{line}: {status}");
    }
    assert!(app.recorded().is_empty());
}

#[tokio::test]
async fn health_is_open_in_every_spelling_of_its_own_path() {
    let (app, sidecar) = sidecar().await;
    for line in [
        "GET /v1.0/healthz",
        "GET /v1.0/healthz/",
        "GET /v1.0/healthz?x=1",
        "GET //v1.0/healthz",
        "GET /v1.0//healthz",
        "GET /x/../v1.0/healthz",
        "GET /v1.0/./healthz",
        "GET /v1.0/healthz#x",
        "GET /v1.0/healthz/outbound",
        "GET http://elsewhere/v1.0/healthz",
    ] {
        assert_eq!(send_raw(sidecar.http(), &call(line)).await, 204, "{line}");
    }
    assert!(app.recorded().is_empty());
}

#[tokio::test]
async fn a_header_cannot_change_the_method_or_the_path() {
    let (app, sidecar) = sidecar().await;
    for header in [
        "x-http-method-override: GET",
        "x-http-method: GET",
        "x-method-override: GET",
        "x-original-url: /v1.0/healthz",
        "x-rewrite-url: /v1.0/healthz",
        "x-forwarded-prefix: /v1.0/healthz",
        "upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA",
        "transfer-encoding: chunked",
        "expect: 100-continue",
    ] {
        for line in ["POST /v1.0/healthz", "GET /v1.0/metadata"] {
            let text = call(line).replace("\r\n\r\n", &format!("\r\n{header}\r\n\r\n"));
            let status = send_raw(sidecar.http(), &text).await;
            assert_eq!(status, 401, "{line} {header}");
        }
    }
    assert!(app.recorded().is_empty());
}

#[tokio::test]
async fn a_second_request_on_a_connection_is_judged_for_itself() {
    let (app, sidecar) = sidecar().await;
    let good = format!("GET /v1.0/metadata HTTP/1.1\r\nhost: a\r\ndapr-api-token: {TOKEN}\r\n\r\n");
    let mut stream = TcpStream::connect(sidecar.http()).await.unwrap();
    let both = format!("{good}{}", call("GET /v1.0/metadata"));
    stream.write_all(both.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains("HTTP/1.1 401 Unauthorized"), "{answer}");
    assert!(app.recorded().is_empty());
}

/// A frame of HTTP/2 (RFC 9113, section 4.1) on stream 1, or on the connection for SETTINGS.
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let stream = u8::from(kind != 4);
    let length = u8::try_from(payload.len()).unwrap();
    let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, stream];
    frame.extend_from_slice(payload);
    frame
}

/// A header as HPACK's literal without indexing and without Huffman codes (RFC 7541, 6.2.2).
fn literal(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).unwrap();
    let mut bytes = vec![0, length(name)];
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(length(value));
    bytes.extend_from_slice(value.as_bytes());
    bytes
}

/// Whether a GET of this `:path` over HTTP/2 is answered with 200 or 204.
async fn is_served_over_http2(address: SocketAddr, path: &str) -> bool {
    let headers = [
        literal(":method", "GET"),
        literal(":scheme", "http"),
        literal(":authority", "localhost"),
        literal(":path", path),
        literal("dapr-app-id", "app"),
    ];
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, &[]));
    // END_STREAM and END_HEADERS.
    bytes.extend(frame(1, 5, &headers.concat()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return false;
        }
        let length = usize::from(head[1]) * 256 + usize::from(head[2]);
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.unwrap();
        match head[3] {
            // The indexes of ":status: 200" and ":status: 204" in HPACK's static table.
            1 => return [0x88, 0x89].contains(&payload[0]),
            // RST_STREAM and GOAWAY.
            3 | 7 => return false,
            _ => {}
        }
    }
}

#[tokio::test]
async fn no_pseudo_header_of_http2_gets_past_the_door() {
    let (app, sidecar) = sidecar().await;
    assert!(is_served_over_http2(sidecar.http(), "/v1.0/healthz").await);
    for path in [
        "/v1.0/metadata",
        "/v1.0/%68ealthz",
        "v1.0/metadata",
        "*",
        "",
        "http://localhost/v1.0/metadata",
        "/v1.0/metadata?/v1.0/healthz",
        "/v1.0/metadata#/v1.0/healthz",
        "/v1.0/healthz;x",
        "/v1.0/healthz\u{0}",
        "/v1.0/healthz x",
    ] {
        assert!(
            !is_served_over_http2(sidecar.http(), path).await,
            "{path:?}"
        );
    }
    assert!(app.recorded().is_empty());
}

/// Pieces that have to do with the door, and pieces that have not.
fn path_piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("/".to_owned()),
        Just("/v1.0".to_owned()),
        Just("/healthz".to_owned()),
        Just("/outbound".to_owned()),
        Just("/metadata".to_owned()),
        Just("/secrets/s/k".to_owned()),
        Just("/invoke/app/method/m".to_owned()),
        Just("/shutdown".to_owned()),
        Just("/..".to_owned()),
        Just("/.".to_owned()),
        "[?#;%&=]",
        "%[0-9a-fA-F]{2}",
        "[!-~]{1,3}",
    ]
}

fn header_line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("dapr-app-id: app".to_owned()),
        Just("origin: http://a".to_owned()),
        "dapr-api-token: [ -~]{0,6}",
        "dapr-api-token: [a-z]{0,3}t0ken[a-z]{1,3}",
        "x-[a-z]{1,5}: [!-~]{0,10}",
    ]
}

#[test]
fn no_request_without_the_token_reaches_a_handler() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (app, sidecar) = runtime.block_on(sidecar());
    let strategy = (
        prop_oneof![Just("GET".to_owned()), "[A-Z]{3,7}"],
        proptest::collection::vec(path_piece(), 1..8),
        proptest::collection::vec(header_line(), 0..4),
    );
    let config = Config {
        cases: 400,
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&strategy, |(method, pieces, headers)| {
        let path = pieces.concat();
        let mut text = format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n");
        for header in &headers {
            text.push_str(header);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        let status = runtime.block_on(send_raw(sidecar.http(), &text));
        let is_open = method == "GET" && is_health(&path);
        // 400 for what is no request; 500 for health that asks for another app.
        let expected: &[u16] = if is_open { &[204, 500] } else { &[401, 400] };
        proptest::prop_assert!(expected.contains(&status), "{text}: {status}");
        Ok(())
    });
    outcome.unwrap();
    assert!(app.recorded().is_empty());
}

/// A second opinion on which paths are health, written another way than the one under test.
fn is_health(path: &str) -> bool {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut stack: Vec<&str> = Vec::new();
    for segment in path
        .split('/')
        .filter(|segment| !["", "."].contains(segment))
    {
        match segment {
            ".." => {
                stack.pop();
            }
            segment => stack.push(segment),
        }
    }
    path.starts_with('/')
        && (stack == ["v1.0", "healthz"] || stack == ["v1.0", "healthz", "outbound"])
}
