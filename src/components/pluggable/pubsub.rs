//! Pub/sub of a pluggable component.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tonic::Code;

use super::connection::{Connection, Failure};
use super::pull::{Message, Protocol, Pull};
use crate::components::BackendError;
use crate::components::message::{Intake, Settlement};
use crate::components::pubsub::{Feature, Interest, Outgoing, PubSub};
use crate::proto::components::common::{AckError, FeaturesResponse};
use crate::proto::components::pubsub::{
    BulkMessageEntry, BulkPublishRequest, BulkPublishResponse, PublishRequest, PullMessagesRequest,
    PullMessagesResponse, Topic,
};

/// The broker behind a component.
pub(super) struct PluggablePubSub {
    connection: Arc<Connection>,
    features: Vec<Feature>,
    /// How many messages of one subscription are dealt with at once.
    concurrency: usize,
    /// Components of older SDKs take single messages only.
    lacks_bulk: AtomicBool,
}

impl PluggablePubSub {
    /// Asks a component that was started what it can do.
    pub(super) async fn start(connection: Connection, concurrency: usize) -> Result<Self, Failure> {
        let answer: FeaturesResponse = connection.call("Features", ()).await?;
        let features = [Feature::MessageTtl, Feature::SubscribeWildcards];
        let has = |feature: &Feature| answer.features.iter().any(|name| name == feature.as_str());
        Ok(Self {
            connection: Arc::new(connection),
            features: features.into_iter().filter(has).collect(),
            concurrency,
            lacks_bulk: AtomicBool::new(false),
        })
    }

    fn name(&self) -> String {
        self.connection.target.component.clone()
    }

    /// Publishes several in one call; `None` where the component has no such call.
    async fn publish_bulk(
        &self,
        topic: &str,
        messages: &[Outgoing],
    ) -> Option<Vec<Result<(), BackendError>>> {
        let entries = messages.iter().enumerate();
        let request = BulkPublishRequest {
            entries: entries.map(|(at, message)| entry(at, message)).collect(),
            pubsub_name: self.name(),
            topic: topic.to_owned(),
            ..BulkPublishRequest::default()
        };
        let answer: Result<BulkPublishResponse, _> =
            self.connection.call("BulkPublish", request).await;
        let failed = match answer {
            Ok(answer) => answer.failed_entries,
            Err(Failure::Status {
                code: Code::Unimplemented,
                ..
            }) => return None,
            Err(failure) => {
                let error = BackendError::from(failure);
                return Some(vec![Err(error); messages.len()]);
            }
        };
        let mut outcomes = vec![Ok(()); messages.len()];
        for entry in failed {
            let text = self.connection.target.clean(&entry.error);
            let at = entry.entry_id.parse::<usize>().ok();
            match at.and_then(|at| outcomes.get_mut(at)) {
                Some(outcome) => *outcome = Err(BackendError::Unavailable(text)),
                None => {
                    // Which one failed is not known, so none is taken for published.
                    let text = "the component says that a message failed which is none of these";
                    let error = BackendError::Unavailable(text.to_owned());
                    return Some(vec![Err(error); messages.len()]);
                }
            }
        }
        Some(outcomes)
    }
}

fn entry(at: usize, message: &Outgoing) -> BulkMessageEntry {
    BulkMessageEntry {
        entry_id: at.to_string(),
        event: message.data.clone(),
        content_type: message.content_type.clone().unwrap_or_default(),
        metadata: message.metadata.clone(),
    }
}

#[async_trait]
impl PubSub for PluggablePubSub {
    fn features(&self) -> &[Feature] {
        &self.features
    }

    async fn publish(&self, topic: &str, message: Outgoing) -> Result<(), BackendError> {
        let request = PublishRequest {
            data: message.data,
            pubsub_name: self.name(),
            topic: topic.to_owned(),
            metadata: message.metadata,
            content_type: message.content_type.unwrap_or_default(),
        };
        let published: Result<(), _> = self.connection.call("Publish", request).await;
        Ok(published?)
    }

    async fn publish_all(
        &self,
        topic: &str,
        messages: Vec<Outgoing>,
    ) -> Vec<Result<(), BackendError>> {
        if !self.lacks_bulk.load(Ordering::Relaxed) {
            if let Some(outcomes) = self.publish_bulk(topic, &messages).await {
                return outcomes;
            }
            self.lacks_bulk.store(true, Ordering::Relaxed);
        }
        let mut outcomes = Vec::with_capacity(messages.len());
        for message in messages {
            outcomes.push(self.publish(topic, message).await);
        }
        outcomes
    }

    async fn subscribe(&self, interest: &Interest) -> Result<Box<dyn Intake>, BackendError> {
        let topic = interest.topic.clone();
        let first = PullMessagesRequest {
            topic: Some(Topic {
                name: topic.clone(),
                metadata: interest.metadata.clone(),
            }),
            ..PullMessagesRequest::default()
        };
        Pull::<Messages>::open(&self.connection, topic, Some(first), self.concurrency).await
    }
}

/// Messages of topics.
struct Messages;

impl Protocol for Messages {
    type Reply = PullMessagesRequest;
    type Event = PullMessagesResponse;
    const METHOD: &'static str = "PullMessages";

    fn read(event: PullMessagesResponse) -> (String, Message) {
        let message = Message {
            topic: event.topic_name,
            data: event.data,
            content_type: event.content_type,
            metadata: event.metadata,
        };
        (event.id, message)
    }

    fn reply(id: String, settlement: Settlement) -> PullMessagesRequest {
        PullMessagesRequest {
            topic: None,
            ack_message_id: id,
            ack_error: match settlement {
                Settlement::Done(_) => None,
                Settlement::Failed(message) => Some(AckError { message }),
            },
        }
    }
}
