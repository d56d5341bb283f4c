//! Which input bindings are read, and when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty};
use sidegate::testing::eventually::eventually;
use sidegate::testing::fake_app::{FakeApp, Recorded};
use tokio::sync::mpsc;

use super::*;
use crate::app_channel::Server;

/// How often the app was called so.
fn count(app: &FakeApp, method: &str, path: &str) -> usize {
    let is_it = |one: &Recorded| one.method == method && one.uri.path() == path;
    app.recorded().iter().filter(|one| is_it(one)).count()
}

async fn at_least(app: &FakeApp, least: usize, method: &str, path: &str) {
    eventually(&format!("{least} {method} {path}"), async || {
        (count(app, method, path) >= least).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_app_is_asked_whether_it_wants_events() {
    let app = FakeApp::answering(|request| {
        let status = match (request.method.as_str(), request.uri.path()) {
            ("OPTIONS", "/no-content") => 204,
            ("OPTIONS", "/not-allowed") => 405,
            ("OPTIONS", "/missing") => 404,
            ("OPTIONS", "/broken") => 500,
            _ => 200,
        };
        Response::builder()
            .status(status)
            .body(Full::default())
            .unwrap()
    })
    .await;
    let resources = Resources::new();
    for name in ["ok", "no-content", "not-allowed", "missing", "broken"] {
        resources.cron(name, &[]);
    }
    resources
        .cron("unasked", &[("direction", "input"), ("route", "missing/2")])
        .cron("routed", &[("route", "/a/b?c=d")])
        .cron("away", &[("direction", "output")]);
    let _sidecar = resources.start(app.address(), &[], &[]).await;
    for path in ["/ok", "/no-content", "/not-allowed", "/missing/2", "/a/b"] {
        at_least(&app, 2, "POST", path).await;
    }
    for path in [
        "/ok",
        "/no-content",
        "/not-allowed",
        "/missing",
        "/broken",
        "/a/b",
    ] {
        assert_eq!(count(&app, "OPTIONS", path), 1, "{path}");
    }
    assert_eq!(count(&app, "OPTIONS", "/missing/2"), 0);
    for path in ["/missing", "/broken", "/unasked", "/routed", "/away"] {
        assert_eq!(count(&app, "POST", path), 0, "{path}");
    }
    assert!(app.recorded().iter().any(|one| one.uri == "/a/b?c=d"));
}

#[tokio::test]
async fn a_change_touches_only_what_changed() {
    let app = FakeApp::start().await;
    let resources = Resources::new();
    resources.cron("stays", &[]).cron("goes", &[]);
    let _sidecar = resources.start(app.address(), &[], &[]).await;
    at_least(&app, 1, "POST", "/goes").await;
    // One is added.
    resources.cron("comes", &[]);
    at_least(&app, 1, "POST", "/comes").await;
    // One changes.
    resources.cron("comes", &[("route", "elsewhere")]);
    at_least(&app, 1, "POST", "/elsewhere").await;
    let before = count(&app, "POST", "/comes");
    // One gets another name.
    std::fs::remove_file(resources.path("goes.yaml")).unwrap();
    resources.cron("went", &[]);
    at_least(&app, 1, "POST", "/went").await;
    eventually("the old name is gone", async || {
        let seen = count(&app, "POST", "/goes");
        at_least(&app, count(&app, "POST", "/stays") + 2, "POST", "/stays").await;
        (seen == count(&app, "POST", "/goes")).then_some(())
    })
    .await;
    // A broken change leaves the one before as it is.
    resources.cron("went", &[("schedule", "soon")]);
    let seen = count(&app, "POST", "/went");
    at_least(&app, seen + 2, "POST", "/went").await;
    assert_eq!(count(&app, "POST", "/comes"), before);
    assert_eq!(count(&app, "OPTIONS", "/stays"), 1);
}

#[tokio::test]
async fn an_app_that_is_not_healthy_gets_no_events_and_is_asked_again() {
    let is_healthy = Arc::new(AtomicBool::new(true));
    let state = Arc::clone(&is_healthy);
    let app = FakeApp::answering(move |request| {
        let is_fine = request.uri.path() != "/healthz" || state.load(Ordering::SeqCst);
        let status = if is_fine { 200 } else { 503 };
        Response::builder()
            .status(status)
            .body(Full::default())
            .unwrap()
    })
    .await;
    let resources = Resources::new();
    resources.cron("tick", &[]);
    let flags = [
        "--enable-app-health-check",
        "--app-health-probe-interval=1",
        "--app-health-threshold=1",
    ];
    let _sidecar = resources.start(app.address(), &flags, &[]).await;
    at_least(&app, 1, "POST", "/tick").await;
    is_healthy.store(false, Ordering::SeqCst);
    let probes = count(&app, "GET", "/healthz");
    at_least(&app, probes + 3, "GET", "/healthz").await;
    let events = count(&app, "POST", "/tick");
    at_least(&app, probes + 6, "GET", "/healthz").await;
    assert_eq!(count(&app, "POST", "/tick"), events);
    assert_eq!(count(&app, "OPTIONS", "/tick"), 1);
    is_healthy.store(true, Ordering::SeqCst);
    at_least(&app, events + 1, "POST", "/tick").await;
    assert_eq!(count(&app, "OPTIONS", "/tick"), 2);
}

#[tokio::test]
async fn an_event_in_flight_is_finished_at_a_stop() {
    let (begun, mut events) = mpsc::channel(8);
    let app = Server::start(move |request| {
        let begun = begun.clone();
        async move {
            if request.method() == "POST" {
                let (finish, finished) = tokio::sync::oneshot::channel::<()>();
                begun.send(finish).await.unwrap();
                finished.await.unwrap();
            }
            let body = Empty::<Bytes>::new().map_err(|never| match never {});
            Response::new(UnsyncBoxBody::new(body))
        }
    })
    .await;
    let resources = Resources::new();
    resources.cron("tick", &[]);
    let grace = ["--dapr-graceful-shutdown-seconds=60"];
    let sidecar = resources.start(app.address, &grace, &[]).await;
    let event = events.recv().await.unwrap();
    sidecar.stop.cancel();
    // The app can call the sidecar while it deals with its last event.
    let answer = sidecar
        .post("/v1.0/bindings/none", r#"{"operation": "create"}"#)
        .await;
    assert_eq!(answer.status(), 500);
    event.send(()).unwrap();
    assert_eq!(sidecar.ended().await.unwrap(), Ended::Drained);
    assert!(events.try_recv().is_err());
}
