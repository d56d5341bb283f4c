//! Calls through two sidecars, beside a chain of two bare proxies.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::load::Load;
use super::measure::{compare, median};
use super::report::Report;
use super::servers::{Server, Stage, TOKEN, bare};

/// How many calls are timed, one after another.
const CALLS: usize = 4000;

/// How many answers stream at once.
const STREAMS: usize = 1000;

/// The large body, in bytes.
const LARGE: usize = 1 << 30;

/// Measures the road between sidecars.
pub(crate) async fn measure(stage: &Stage, report: &mut Report) {
    let app = bare("app", &[]);
    let inner = bare("proxy", &[&app.address.to_string()]);
    let outer = bare("proxy", &[&inner.address.to_string()]);
    let (caller, callee) = (stage.sidecar_named("caller", None), stage.callee(&app));
    let token = format!("dapr-api-token: {TOKEN}\r\n");
    let body = "{\"order\":1}";
    let invoke = "POST /v1.0/invoke/callee/method/orders";
    let called = Load::new(caller.address, invoke, &token, body);
    let chained = Load::new(outer.address, "POST /orders", "", body);
    let direct = Load::new(app.address, "POST /orders", "", body);
    let name = "invoke across two sidecars, of two proxies";
    compare(report, name, [&called, &chained], 0.4).await;

    called.latencies(CALLS / 4).await;
    let mut ours = called.latencies(CALLS).await;
    let mut bare = direct.latencies(CALLS).await;
    let proxied = median(&mut chained.latencies(CALLS).await);
    let (own, other) = (median(&mut ours), median(&mut bare));
    let details = format!("{own:.3} and {other:.3}; two proxies {proxied:.3}");
    report.at_most("added by both at p50, ms", own - other, 0.3, &details);
    let (own, other) = (ours[CALLS / 100 * 99], bare[CALLS / 100 * 99]);
    let details = format!("{own:.3} and {other:.3}");
    report.at_most("added by both at p99, ms", own - other, 1.0, &details);

    streams(report, [&caller, &callee]).await;
    large(stage, &app, report).await;
}

/// Holds many answers open that never end.
async fn streams(report: &mut Report, [caller, callee]: [&Server; 2]) {
    let mut open = Vec::with_capacity(STREAMS);
    for _ in 0..STREAMS {
        let mut stream = TcpStream::connect(caller.address).await.unwrap();
        let request = format!(
            "GET /v1.0/invoke/callee/method/events HTTP/1.1\r\nhost: localhost\r\n\
             dapr-api-token: {TOKEN}\r\naccept: text/event-stream\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        open.push(stream);
    }
    let mut buffer = [0; 1024];
    for stream in &mut open {
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(buffer[..read].starts_with(b"HTTP/1.1 200"));
    }
    for (name, server) in [("caller's", caller), ("app's", callee)] {
        let name = format!("the {name} with {STREAMS} open streams, MiB");
        report.at_most(&name, server.resident_mib(), 64.0, "");
    }
}

/// Sends a body that is far larger than what a sidecar may hold.
async fn large(stage: &Stage, app: &Server, report: &mut Report) {
    let caller = stage.sidecar_named("uploader", None);
    let callee = stage.sidecar_named("large", Some(app.address));
    upload(caller.address).await;
    for (name, server) in [("caller's", caller), ("app's", callee)] {
        let name = format!("the {name} at most, while 1 GiB passed, MiB");
        report.at_most(&name, server.peak_mib(), 20.0, "");
    }
}

async fn upload(caller: SocketAddr) {
    let mut stream = TcpStream::connect(caller).await.unwrap();
    let head = format!(
        "POST /v1.0/invoke/large/method/sink HTTP/1.1\r\nhost: localhost\r\n\
         dapr-api-token: {TOKEN}\r\ncontent-length: {LARGE}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..LARGE / piece.len() {
        stream.write_all(&piece).await.unwrap();
    }
    let mut answer = [0; 1024];
    let read = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.ends_with(&LARGE.to_string()), "{answer}");
}
