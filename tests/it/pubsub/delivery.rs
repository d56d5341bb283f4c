//! One message on its way to an app: what the app gets, and what its answer means.

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::{TopicEventRequest, TopicEventResponse};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use sidegate::app_channel::{AppChannel, AppProtocol};
use sidegate::blocks::subscriptions::{Outcome, to_app};
use sidegate::testing::fake_app::FakeApp;

use super::grpc_app::{GrpcApp, reply};
use super::message;
use crate::app_channel::config;

const EVENT: &str = r#"{"data":{"n":1.0},"datacontenttype":"application/json","extra":"x",
    "id":"7","source":"shop","specversion":"1.0","type":"order"}"#;

fn road(app: &FakeApp) -> AppChannel {
    AppChannel::new(config(AppProtocol::Http, app.address())).unwrap()
}

fn metadata(entries: &[(&'static str, &'static str)]) -> HeaderMap {
    let entry = |(name, value): &(&'static str, &'static str)| {
        let name = HeaderName::from_static(name);
        (name, HeaderValue::from_static(value))
    };
    entries.iter().map(entry).collect()
}

#[tokio::test]
async fn an_http_app_gets_the_envelope_as_it_was_published() {
    let app = FakeApp::start().await;
    let said = metadata(&[
        ("ttlinseconds", "60"),
        ("foo", "bar"),
        ("authorization", "Bearer spoof"),
        ("dapr-caller-app-id", "spoof"),
        ("transfer-encoding", "chunked"),
        ("content-length", "3"),
        ("content-type", "text/html"),
        ("host", "spoof"),
        ("traceparent", "spoof"),
    ]);
    let mut message = message(EVENT, &said);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    message.trace = metadata(&[("traceparent", trace)]);
    message.path = "/orders/new?from=p".to_owned();
    let outcome = to_app(road(&app)).deliver(&message).await;
    assert_eq!(outcome, Outcome::Success);
    let request = &app.recorded()[0];
    assert_eq!(request.method, "POST");
    assert_eq!(request.uri, "/orders/new?from=p");
    assert_eq!(request.body, EVENT);
    let length = EVENT.len().to_string();
    let host = app.address().to_string();
    for (name, expected) in [
        ("content-type", vec!["application/cloudevents+json"]),
        ("pubsubName", vec!["p"]),
        ("foo", vec!["bar"]),
        ("ttlInSeconds", vec!["60"]),
        ("traceparent", vec![trace]),
        ("content-length", vec![length.as_str()]),
        ("host", vec![host.as_str()]),
        ("authorization", vec![]),
        ("dapr-caller-app-id", vec![]),
        ("transfer-encoding", vec![]),
    ] {
        assert_eq!(request.header(name), expected, "{name}");
    }
}

#[tokio::test]
async fn the_answers_of_an_http_app_decide() {
    let retry = |text: &str| Outcome::Retry(text.to_owned());
    let text = "status returned from app while processing pub/sub event 7";
    for (status, body, expected) in [
        (200, "", Outcome::Success),
        (204, "", Outcome::Success),
        (200, r#"{"status":"SUCCESS"}"#, Outcome::Success),
        (
            200,
            r#"{"status":"RETRY"}"#,
            retry(&format!("RETRY {text}")),
        ),
        (
            200,
            r#"{"status":"DROP"}"#,
            Outcome::Drop(format!("DROP {text}")),
        ),
        (
            200,
            r#"{"status":"X"}"#,
            retry(&format!("unknown {text}, status: X")),
        ),
        (
            404,
            "gone",
            Outcome::Drop(
                "non-retriable error returned from app while processing pub/sub event 7: gone. \
                 status code returned: 404"
                    .to_owned(),
            ),
        ),
        (
            302,
            "moved",
            retry(
                "retriable error returned from app while processing pub/sub event 7, topic: t, \
                 body: moved. status code returned: 302",
            ),
        ),
        (
            500,
            "broken",
            retry(
                "retriable error returned from app while processing pub/sub event 7, topic: t, \
                 body: broken. status code returned: 500",
            ),
        ),
    ] {
        let app = FakeApp::answering(move |_| {
            let mut answer = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
            *answer.status_mut() = status.try_into().unwrap();
            answer
        })
        .await;
        let message = message(EVENT, &HeaderMap::new());
        let outcome = to_app(road(&app)).deliver(&message).await;
        assert_eq!(outcome, expected, "{status} {body}");
        // A redirect is an answer, and not followed.
        assert_eq!(app.recorded().len(), 1);
    }
}

#[tokio::test]
async fn an_app_that_is_not_there_is_tried_again() {
    let app = FakeApp::start().await;
    let channel = road(&app);
    drop(app);
    let message = message(EVENT, &HeaderMap::new());
    let outcome = to_app(channel).deliver(&message).await;
    let Outcome::Retry(reason) = outcome else {
        panic!("it is tried again");
    };
    assert!(
        reason.starts_with("error from app channel while sending pub/sub event 7 to app: "),
        "{reason}"
    );
}

#[tokio::test]
async fn a_grpc_app_gets_the_parts_of_the_envelope() {
    let app = GrpcApp::answering(|_| reply(&TopicEventResponse::default())).await;
    let said = metadata(&[
        ("foo", "bar"),
        ("grpc-timeout", "1n"),
        ("authorization", "spoof"),
    ]);
    let outcome = to_app(app.channel()).deliver(&message(EVENT, &said)).await;
    assert_eq!(outcome, Outcome::Success);
    let calls = app.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(
        calls[0].path,
        "/dapr.proto.runtime.v1.AppCallback/OnTopicEvent"
    );
    assert_eq!(calls[0].metadata["foo"], "bar");
    assert_eq!(calls[0].metadata.get("grpc-timeout"), None);
    assert_eq!(calls[0].metadata.get("authorization"), None);
    let event: TopicEventRequest = calls[0].message();
    assert_eq!(event.id, "7");
    assert_eq!(event.source, "shop");
    assert_eq!(event.r#type, "order");
    assert_eq!(event.spec_version, "1.0");
    assert_eq!(event.data_content_type, "application/json");
    assert_eq!(event.data, br#"{"n":1.0}"#);
    assert_eq!(
        (event.topic.as_str(), event.pubsub_name.as_str()),
        ("t", "p")
    );
    assert_eq!(event.path, "orders");
    let extensions = event.extensions.unwrap().fields;
    assert_eq!(extensions.keys().collect::<Vec<_>>(), ["extra"]);
}

#[tokio::test]
async fn the_answers_of_a_grpc_app_decide() {
    for (answer, expected) in [
        (Ok(0), "Success"),
        (Ok(1), "Retry(\"RETRY status returned"),
        (Ok(2), "Drop(\"DROP status returned"),
        (Ok(7), "Retry(\"unknown status returned"),
        (Err(12), "Drop(\"non-retriable error returned"),
        (Err(2), "Retry(\"error returned"),
        (Err(14), "Retry(\"error returned"),
    ] {
        let app = GrpcApp::answering(move |_| {
            answer.and_then(|status| reply(&TopicEventResponse { status }))
        })
        .await;
        let message = message(EVENT, &HeaderMap::new());
        let outcome = to_app(app.channel()).deliver(&message).await;
        assert!(
            format!("{outcome:?}").starts_with(expected),
            "{answer:?}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn numbers_and_texts_reach_an_http_app_as_they_were_written() {
    let app = FakeApp::start().await;
    let event = r#"{"id":"7", "data":{"n":12345678901234567890123, "m":1.0}}"#;
    to_app(road(&app))
        .deliver(&message(event, &HeaderMap::new()))
        .await;
    assert_eq!(app.recorded()[0].body, event);
    let read: Value = serde_json::from_slice(&app.recorded()[0].body).unwrap();
    assert_eq!(read["id"], json!("7"));
}
