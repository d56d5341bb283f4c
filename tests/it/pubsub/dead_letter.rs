//! What the app does not take.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use serde_json::Value;
use sidegate::app_channel::{AppChannel, AppProtocol};
use sidegate::testing::fake_app::{FakeApp, Recorded};

use super::{Files, Running, in_memory};
use crate::app_channel::config;

/// An app whose path `/t` answers so; `/dead` takes everything.
async fn app(status: u16, body: &'static str) -> FakeApp {
    FakeApp::answering(move |request| {
        let (status, body) = match request.uri.path() {
            "/t" => (status, body),
            "/dapr/subscribe" => (404, ""),
            _ => (200, ""),
        };
        let mut answer = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
        *answer.status_mut() = status.try_into().unwrap();
        answer
    })
    .await
}

/// A subscription of topic `t` with dead letters, and one to these.
fn files(metadata_of_dead: &str) -> Files {
    let files = Files::new();
    let subscription = |name: &str, rest: &str| {
        format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Subscription\nmetadata: {{name: {name}}}\n\
             spec: {{pubsubname: p, {rest}}}\n"
        )
    };
    files
        .write("p.yaml", &in_memory("p"))
        .write(
            "t.yaml",
            &subscription("t", "topic: t, route: /t, deadLetterTopic: dead"),
        )
        .write(
            "d.yaml",
            &subscription(
                "d",
                &format!("topic: dead, route: /dead, metadata: {metadata_of_dead}"),
            ),
        );
    files
}

async fn start(files: &Files, app: &FakeApp) -> Running {
    let channel = AppChannel::new(config(AppProtocol::Http, app.address())).unwrap();
    let running = Running::start(files, Some(channel)).await;
    // A dead letter for which nobody waits yet would be lost in memory.
    running.subscribed(&["dead", "t"]).await;
    running
}

fn dead(call: &Recorded) -> Option<Bytes> {
    (call.uri.path() == "/dead").then(|| call.body.clone())
}

#[tokio::test]
async fn what_the_app_does_not_take_is_put_aside_as_it_is() {
    let event = r#"{"data":1.0,"id":"own","type":"x"}"#;
    for (status, body) in [
        (404, "gone"),
        (200, r#"{"status":"DROP"}"#),
        (500, "broken"),
    ] {
        let app = app(status, body).await;
        let running = start(&files("{}"), &app).await;
        let letter = running.reaches_app(event, &app, dead).await;
        assert_eq!(letter, event, "{status} {body}");
    }
}

#[tokio::test]
async fn a_message_is_put_aside_after_all_tries_of_the_inbound_policy() {
    let app = app(500, "broken").await;
    let files = files("{}");
    files.write(
        "r.yaml",
        "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata: {name: r}\nspec:\n  policies: \
         {retries: {again: {duration: 1ms, maxRetries: 3}}}\n  targets: {components: {p: \
         {inbound: {retry: again}}}}\n",
    );
    let running = start(&files, &app).await;
    assert!(running.registry.snapshot().resiliency.warnings().is_empty());
    running.reaches_app(r#"{"id":"0"}"#, &app, dead).await;
    running.publish("t", &["own"]).await.unwrap();
    let is_own = |call: &Recorded| {
        let event: Value = serde_json::from_slice(&call.body).ok()?;
        (event["id"] == "own").then(|| call.uri.path().to_owned())
    };
    let is_dead = |call: &Recorded| is_own(call).filter(|path| path == "/dead");
    running.reaches_app(r#"{"id":"0"}"#, &app, is_dead).await;
    let calls: Vec<_> = app.recorded().iter().filter_map(is_own).collect();
    assert_eq!(calls, ["/t", "/t", "/t", "/t", "/dead"]);
}

#[tokio::test]
async fn expired_and_undecodable_messages_never_reach_the_app() {
    for data in [
        r#"{"id":"1","expiration":"2020-01-01T00:00:00Z"}"#,
        "no JSON at all",
    ] {
        let app = app(200, "").await;
        // Raw, since what is no event can be read in no other way.
        let running = start(&files("{rawPayload: 'true'}"), &app).await;
        let letter = running.reaches_app(data, &app, dead).await;
        let letter: Value = serde_json::from_slice(&letter).unwrap();
        let inner = BASE64
            .decode(letter["data_base64"].as_str().unwrap())
            .unwrap();
        let expected = if data.starts_with('{') {
            r#"{"id":"1"}"#
        } else {
            data
        };
        assert_eq!(inner, expected.as_bytes());
        let calls = app.recorded().into_iter();
        assert_eq!(calls.filter(|call| call.uri.path() == "/t").count(), 0);
    }
}
