//! Brokers that deliver what is published to a topic to whoever subscribed.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::message::{Intake, Metadata};
use crate::components::BackendError;
use scopes::TopicScopes;

pub mod in_memory;
#[cfg(feature = "nats")]
pub mod jetstream;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(feature = "redis")]
pub mod redis;
pub mod scopes;

/// A message on its way to a broker.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Its data, as subscribers get it.
    pub data: Bytes,
    /// The type of the data.
    pub content_type: Option<String>,
    /// What the publisher says of it, such as `ttlInSeconds`.
    pub metadata: Metadata,
}

/// A topic that somebody wants the messages of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interest {
    /// The topic, in the broker's own spelling.
    pub topic: String,
    /// What the subscription says to the broker.
    pub metadata: Metadata,
}

/// What a broker can do beside the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// It drops messages whose `ttlInSeconds` is over by itself.
    MessageTtl,
    /// A subscription may name several topics by a pattern.
    SubscribeWildcards,
}

impl Feature {
    /// In the words of `/v1.0/metadata`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MessageTtl => "MESSAGE_TTL",
            Self::SubscribeWildcards => "SUBSCRIBE_WILDCARDS",
        }
    }
}

/// A broker.
#[async_trait]
pub trait PubSub: Send + Sync {
    /// What it can do.
    fn features(&self) -> &[Feature];

    /// Publishes one message. `Ok` says that the broker has it.
    async fn publish(&self, topic: &str, message: Outgoing) -> Result<(), BackendError>;

    /// Publishes several, in their order; what became of each.
    async fn publish_all(
        &self,
        topic: &str,
        messages: Vec<Outgoing>,
    ) -> Vec<Result<(), BackendError>> {
        let mut outcomes = Vec::with_capacity(messages.len());
        for message in messages {
            outcomes.push(self.publish(topic, message).await);
        }
        outcomes
    }

    /// Begins to take the messages of a topic.
    async fn subscribe(&self, interest: &Interest) -> Result<Box<dyn Intake>, BackendError>;
}

/// A component of pub/sub: its broker, and who may use which topic.
#[derive(Clone)]
pub struct PubSubComponent {
    /// The broker.
    pub broker: Arc<dyn PubSub>,
    /// Who may publish and subscribe to what.
    pub scopes: Arc<TopicScopes>,
}
