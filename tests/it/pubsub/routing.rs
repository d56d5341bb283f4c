//! Where in the app messages go, by the rules of their subscription.

use serde_json::Value;
use sidegate::app_channel::{AppChannel, AppProtocol};
use sidegate::testing::fake_app::{FakeApp, Recorded};

use super::{Files, Running, in_memory};
use crate::app_channel::config;

/// A subscription to topic `t` with these routes; what goes nowhere goes to topic `dead`.
fn routed(routes: &str) -> String {
    format!(
        "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata: {{name: s}}\nspec:\n  \
         pubsubname: p\n  topic: t\n  deadLetterTopic: dead\n  routes: {routes}\n"
    )
}

/// What becomes of dead letters: they reach the path `/dead`.
const DEAD: &str = "apiVersion: dapr.io/v1alpha1\nkind: Subscription\nmetadata: {name: d}\n\
                    spec: {pubsubname: p, topic: dead, route: /dead}\n";

/// The path at which the app gets an event.
async fn path_of(routes: &str, event: &str) -> String {
    let (app, files) = (FakeApp::start().await, Files::new());
    files
        .write("p.yaml", &in_memory("p"))
        .write("s.yaml", &routed(routes))
        .write("d.yaml", DEAD);
    let channel = AppChannel::new(config(AppProtocol::Http, app.address())).unwrap();
    let running = Running::start(&files, Some(channel)).await;
    let path = |call: &Recorded| (call.method == "POST").then(|| call.uri.path().to_owned());
    running.reaches_app(event, &app, path).await
}

#[tokio::test]
async fn the_first_rule_that_is_true_decides() {
    let routes = r#"{rules: [
        {match: 'event.type == "withdrawal"', path: /withdrawals},
        {match: 'event.type == "deposit" && event.data.amount > 1000', path: /large},
        {match: 'event.type == "deposit"', path: /deposits}], default: /others}"#;
    for (event, expected) in [
        (r#"{"id":"1","type":"withdrawal"}"#, "/withdrawals"),
        (
            r#"{"id":"1","type":"deposit","data":{"amount":1001}}"#,
            "/large",
        ),
        (
            r#"{"id":"1","type":"deposit","data":{"amount":1}}"#,
            "/deposits",
        ),
        (r#"{"id":"1","type":"x"}"#, "/others"),
        // A rule that cannot be evaluated says nothing, and those after it are not asked.
        (r#"{"id":"1","type":"deposit"}"#, "/dead"),
    ] {
        assert_eq!(path_of(routes, event).await, expected, "{event}");
    }
}

#[tokio::test]
async fn what_no_rule_matches_is_a_dead_letter_with_its_own_id() {
    let routes = r#"{rules: [{match: 'event.type == "a"', path: /a}]}"#;
    let event = r#"{"id":"own","type":"b"}"#;
    assert_eq!(path_of(routes, event).await, "/dead");
}

#[tokio::test]
async fn a_rule_that_cannot_be_compiled_is_told_when_it_is_loaded() {
    let files = Files::new();
    files.write("p.yaml", &in_memory("p")).write(
        "s.yaml",
        &routed("{rules: [{match: 'evnt.type == 1', path: /a}]}"),
    );
    let mut tasks = sidegate::process::tasks::Tasks::new(Default::default());
    let started = sidegate::registry::Registry::start(files.config(), &mut tasks).await;
    let Err(error) = started else {
        panic!("the rule is an error");
    };
    let text = error.to_string();
    assert!(
        text.contains(
            "field \"spec.routes.rules[0].match\": \"evnt.type == 1\" uses \"evnt\", which is not \
             known; accepted are event; did you mean \"event\"?"
        ),
        "{text}"
    );
}

#[tokio::test]
async fn the_app_sees_what_was_matched() {
    let routes = r#"{rules: [{match: 'event.data == "x"', path: /x}]}"#;
    let (app, files) = (FakeApp::start().await, Files::new());
    files
        .write("p.yaml", &in_memory("p"))
        .write("s.yaml", &routed(routes));
    let channel = AppChannel::new(config(AppProtocol::Http, app.address())).unwrap();
    let running = Running::start(&files, Some(channel)).await;
    let event = r#"{"data":"x","id":"1"}"#;
    let body = running.reaches_app(event, &app, |call| {
        (call.uri.path() == "/x").then(|| call.body.clone())
    });
    let body: Value = serde_json::from_slice(&body.await).unwrap();
    assert_eq!(body["data"], "x");
}
