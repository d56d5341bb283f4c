//! Where subscriptions come from.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dapr::dapr::proto::runtime::v1::{
    ListTopicSubscriptionsResponse, TopicRoutes, TopicRule, TopicSubscription,
};
use serde_json::json;
use sidegate::app_channel::{AppChannel, AppProtocol};
use sidegate::testing::eventually::eventually;
use sidegate::testing::fake_grpc_app::FakeGrpcApp;
use tokio::task::JoinSet;
use tonic::Status;

use super::{Files, Running, TestApp, in_memory, in_memory_with, subscription};
use crate::app_channel::config;

fn entry(topic: &str, route: &str) -> serde_json::Value {
    json!({ "pubsubname": "p", "topic": topic, "route": route })
}

#[tokio::test]
async fn what_is_written_down_wins_over_what_an_http_app_lists() {
    let files = Files::new();
    files
        .write("p.yaml", &in_memory("p"))
        .write("s.yaml", &subscription("s", "both", "/written"));
    let list = json!([
        entry("both", "/listed"),
        entry("listed", "listed"),
        { "pubsubname": "p", "topic": "nowhere" },
        { "pubsubname": "missing", "topic": "x", "route": "/x" },
        { "pubsubname": "p", "topic": "more", "routes": { "rules": [
            { "match": "event.type == 'a'", "path": "/a" }
        ], "default": "/b" }, "deadLetterTopic": "dead", "metadata": { "k": "v" } },
    ]);
    let app = TestApp::listing(&list).await;
    let running = Running::start(&files, Some(app.channel())).await;
    let views = running.subscribed(&["both", "listed", "more"]).await;
    let kinds: Vec<_> = views.iter().map(|view| view.kind).collect();
    assert_eq!(kinds, ["DECLARATIVE", "PROGRAMMATIC", "PROGRAMMATIC"]);
    let rule = |expression: &str, path: &str| (expression.to_owned(), path.to_owned());
    assert_eq!(
        views[2].rules,
        [rule("event.type == 'a'", "/a"), rule("", "/b")]
    );
    assert_eq!(views[2].dead_letter_topic, "dead");
    assert_eq!(views[2].metadata["k"], "v");
    running.reaches(&app, "both", "/written").await;
    running.reaches(&app, "listed", "/listed").await;
    let strays = app.arrived("/listed");
    assert!(
        strays.iter().all(|id| id.starts_with("listed")),
        "{strays:?}"
    );
}

#[tokio::test]
async fn an_app_that_fails_has_not_said_that_it_wants_nothing() {
    let files = Files::new();
    files.write("p.yaml", &in_memory("p"));
    let app = TestApp::start().await;
    app.lists(500, &json!("starting"));
    let running = Running::start(&files, Some(app.channel())).await;
    eventually("it is asked", async || (app.asked() > 0).then_some(())).await;
    app.lists(200, &json!({ "no": "list" }));
    let before = app.asked();
    eventually("it is asked again", async || {
        (app.asked() > before).then_some(())
    })
    .await;
    app.lists(200, &json!([entry("t", "/t")]));
    running.reaches(&app, "t", "/t").await;
}

#[tokio::test]
async fn an_app_without_a_list_gets_what_is_written_down() {
    let files = Files::new();
    files
        .write("p.yaml", &in_memory("p"))
        .write("s.yaml", &subscription("s", "t", "/t"));
    let app = TestApp::start().await;
    app.lists(404, &json!(null));
    let running = Running::start(&files, Some(app.channel())).await;
    eventually("it is asked", async || (app.asked() > 0).then_some(())).await;
    running.reaches(&app, "t", "/t").await;
    assert_eq!(app.asked(), 1);
}

#[tokio::test]
async fn an_app_is_asked_once_there_is_a_broker() {
    let files = Files::new();
    files.write("s.yaml", &subscription("s", "t", "/t"));
    let app = TestApp::listing(&json!([entry("u", "/u")])).await;
    let running = Running::start(&files, Some(app.channel())).await;
    assert_eq!(app.asked(), 0);
    files.write("p.yaml", &in_memory("p"));
    running.subscribed(&["t", "u"]).await;
    running.reaches(&app, "t", "/t").await;
    running.reaches(&app, "u", "/u").await;
    assert_eq!(app.asked(), 1);
}

#[tokio::test]
async fn an_app_is_not_asked_where_a_flag_says_so() {
    let files = Files::new();
    files
        .write("p.yaml", &in_memory("p"))
        .write("s.yaml", &subscription("s", "t", "/t"));
    let app = TestApp::listing(&json!([entry("u", "/u")])).await;
    let grace = Duration::from_secs(60);
    let running = Running::start_with(&files, Some(app.channel()), false, grace).await;
    running.reaches(&app, "t", "/t").await;
    assert_eq!(app.asked(), 0);
}

#[tokio::test]
async fn an_app_that_comes_back_is_asked_again() {
    let files = Files::new();
    files.write("p.yaml", &in_memory("p"));
    let app = TestApp::listing(&json!([entry("t", "/before")])).await;
    let mut tasks = JoinSet::new();
    let running = Running::start(&files, Some(app.checked_channel(&mut tasks))).await;
    running.reaches(&app, "t", "/before").await;
    app.is_healthy(false);
    running.subscribed(&[]).await;
    app.lists(200, &json!([entry("t", "/after")]));
    app.is_healthy(true);
    running.reaches(&app, "t", "/after").await;
}

#[tokio::test]
async fn a_topic_that_the_app_may_not_have_is_refused_and_the_others_run() {
    let files = Files::new();
    let scopes = "[{name: subscriptionScopes, value: app=allowed}]";
    files
        .write("p.yaml", &in_memory_with("p", scopes))
        .write("a.yaml", &subscription("a", "refused", "/refused"))
        .write("b.yaml", &subscription("b", "allowed", "/allowed"));
    let app = TestApp::listing(&json!([entry("refused too", "/refused")])).await;
    let running = Running::start(&files, Some(app.channel())).await;
    running.reaches(&app, "allowed", "/allowed").await;
    running.publish("refused", &["x"]).await.unwrap();
    running.subscribed(&["allowed"]).await;
    // Once it may, it gets what is published from then on.
    let scopes = "[{name: subscriptionScopes, value: 'app=allowed,refused'}]";
    files.write("p.yaml", &in_memory_with("p", scopes));
    running.subscribed(&["refused", "allowed"]).await;
    running.reaches(&app, "refused", "/refused").await;
    assert!(!app.arrived("/refused").contains(&"x".to_owned()));
}

fn grpc_list() -> ListTopicSubscriptionsResponse {
    let subscription = |topic: &str, routes| TopicSubscription {
        pubsub_name: "p".to_owned(),
        topic: topic.to_owned(),
        routes,
        ..TopicSubscription::default()
    };
    let rule = TopicRule {
        r#match: "event.type == 'a'".to_owned(),
        path: "a".to_owned(),
    };
    ListTopicSubscriptionsResponse {
        subscriptions: vec![
            subscription("all", None),
            subscription(
                "some",
                Some(TopicRoutes {
                    rules: vec![rule],
                    default: String::new(),
                }),
            ),
            subscription("", None),
        ],
    }
}

#[tokio::test]
async fn a_grpc_app_tells_what_it_subscribes_to_when_it_can() {
    let files = Files::new();
    files.write("p.yaml", &in_memory("p"));
    let fails = AtomicBool::new(true);
    let app = FakeGrpcApp::subscribing(move || {
        if fails.swap(false, Ordering::SeqCst) {
            return Err(Status::unavailable("starting"));
        }
        Ok(grpc_list())
    })
    .await;
    let channel = AppChannel::new(config(AppProtocol::Grpc, app.address())).unwrap();
    let running = Running::start(&files, Some(channel)).await;
    let views = running.subscribed(&["all", "some"]).await;
    let rule = |expression: &str, path: &str| (expression.to_owned(), path.to_owned());
    assert_eq!(views[0].rules, [rule("", "")]);
    assert_eq!(views[1].rules, [rule("event.type == 'a'", "a")]);
    assert_eq!(app.recorded().len(), 2, "asked again after the failure");
}

#[tokio::test]
async fn a_grpc_app_without_the_method_wants_nothing() {
    let files = Files::new();
    files.write("p.yaml", &in_memory("p"));
    let asked = Mutex::new(tokio::sync::mpsc::channel(8).0);
    let (sender, mut calls) = tokio::sync::mpsc::channel(8);
    *asked.lock().unwrap() = sender;
    let app = FakeGrpcApp::subscribing(move || {
        asked.lock().unwrap().try_send(()).unwrap();
        Err(Status::unimplemented("no"))
    })
    .await;
    let channel = AppChannel::new(config(AppProtocol::Grpc, app.address())).unwrap();
    let running = Running::start(&files, Some(channel)).await;
    calls.recv().await.unwrap();
    // Another change does not make the sidecar ask again.
    files.write("s.yaml", &subscription("s", "t", "/t"));
    running.subscribed(&["t"]).await;
    assert_eq!(app.recorded().len(), 1);
}
