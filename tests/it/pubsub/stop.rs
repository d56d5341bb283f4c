//! The end of taking messages in, and an app that is not well.

use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;
use sidegate::components::pubsub::Interest;
use sidegate::testing::eventually::eventually;
use tokio::task::JoinSet;

use super::{Files, Running, TestApp, in_memory, subscription};

/// Has the app keep a message without an answer.
async fn hold(app: &TestApp, running: &Running) {
    app.answers(false);
    running.publish("t", &["in flight"]).await.unwrap();
    eventually("it is in flight", async || {
        let arrived = app.arrived("/t");
        arrived.contains(&"in flight".to_owned()).then_some(())
    })
    .await;
}

async fn one_in_flight(app: &TestApp, files: &Files, grace: Duration) -> Running {
    files
        .write("p.yaml", &in_memory("p"))
        .write("s.yaml", &subscription("s", "t", "/t"));
    let running = Running::start_with(files, Some(app.channel()), true, grace).await;
    running.reaches(app, "t", "/t").await;
    hold(app, &running).await;
    running
}

#[tokio::test]
async fn messages_in_flight_are_finished_and_no_others_are_taken() {
    let (app, files) = (TestApp::start().await, Files::new());
    let running = one_in_flight(&app, &files, Duration::from_secs(60)).await;
    running.intake.stop();
    running.publish("t", &["too late"]).await.unwrap();
    assert!(running.intake.done().now_or_never().is_none());
    app.answers(true);
    running.intake.done().await;
    assert!(!app.arrived("/t").contains(&"too late".to_owned()));
    // It waits for the next who asks, and what was answered does not come again.
    assert_eq!(next(&running).await, "too late");
}

#[tokio::test]
async fn a_message_that_is_not_finished_in_time_comes_again_elsewhere() {
    let (app, files) = (TestApp::start().await, Files::new());
    let running = one_in_flight(&app, &files, Duration::from_millis(10)).await;
    running.intake.stop();
    running.intake.done().await;
    assert_eq!(next(&running).await, "in flight");
    assert_eq!(running.supervisor.len(), 1, "it returns at shutdown");
}

/// The next message of the topic for somebody else.
async fn next(running: &Running) -> String {
    let snapshot = running.registry.snapshot();
    let broker = &snapshot.pubsubs["p"].component.broker;
    let interest = Interest {
        topic: "t".to_owned(),
        metadata: Default::default(),
    };
    let mut intake = broker.subscribe(&interest).await.unwrap();
    let delivery = intake.next().await.unwrap();
    let event: serde_json::Value = serde_json::from_slice(&delivery.data).unwrap();
    event["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_app_that_is_not_well_gets_its_messages_when_it_is() {
    let files = Files::new();
    files
        .write("p.yaml", &in_memory("p"))
        .write("s.yaml", &subscription("s", "t", "/t"));
    let app = TestApp::start().await;
    let mut tasks = JoinSet::new();
    let channel = app.checked_channel(&mut tasks);
    let mut healthy = channel.healthy();
    let running = Running::start(&files, Some(channel)).await;
    running.reaches(&app, "t", "/t").await;
    hold(&app, &running).await;
    app.is_healthy(false);
    healthy.wait_for(|is_healthy| !is_healthy).await.unwrap();
    app.lists(
        200,
        &json!([{ "pubsubname": "p", "topic": "u", "route": "/u" }]),
    );
    running.publish("t", &["meanwhile"]).await.unwrap();
    app.answers(true);
    eventually("the message in flight is answered", async || {
        let answered = super::ids(&app.state.answered, "/t");
        answered.contains(&"in flight".to_owned()).then_some(())
    })
    .await;
    app.is_healthy(true);
    // It was stopped: it is asked anew.
    running.subscribed(&["t", "u"]).await;
    eventually("the other comes", async || {
        let answered = super::ids(&app.state.answered, "/t");
        answered.contains(&"meanwhile".to_owned()).then_some(())
    })
    .await;
}
