//! Messages for an app that speaks gRPC.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use dapr::dapr::proto::runtime::v1::topic_event_response::TopicEventResponseStatus;
use dapr::dapr::proto::runtime::v1::{
    TopicEventBulkRequest, TopicEventBulkResponse, TopicEventRequest, TopicEventResponse,
};

use super::{Message, Outcome, Subscriber, bulk, headers, verdicts};
use crate::app_channel::{AppChannel, Error, Road};
use crate::blocks::cloud_event::Undecodable;
use crate::proto::grpc_answer::GrpcFailure;

/// The method for one message.
const ONE: &str = "/dapr.proto.runtime.v1.AppCallback/OnTopicEvent";
/// The method for messages together, and the one that apps for Dapr 1.17 and before have.
const TOGETHER: &str = "/dapr.proto.runtime.v1.AppCallback/OnBulkTopicEvent";
const TOGETHER_BEFORE: &str = "/dapr.proto.runtime.v1.AppCallbackAlpha/OnBulkTopicEventAlpha1";

/// The code of a method that is not there.
const UNIMPLEMENTED: i32 = 12;

/// An app that gets messages over gRPC.
pub(super) struct GrpcSubscriber {
    channel: AppChannel,
    /// Whether the app was found to have the older method for messages together.
    is_older: AtomicBool,
}

impl GrpcSubscriber {
    /// The app at the other end of this road.
    pub(super) fn new(channel: AppChannel) -> Self {
        Self {
            channel,
            is_older: AtomicBool::new(false),
        }
    }

    /// Calls the method for messages together: the one that the app was found to have, else the
    /// other.
    async fn call_together(
        &self,
        request: TopicEventBulkRequest,
    ) -> Result<Result<TopicEventBulkResponse, GrpcFailure>, Error> {
        let is_older = self.is_older.load(Ordering::Relaxed);
        let answer = self.call_method(is_older, request.clone()).await?;
        if !is_missing(&answer) {
            return Ok(answer);
        }
        let other = self.call_method(!is_older, request).await?;
        if !is_missing(&other) {
            self.is_older.store(!is_older, Ordering::Relaxed);
        }
        Ok(other)
    }

    async fn call_method(
        &self,
        is_older: bool,
        request: TopicEventBulkRequest,
    ) -> Result<Result<TopicEventBulkResponse, GrpcFailure>, Error> {
        let method = if is_older { TOGETHER_BEFORE } else { TOGETHER };
        let metadata = headers::of_component(&request.pubsub_name);
        let road = Road::BulkTopicEventGrpc;
        self.channel.callback(road, method, metadata, request).await
    }
}

#[async_trait]
impl Subscriber for GrpcSubscriber {
    async fn deliver(&self, message: &Message) -> Outcome {
        let Message {
            event,
            path,
            pubsub,
            topic,
            ..
        } = message;
        let request: TopicEventRequest = match event.to_request(path, pubsub, topic) {
            Ok(request) => request,
            Err(error) => return unreadable(event.id(), &error),
        };
        let metadata = headers::of(message);
        let answer = self
            .channel
            .callback(Road::TopicEventGrpc, ONE, metadata, request);
        match answer.await {
            Ok(Ok(TopicEventResponse { status })) => of_status(status, event.id()),
            Ok(Err(failure)) => refused(event.id(), &failure),
            Err(error) => verdicts::broken(event.id(), &error),
        }
    }

    async fn deliver_all(&self, messages: &[Message]) -> Vec<Outcome> {
        let Some(first) = messages.first() else {
            return Vec::new();
        };
        let ids = bulk::entry_ids(messages.len());
        let read = messages.iter().zip(&ids);
        let read = read.map(|(message, id)| message.event.to_bulk_entry(id, &message.metadata));
        let read: Vec<_> = read.collect();
        let entries: Vec<_> = read
            .iter()
            .filter_map(|entry| entry.as_ref().ok())
            .collect();
        if entries.is_empty() {
            let each = messages.iter().zip(&read);
            let each = each.filter_map(|(message, entry)| {
                let error = entry.as_ref().err()?;
                Some(unreadable(message.event.id(), error))
            });
            return each.collect();
        }
        let request = TopicEventBulkRequest {
            id: bulk::random_id(),
            entries: entries.into_iter().cloned().collect(),
            metadata: HashMap::new(),
            topic: first.topic.clone(),
            pubsub_name: first.pubsub.clone(),
            r#type: bulk::TYPE.to_owned(),
            path: first.path.clone(),
        };
        let answer = self.call_together(request).await;
        let statuses = statuses(&answer);
        let each = messages.iter().zip(&ids).zip(&read);
        let each = each.map(|((message, entry_id), entry)| {
            let id = message.event.id();
            match (entry, &answer) {
                (Err(error), _) => unreadable(id, error),
                (_, Err(error)) => verdicts::broken(id, error),
                (_, Ok(Err(failure))) => refused(id, failure),
                (_, Ok(Ok(_))) => match statuses.get(entry_id.as_str()) {
                    Some(status) => of_status(*status, id),
                    None => verdicts::nothing(id),
                },
            }
        });
        each.collect()
    }
}

/// The statuses that the app gave, by the ids of entries.
fn statuses(
    answer: &Result<Result<TopicEventBulkResponse, GrpcFailure>, Error>,
) -> HashMap<&str, i32> {
    let Ok(Ok(answer)) = answer else {
        return HashMap::new();
    };
    let entries = answer.statuses.iter();
    entries
        .map(|entry| (entry.entry_id.as_str(), entry.status))
        .collect()
}

fn is_missing<R>(answer: &Result<R, GrpcFailure>) -> bool {
    matches!(answer, Err(failure) if failure.code == UNIMPLEMENTED)
}

/// What a status says that an app gave of a message with this id.
fn of_status(status: i32, id: &str) -> Outcome {
    match TopicEventResponseStatus::try_from(status) {
        Ok(TopicEventResponseStatus::Success) => Outcome::Success,
        Ok(TopicEventResponseStatus::Retry) => verdicts::retry(id),
        Ok(TopicEventResponseStatus::Drop) => verdicts::drop(id),
        Err(_) => verdicts::unknown(id, &status.to_string()),
    }
}

/// What an error says that an app answered with: one without the method never takes a message.
fn refused(id: &str, failure: &GrpcFailure) -> Outcome {
    let (code, text) = (failure.code, verdicts::shown(failure.message.as_bytes()));
    if code == UNIMPLEMENTED {
        return Outcome::Drop(format!(
            "non-retriable error returned from app while processing pub/sub event {id}: {text}. \
             code returned: {code}"
        ));
    }
    Outcome::Retry(format!(
        "error returned from app while processing pub/sub event {id}: {text}. code returned: \
         {code}"
    ))
}

/// The data of an event cannot be read, at any try.
fn unreadable(id: &str, error: &Undecodable) -> Outcome {
    Outcome::Retry(format!("pub/sub event {id} cannot be sent to app: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn each_answer_means_what_it_means_to_dapr() {
        assert_eq!(of_status(0, "7"), Outcome::Success);
        assert_eq!(of_status(1, "7"), verdicts::retry("7"));
        assert_eq!(of_status(2, "7"), verdicts::drop("7"));
        assert_eq!(of_status(9, "7"), verdicts::unknown("7", "9"));
        let failure = |code| GrpcFailure {
            code,
            message: "why".to_owned(),
            details: Bytes::new(),
        };
        let gone = "non-retriable error returned from app while processing pub/sub event 7: why. \
                    code returned: 12";
        assert_eq!(refused("7", &failure(12)), Outcome::Drop(gone.to_owned()));
        for code in [1, 2, 3, 4, 5, 7, 8, 13, 14, 16] {
            let text = format!(
                "error returned from app while processing pub/sub event 7: why. code returned: \
                 {code}"
            );
            assert_eq!(refused("7", &failure(code)), Outcome::Retry(text), "{code}");
        }
    }
}
