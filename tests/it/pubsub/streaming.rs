//! Subscriptions as streams, over real gRPC.

use std::collections::HashMap;

use dapr::dapr::proto::runtime::v1 as proto;
use proto::subscribe_topic_events_request_alpha1::SubscribeTopicEventsRequestType as Said;
use proto::subscribe_topic_events_response_alpha1::SubscribeTopicEventsResponseType as Told;
use proto::topic_event_response::TopicEventResponseStatus as Processed;
use proto::{
    SubscribeTopicEventsRequestAlpha1, SubscribeTopicEventsRequestInitialAlpha1,
    SubscribeTopicEventsRequestProcessedAlpha1, SubscribeTopicEventsResponseAlpha1,
    TopicEventRequest, TopicEventResponse,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming};

use super::whole::{Whole, json_of};

/// A stream that is open.
struct Stream {
    answers: mpsc::Sender<SubscribeTopicEventsRequestAlpha1>,
    events: Streaming<SubscribeTopicEventsResponseAlpha1>,
}

fn initial(pubsub: &str, topic: &str) -> SubscribeTopicEventsRequestInitialAlpha1 {
    SubscribeTopicEventsRequestInitialAlpha1 {
        pubsub_name: pubsub.to_owned(),
        topic: topic.to_owned(),
        metadata: HashMap::new(),
        dead_letter_topic: None,
    }
}

fn processed(id: &str, status: Processed) -> Said {
    Said::EventProcessed(SubscribeTopicEventsRequestProcessedAlpha1 {
        id: id.to_owned(),
        status: Some(TopicEventResponse {
            status: status as i32,
        }),
    })
}

fn said(message: Said) -> SubscribeTopicEventsRequestAlpha1 {
    SubscribeTopicEventsRequestAlpha1 {
        subscribe_topic_events_request_type: Some(message),
    }
}

impl Stream {
    /// Opens a stream whose first message this is.
    async fn begin(whole: &Whole, first: Said, token: Option<&str>) -> Result<Self, Status> {
        let (answers, sent) = mpsc::channel(16);
        answers.send(said(first)).await.unwrap();
        let mut request = Request::new(ReceiverStream::new(sent));
        if let Some(token) = token {
            let token = token.parse().unwrap();
            request.metadata_mut().insert("dapr-api-token", token);
        }
        let mut client = whole.client().await;
        let answer = client.subscribe_topic_events_alpha1(request).await?;
        Ok(Self {
            events: answer.into_inner(),
            answers,
        })
    }

    /// Subscribes to a topic of `p`.
    async fn open(whole: &Whole, topic: &str) -> Self {
        Self::with(whole, initial("p", topic)).await
    }

    async fn with(whole: &Whole, first: SubscribeTopicEventsRequestInitialAlpha1) -> Self {
        let stream = Self::begin(whole, Said::InitialRequest(first), None).await;
        let mut stream = stream.unwrap();
        let Told::InitialResponse(_) = stream.next().await.unwrap() else {
            panic!("an event before the initial response")
        };
        stream
    }

    async fn next(&mut self) -> Result<Told, Status> {
        let message = self.events.message().await?;
        let message = message.expect("the stream goes on");
        Ok(message.subscribe_topic_events_response_type.unwrap())
    }

    async fn event(&mut self) -> TopicEventRequest {
        match self.next().await.unwrap() {
            Told::EventMessage(event) => event,
            Told::InitialResponse(_) => panic!("a second initial response"),
        }
    }

    async fn answer(&self, id: &str, status: Processed) {
        let answer = said(processed(id, status));
        self.answers.send(answer).await.unwrap();
    }
}

async fn publish(whole: &Whole, topic: &str, id: &str) {
    let uri = format!("/v1.0/publish/p/{topic}?metadata.cloudevent.id={id}");
    let answer = whole.post(&uri, "application/json", "{\"n\": 1.0}").await;
    assert_eq!(answer.status(), 204, "{:?}", answer.body());
}

#[tokio::test]
async fn a_message_is_there_as_soon_as_the_stream_is() {
    let whole = Whole::start_with(&json!([]), &[]).await;
    let mut stream = Stream::open(&whole, "s").await;
    publish(&whole, "s", "1").await;
    let event = stream.event().await;
    assert_eq!(
        (
            event.id.as_str(),
            event.source.as_str(),
            event.topic.as_str()
        ),
        ("1", "app", "s")
    );
    assert_eq!(
        (event.data.as_slice(), event.path.as_str()),
        (&b"{\"n\": 1.0}"[..], "")
    );
    assert_eq!(event.data_content_type, "application/json");
    assert!(event.extensions.unwrap().fields.contains_key("time"));
    stream.answer("1", Processed::Success).await;
}

#[tokio::test]
async fn success_and_drop_end_a_message_and_retry_brings_it_again() {
    let whole = Whole::start_with(&json!([]), &[]).await;
    let mut dead = Stream::open(&whole, "dead").await;
    let mut stream = Stream::with(
        &whole,
        SubscribeTopicEventsRequestInitialAlpha1 {
            dead_letter_topic: Some("dead".to_owned()),
            ..initial("p", "s")
        },
    )
    .await;
    publish(&whole, "s", "good").await;
    assert_eq!(stream.event().await.id, "good");
    // Answers to what nobody asked are left alone.
    stream.answer("unknown", Processed::Drop).await;
    stream.answer("good", Processed::Success).await;
    stream.answer("good", Processed::Drop).await;
    publish(&whole, "s", "bad").await;
    assert_eq!(stream.event().await.id, "bad");
    stream.answer("bad", Processed::Drop).await;
    let letter = dead.event().await;
    assert_eq!((letter.id.as_str(), letter.topic.as_str()), ("bad", "dead"));
    dead.answer("bad", Processed::Retry).await;
    assert_eq!(dead.event().await.id, "bad");
    dead.answer("bad", Processed::Success).await;
    publish(&whole, "dead", "last").await;
    assert_eq!(dead.event().await.id, "last");
}

#[tokio::test]
async fn what_a_stream_did_not_answer_goes_to_the_next() {
    let whole = Whole::start_with(&json!([]), &[]).await;
    let mut stream = Stream::open(&whole, "s").await;
    publish(&whole, "s", "1").await;
    publish(&whole, "s", "2").await;
    let (one, two) = (stream.event().await.id, stream.event().await.id);
    stream.answer(&one, Processed::Success).await;
    // Read before the stream ends: an answer and the end may otherwise arrive as one.
    publish(&whole, "s", "3").await;
    assert_eq!(stream.event().await.id, "3");
    drop(stream);
    let mut next = Stream::open(&whole, "s").await;
    let mut again = [next.event().await.id, next.event().await.id];
    again.sort();
    assert_eq!(again, [two, "3".to_owned()]);
}

#[tokio::test]
async fn a_first_message_that_is_none_is_refused() {
    let whole = Whole::start_with(&json!([]), &[]).await;
    for (first, code) in [
        (processed("1", Processed::Success), Code::InvalidArgument),
        (
            Said::InitialRequest(initial("", "t")),
            Code::InvalidArgument,
        ),
        (
            Said::InitialRequest(initial("p", "")),
            Code::InvalidArgument,
        ),
        (
            Said::InitialRequest(initial("x", "t")),
            Code::InvalidArgument,
        ),
        (
            Said::InitialRequest(initial("scoped", "own")),
            Code::PermissionDenied,
        ),
    ] {
        let status = Stream::begin(&whole, first, None).await.err().unwrap();
        assert_eq!(status.code(), code, "{status}");
    }
    let mut stream = Stream::open(&whole, "s").await;
    let second = said(Said::InitialRequest(initial("p", "s")));
    stream.answers.send(second).await.unwrap();
    let status = stream.next().await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_stream_needs_the_token() {
    let token = [("DAPR_API_TOKEN", "t0ken")];
    let whole = Whole::start_with(&json!([]), &token).await;
    let first = || Said::InitialRequest(initial("p", "s"));
    for token in [None, Some("other")] {
        let status = Stream::begin(&whole, first(), token).await.err().unwrap();
        assert_eq!(status.code(), Code::Unauthenticated);
    }
    let mut stream = Stream::begin(&whole, first(), Some("t0ken")).await.unwrap();
    assert!(matches!(stream.next().await, Ok(Told::InitialResponse(_))));
}

#[tokio::test]
async fn messages_that_a_full_broker_does_not_take_are_named() {
    let whole = Whole::start_with(&json!([]), &[]).await;
    let _silent = Stream::open(&whole, "s").await;
    let entries: Vec<_> = (0..10_020)
        .map(|id| json!({"entryId": id.to_string(), "event": "", "contentType": "text/plain"}))
        .collect();
    let body = Value::from(entries).to_string();
    let answer = whole
        .post("/v1.0/publish/bulk/p/s", "application/json", body)
        .await;
    assert_eq!(answer.status(), 500);
    let answer = json_of(&answer);
    assert_eq!(answer["errorCode"], "ERR_PUBSUB_PUBLISH_MESSAGE");
    let failed = answer["failedEntries"].as_array().unwrap();
    assert_eq!(failed.len(), 20);
    assert_eq!(
        failed[0],
        json!({
            "entryId": "10000",
            "error": "error when publishing to topic s in pubsub p: the broker cannot be \
                      reached, or is busy",
        })
    );
}
