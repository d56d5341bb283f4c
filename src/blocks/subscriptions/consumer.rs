//! What becomes of the messages of one subscription.
//!
//! ```text
//! delivery → event → route → subscriber → settle
//! ```

use std::sync::Arc;

use async_trait::async_trait;
use tracing::{debug, warn};

use super::{Message, Outcome, Subscriber};
use crate::blocks::cloud_event::{Event, Received};
use crate::blocks::intake::Handler;
use crate::components::message::{Delivery, Settlement};
use crate::registry::messaging::LoadedPubSub;
use crate::resources::subscription::Spec;

/// Deals with the messages of one subscription.
pub(super) struct Consumer {
    pubsub: Arc<LoadedPubSub>,
    spec: Arc<Spec>,
    subscriber: Arc<dyn Subscriber>,
}

impl Consumer {
    /// Takes messages of this component to this subscriber, as the subscription says.
    pub(super) fn new(
        pubsub: Arc<LoadedPubSub>,
        spec: Arc<Spec>,
        subscriber: Arc<dyn Subscriber>,
    ) -> Self {
        Self {
            pubsub,
            spec,
            subscriber,
        }
    }

    async fn deliver(&self, delivery: &Delivery) -> Settlement {
        let prefix = self.pubsub.topic_prefix.as_str();
        let topic = delivery.topic.strip_prefix(prefix);
        let topic = topic.unwrap_or(&delivery.topic);
        let event = Event::decode(&Received {
            data: &delivery.data,
            content_type: delivery.content_type.as_deref(),
            metadata: &delivery.metadata,
            pubsub: &self.pubsub.name,
            topic,
            is_raw: false,
        });
        let event = match event {
            Ok(event) => event,
            Err(error) => return Settlement::Failed(error.to_string()),
        };
        let Some(path) = self.spec.routes.default.clone() else {
            debug!(topic, "No route matches a message; it is dropped");
            return Settlement::Done(None);
        };
        let message = Message {
            event,
            metadata: delivery.metadata.clone(),
            path,
            pubsub: self.pubsub.name.clone(),
            topic: topic.to_owned(),
        };
        match self.subscriber.deliver(&message).await {
            Outcome::Success => Settlement::Done(None),
            Outcome::Drop(reason) => {
                warn!(topic, reason, "A message is dropped");
                Settlement::Done(None)
            }
            Outcome::Retry(reason) => Settlement::Failed(reason),
        }
    }
}

#[async_trait]
impl Handler for Consumer {
    async fn handle(&self, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            let settlement = self.deliver(&delivery).await;
            if let Err(error) = delivery.acknowledge.settle(settlement).await {
                warn!(topic = delivery.topic, %error, "A message could not be settled");
            }
        }
    }
}
