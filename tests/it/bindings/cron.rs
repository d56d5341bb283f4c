//! A schedule of every second, to apps that speak HTTP and gRPC.

use dapr::dapr::proto::runtime::v1::BindingEventResponse;
use sidegate::testing::eventually::eventually;
use sidegate::testing::fake_app::{FakeApp, Recorded};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use super::grpc_app::GrpcApp;
use super::*;

const APP_TOKEN: (&str, &str) = ("APP_API_TOKEN", "own");

/// An app that takes no event.
async fn failing() -> FakeApp {
    let answer = |request: &Recorded| {
        let status = if request.method == "POST" { 500 } else { 200 };
        let response = Response::builder().status(status);
        response.body(Full::default()).unwrap()
    };
    FakeApp::answering(answer).await
}

#[tokio::test]
async fn every_event_over_http_carries_the_app_token() {
    let app = FakeApp::start().await;
    let resources = Resources::new();
    resources.cron("tick", &[]);
    let sidecar = resources.start(app.address(), &[], &[APP_TOKEN]).await;
    let events = eventually("three events", async || {
        let posts = app.recorded().into_iter().filter(|one| one.uri == "/tick");
        let posts: Vec<_> = posts.filter(|one| one.method == "POST").collect();
        (posts.len() >= 3).then_some(posts)
    })
    .await;
    for event in events {
        assert_eq!(event.header("dapr-api-token"), ["own"]);
        assert_eq!(event.header("content-type"), ["application/json"]);
        assert_eq!(event.header("timezone"), ["Local"]);
        assert!(event.header("readtimeutc")[0].ends_with(" +0000 UTC"));
        assert!(event.body.is_empty());
    }
    let probes = app
        .recorded()
        .into_iter()
        .filter(|one| one.method == "OPTIONS");
    let probes: Vec<_> = probes.collect();
    assert_eq!(probes.len(), 1);
    assert_eq!(probes[0].header("dapr-api-token"), ["own"]);
    let counted = sidecar.metrics("dapr_component_input_binding_count").await;
    let is_counted =
        |line: &String| line.contains(r#"component="tick""#) && line.contains(r#"success="true""#);
    assert!(counted.iter().any(is_counted), "{counted:?}");
}

#[tokio::test]
async fn every_event_over_grpc_carries_the_app_token() {
    let app = GrpcApp::wanting(&["tick"], 0, BindingEventResponse::default()).await;
    let resources = Resources::new();
    resources.cron("tick", &[]).cron("other", &[]);
    let flags = ["--app-protocol=grpc"];
    let _sidecar = resources.start(app.address, &flags, &[APP_TOKEN]).await;
    eventually("three events", async || {
        (app.events().len() >= 3).then_some(())
    })
    .await;
    for seen in app.seen() {
        let tokens = seen.metadata.get_all("dapr-api-token").iter();
        let tokens: Vec<_> = tokens.map(|token| token.to_str().unwrap()).collect();
        assert_eq!(tokens, ["own"], "{seen:?}");
        if let Some(event) = seen.event {
            assert_eq!(event.name, "tick");
            assert_eq!(event.metadata["timeZone"], "Local");
            assert!(event.data.is_empty());
        }
    }
}

#[tokio::test]
async fn a_question_that_fails_is_asked_again_and_never_means_no() {
    let app = GrpcApp::wanting(&["tick"], 2, BindingEventResponse::default()).await;
    let resources = Resources::new();
    resources.cron("tick", &[]);
    let flags = ["--app-protocol=grpc"];
    let _sidecar = resources.start(app.address, &flags, &[]).await;
    eventually("an event", async || {
        (!app.events().is_empty()).then_some(())
    })
    .await;
    let questions = app.seen().iter().filter(|one| one.event.is_none()).count();
    assert_eq!(questions, 3);
}

#[tokio::test]
async fn an_app_that_says_nothing_in_time_is_asked_again() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let resources = Resources::new();
    resources.cron("tick", &[]);
    let flags = ["--app-binding-options-timeout=50ms"];
    let address = silent.local_addr().unwrap();
    let _sidecar = resources.start(address, &flags, &[]).await;
    let mut open = Vec::new();
    let mut asked = 0;
    while asked < 2 {
        let (mut connection, _) = silent.accept().await.unwrap();
        let mut begin = [0; 13];
        let read = connection.read_exact(&mut begin).await;
        if read.is_ok() && &begin == b"OPTIONS /tick" {
            asked += 1;
        }
        open.push(connection);
    }
}

#[tokio::test]
async fn errors_of_the_app_are_counted_and_the_next_event_comes_all_the_same() {
    let app = failing().await;
    let resources = Resources::new();
    resources.cron("fails", &[]);
    let sidecar = resources.start(app.address(), &[], &[]).await;
    eventually("two failures", async || {
        let counted = sidecar.metrics("dapr_component_input_binding_count").await;
        let failed = counted
            .iter()
            .find(|line| line.contains(r#"success="false""#))?;
        let count: u32 = failed.rsplit(' ').next()?.parse().ok()?;
        (count >= 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_policy_tries_again_within_one_event() {
    let app = failing().await;
    let resources = Resources::new();
    resources.cron("tick", &[]).retry_twice("tick", "inbound");
    let _sidecar = resources.start(app.address(), &[], &[]).await;
    let times = eventually("two events", async || {
        let posts = app
            .recorded()
            .into_iter()
            .filter(|one| one.method == "POST");
        let times: Vec<_> = posts
            .map(|one| one.header("readtimeutc")[0].to_owned())
            .collect();
        (times.len() >= 6).then_some(times)
    })
    .await;
    assert!(
        times[0] == times[1] && times[1] == times[2] && times[2] != times[3],
        "{times:?}"
    );
}
