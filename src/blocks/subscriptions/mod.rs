//! Subscriptions: messages on their way to the app.
//!
//! ```text
//! manifests + app's own list + streams → supervisor → one consumer each
//! consumer: intake → event → route → subscriber (app over HTTP or gRPC, or a stream) → settle
//! ```

mod answers;
mod bulk;
mod consumer;
mod dead_letters;
mod grpc;
mod headers;
mod http;
mod meters;
mod programmatic;
mod routing;
mod running;
pub mod streaming;
pub mod supervisor;
mod together;
mod trace;
mod verdicts;
mod wanted;

use std::sync::Arc;

use ::http::HeaderMap;
use async_trait::async_trait;

use super::cloud_event::Event;
use crate::app_channel::AppChannel;
use crate::components::message::Metadata;
use grpc::GrpcSubscriber;
use http::HttpSubscriber;

/// One message for a subscriber.
#[derive(Clone, Debug)]
pub struct Message {
    /// The message.
    pub event: Event,
    /// What the broker and the publisher say of it.
    pub metadata: Metadata,
    /// The path of the app that its route names.
    pub path: String,
    /// Its component of pub/sub.
    pub pubsub: String,
    /// Its topic, without the prefix of its component.
    pub topic: String,
    /// Where in a trace its delivery stands, as headers.
    pub trace: HeaderMap,
}

/// What a subscriber says of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took it.
    Success,
    /// It wants it again, and why.
    Retry(String),
    /// It never wants it, and why.
    Drop(String),
}

/// Who gets messages: the app over HTTP or gRPC, or a stream that the app opened.
#[async_trait]
pub trait Subscriber: Send + Sync {
    /// Delivers one message.
    async fn deliver(&self, message: &Message) -> Outcome;

    /// Is told when the broker begins to hand out messages for it, each time anew.
    fn subscribed(&self) {}

    /// Delivers messages of one path together; one outcome each, in their order.
    async fn deliver_all(&self, messages: &[Message]) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(messages.len());
        for message in messages {
            outcomes.push(self.deliver(message).await);
        }
        outcomes
    }
}

/// The app at the other end of this road, by what it speaks.
pub fn to_app(channel: AppChannel) -> Arc<dyn Subscriber> {
    if channel.config().protocol.is_grpc() {
        Arc::new(GrpcSubscriber::new(channel))
    } else {
        Arc::new(HttpSubscriber::new(channel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::cloud_event::Received;

    /// A message with this envelope, of topic `t` of the component `pubsub`.
    pub(super) fn message(envelope: &str) -> Message {
        let (data, metadata) = (envelope.to_owned().into(), Metadata::new());
        let event = Event::decode(&Received {
            data: &data,
            content_type: None,
            metadata: &metadata,
            pubsub: "pubsub",
            topic: "t",
            is_raw: false,
        });
        Message {
            event: event.unwrap(),
            metadata,
            path: "orders".to_owned(),
            pubsub: "pubsub".to_owned(),
            topic: "t".to_owned(),
            trace: HeaderMap::new(),
        }
    }
}
