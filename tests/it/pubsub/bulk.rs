//! Messages that reach the app together.

use std::collections::BTreeSet;

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::topic_event_bulk_request_entry::Event;
use dapr::dapr::proto::runtime::v1::{
    TopicEventBulkRequest, TopicEventBulkResponse, TopicEventBulkResponseEntry,
};
use http::{HeaderMap, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use sidegate::app_channel::{AppChannel, AppProtocol};
use sidegate::blocks::subscriptions::{Message, Outcome, to_app};
use sidegate::testing::fake_app::FakeApp;

use super::grpc_app::{Call, GrpcApp, Reply, reply};
use super::{Files, Running, in_memory, message};
use crate::app_channel::config;

const NEW: &str = "/dapr.proto.runtime.v1.AppCallback/OnBulkTopicEvent";
const OLD: &str = "/dapr.proto.runtime.v1.AppCallbackAlpha/OnBulkTopicEventAlpha1";

fn messages(count: usize) -> Vec<Message> {
    let event = |id| format!(r#"{{"id":"{id}","data":{id},"datacontenttype":"application/json"}}"#);
    let messages = (0..count).map(|id| message(&event(id), &HeaderMap::new()));
    messages.collect()
}

fn words(outcomes: &[Outcome]) -> Vec<&'static str> {
    let word = |outcome: &Outcome| match outcome {
        Outcome::Success => "success",
        Outcome::Retry(_) => "retry",
        Outcome::Drop(_) => "drop",
    };
    outcomes.iter().map(word).collect()
}

async fn http_app(
    status: u16,
    answer: impl Fn(&Value) -> String + Send + Sync + 'static,
) -> FakeApp {
    FakeApp::answering(move |request| {
        let envelope = serde_json::from_slice(&request.body).unwrap();
        let mut response = Response::new(Full::new(Bytes::from(answer(&envelope))));
        *response.status_mut() = status.try_into().unwrap();
        response
    })
    .await
}

fn road(app: &FakeApp) -> AppChannel {
    AppChannel::new(config(AppProtocol::Http, app.address())).unwrap()
}

#[tokio::test]
async fn an_http_app_says_what_it_thinks_of_each() {
    let app = http_app(200, |envelope| {
        let id = |at: usize| &envelope["entries"][at]["entryId"];
        json!({"statuses": [
            {"entryId": id(0), "status": "SUCCESS"},
            {"entryId": id(1), "status": "RETRY"},
            {"entryId": id(2), "status": "DROP"},
            {"entryId": id(3), "status": ""},
        ]})
        .to_string()
    })
    .await;
    let outcomes = to_app(road(&app)).deliver_all(&messages(5)).await;
    assert_eq!(
        words(&outcomes),
        ["success", "retry", "drop", "retry", "retry"]
    );
    let request = &app.recorded()[0];
    assert_eq!(request.uri, "/orders");
    assert_eq!(request.header("content-type"), ["application/json"]);
    assert_eq!(request.header("pubsubName"), ["p"]);
    let envelope: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(envelope["type"], "com.dapr.event.sent.bulk");
    assert_eq!(envelope["entries"][1]["event"]["data"], 1);
    let ids = envelope["entries"].as_array().unwrap().iter();
    let ids: BTreeSet<_> = ids
        .map(|entry| entry["entryId"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 5);
}

#[tokio::test]
async fn one_answer_of_an_http_app_may_be_for_all() {
    for (status, body, expected) in [
        (200, "", "retry"),
        (200, "fine", "retry"),
        (200, "{}", "retry"),
        (404, "", "drop"),
        (500, r#"{"statuses":[]}"#, "retry"),
        (302, "", "retry"),
    ] {
        let app = http_app(status, move |_| body.to_owned()).await;
        let outcomes = to_app(road(&app)).deliver_all(&messages(2)).await;
        assert_eq!(words(&outcomes), [expected; 2], "{status} {body}");
    }
}

/// Takes the first message, drops the second and says nothing of the others.
fn judge(call: &Call) -> Reply {
    let request: TopicEventBulkRequest = call.message();
    let statuses = request.entries.iter().take(2).zip([0, 2]);
    let statuses = statuses.map(|(entry, status)| TopicEventBulkResponseEntry {
        entry_id: entry.entry_id.clone(),
        status,
    });
    let statuses = statuses.collect();
    reply(&TopicEventBulkResponse { statuses })
}

#[tokio::test]
async fn a_grpc_app_says_what_it_thinks_of_each() {
    let app = GrpcApp::answering(judge).await;
    let outcomes = to_app(app.channel()).deliver_all(&messages(3)).await;
    assert_eq!(words(&outcomes), ["success", "drop", "retry"]);
    let calls = app.calls();
    assert_eq!(calls[0].path, NEW);
    let request: TopicEventBulkRequest = calls[0].message();
    assert_eq!(request.path, "orders");
    assert_eq!(
        (request.topic.as_str(), request.pubsub_name.as_str()),
        ("t", "p")
    );
    assert_eq!(request.r#type, "com.dapr.event.sent.bulk");
    let Some(Event::CloudEvent(event)) = &request.entries[1].event else {
        panic!("it is an event");
    };
    assert_eq!(
        (event.id.as_str(), event.data.as_slice()),
        ("1", b"1".as_slice())
    );
}

#[tokio::test]
async fn an_older_grpc_app_is_called_by_its_older_method() {
    let older = |call: &Call| {
        if call.path == OLD {
            judge(call)
        } else {
            Err(12)
        }
    };
    let app = GrpcApp::answering(older).await;
    let subscriber = to_app(app.channel());
    for _ in 0..2 {
        let outcomes = subscriber.deliver_all(&messages(2)).await;
        assert_eq!(words(&outcomes), ["success", "drop"]);
    }
    let paths: Vec<_> = app.calls().into_iter().map(|call| call.path).collect();
    assert_eq!(paths, [NEW, OLD, OLD]);

    for (code, expected) in [(12, "drop"), (14, "retry")] {
        let app = GrpcApp::answering(move |_| Err(code)).await;
        let outcomes = to_app(app.channel()).deliver_all(&messages(2)).await;
        assert_eq!(words(&outcomes), [expected; 2], "{code}");
    }
}

#[tokio::test]
async fn a_subscription_in_bulk_settles_each_message_by_itself() {
    // Each message is wanted again at its first time.
    let seen = std::sync::Mutex::new(BTreeSet::new());
    let app = http_app(200, move |envelope| {
        let entries = envelope["entries"].as_array().unwrap().iter();
        let statuses = entries.map(|entry| {
            let id = entry["event"]["id"].to_string();
            let is_new = seen.lock().unwrap().insert(id);
            let status = if is_new { "RETRY" } else { "SUCCESS" };
            json!({"entryId": entry["entryId"], "status": status})
        });
        json!({"statuses": statuses.collect::<Vec<_>>()}).to_string()
    })
    .await;
    let files = Files::new();
    files.write("p.yaml", &in_memory("p")).write(
        "s.yaml",
        "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata: {name: s}\nspec:\n  \
         {pubsubname: p, topic: t, routes: {rules: [{match: event.data == 'a', path: /a}], \
         default: /b},\n  bulkSubscribe: {enabled: true, maxMessagesCount: 10, \
         maxAwaitDurationMs: 20}}\n",
    );
    let running = Running::start(&files, Some(road(&app))).await;
    running.subscribed(&["t"]).await;
    sidegate::testing::eventually::eventually("both came twice", async || {
        let count = |path: &str, id: &str| {
            let requests = app.recorded().into_iter();
            let here = requests.filter(|request| request.uri.path() == path);
            here.filter(|request| {
                let envelope: Value = serde_json::from_slice(&request.body).unwrap();
                let entries = envelope["entries"].as_array().unwrap();
                entries.iter().any(|entry| entry["event"]["id"] == id)
            })
            .count()
        };
        if app.recorded().is_empty() {
            running.publish("t", &["a", "b"]).await.unwrap();
        }
        (count("/a", "a") >= 2 && count("/b", "b") >= 2).then_some(())
    })
    .await;
}
