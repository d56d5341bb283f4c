//! Two whole sidecars on one machine: they find each other, and lose no call at their end.

use http::Response;
use sidegate::cli::sidecar::Ended;
use sidegate::testing::eventually::eventually;
use sidegate::testing::fake_app::FakeApp;
use tokio::sync::{Notify, mpsc};

use super::{Running, TOKEN, ipv4, tcp};
use crate::app_channel::Server;
use std::net::SocketAddr;
use std::sync::Arc;

async fn pair(runtime: &str, app: SocketAddr) -> (Running, Running) {
    let environment = [("DAPR_API_TOKEN", TOKEN), ("XDG_RUNTIME_DIR", runtime)];
    let port = format!("--app-port={}", app.port());
    let flags = ["--app-id=callee", &port, "--disable-init-endpoints=config"];
    let grace = ["--dapr-graceful-shutdown-seconds=3600"];
    let callee = Running::start(&[&flags[..], &grace].concat(), &environment).await;
    let caller = Running::start(&["--app-id=caller"], &environment).await;
    (caller, callee)
}

const METHOD: &str = "/v1.0/invoke/callee/method/x";

#[tokio::test]
async fn siblings_find_each_other_and_the_internal_port_is_open_to_this_machine_alone() {
    let runtime = tempfile::tempdir().unwrap();
    let app = FakeApp::start().await;
    let (caller, callee) = pair(runtime.path().to_str().unwrap(), app.address()).await;
    for sidecar in [&caller, &callee] {
        for address in tcp(&sidecar.addresses.internal) {
            assert!(address.ip().is_loopback(), "{address}");
        }
    }
    assert_eq!(caller.get(METHOD).await.status(), 200);
    assert_ne!(ipv4(&callee.addresses.internal).port(), 0);
    callee.stop.cancel();
    assert_eq!(callee.ended().await.unwrap(), Ended::Drained);
    eventually("the callee is forgotten", async || {
        let answer = caller.get(METHOD).await;
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        text.contains("couldn't find service: callee").then_some(())
    })
    .await;
}

#[tokio::test]
async fn calls_in_flight_get_their_answers_when_the_callee_ends() {
    let runtime = tempfile::tempdir().unwrap();
    let (reached, mut has_reached) = mpsc::channel::<()>(8);
    let answer = Arc::new(Notify::new());
    let gate = Arc::clone(&answer);
    let app = Server::start(move |_| {
        let (reached, gate) = (reached.clone(), Arc::clone(&gate));
        async move {
            let opened = gate.notified();
            reached.send(()).await.unwrap();
            opened.await;
            Response::new(sidegate::process::body::whole("late"))
        }
    })
    .await;
    let (caller, callee) = pair(runtime.path().to_str().unwrap(), app.address).await;
    let caller = Arc::new(caller);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let caller = Arc::clone(&caller);
        calls.spawn(async move { caller.get(METHOD).await });
    }
    for _ in 0..8 {
        has_reached.recv().await.unwrap();
    }
    let internal = ipv4(&callee.addresses.internal);
    callee.stop.cancel();
    eventually("nothing new is taken", async || {
        let connection = tokio::net::TcpStream::connect(internal).await;
        connection.is_err().then_some(())
    })
    .await;
    answer.notify_waiters();
    while let Some(call) = calls.join_next().await {
        let call = call.unwrap();
        assert_eq!(
            (call.status().as_u16(), &call.body()[..]),
            (200, &b"late"[..])
        );
    }
    assert_eq!(callee.ended().await.unwrap(), Ended::Drained);
}
