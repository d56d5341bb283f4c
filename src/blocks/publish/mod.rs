//! Publishing messages.
//!
//! ```text
//! target → component, scopes → options (TTL, raw) → envelope → resiliency → broker
//! ```
//! Invariant: a message that was answered with success is at the broker.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use tracing::error;

use super::cloud_event::{Publication, content_type};
use super::error::{Error, Reason};
use super::verdict;
use crate::components::BackendError;
use crate::components::message::Metadata;
use crate::components::pubsub::{Feature, Outgoing};
use crate::process::log_rate::LogRate;
use crate::registry::Registry;
use crate::registry::messaging::LoadedPubSub;
use crate::resiliency::{ComponentType, Direction, Policy};
use bulk::Batch;
use meters::{Kind, Meters};
use options::Options;

mod bulk;
mod meters;
mod options;

pub use super::cloud_event::Trace;
pub use bulk::{Entry, FailedEntry};

/// Where messages go, and what their call says of them.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The component.
    pub pubsub: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// What is said of the messages.
    pub metadata: &'a Metadata,
    /// Where in a trace the call stands.
    pub trace: &'a Trace,
}

impl Target<'_> {
    fn error(&self, reason: Reason, text: impl Into<String>) -> Error {
        Error::new(reason, text).about_topic(self.pubsub, self.topic)
    }

    /// The failure of one message, or of all of them.
    fn failed(&self, why: &str) -> Error {
        let Self { topic, pubsub, .. } = self;
        let text = format!("error when publishing to topic {topic} in pubsub {pubsub}: {why}");
        self.error(Reason::PublishFailed, text)
    }
}

/// The data of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The data.
    pub data: Bytes,
    /// Its type; may be empty.
    pub content_type: String,
}

/// Publishes messages of the app.
pub struct Publish {
    registry: Arc<Registry>,
    app_id: String,
    meters: Meters,
    failures: LogRate,
}

/// A component that was found, and that lets the app publish to the topic.
struct Destination {
    loaded: Arc<LoadedPubSub>,
    policy: Policy,
    /// The topic as the broker knows it.
    topic: String,
}

impl Publish {
    /// Publishes through the components of a registry. `namespace`, a label of the metrics, may be
    /// empty.
    pub fn new(registry: Arc<Registry>, app_id: &str, namespace: &str) -> Self {
        Self {
            registry,
            app_id: app_id.to_owned(),
            meters: Meters::new(namespace),
            failures: LogRate::default(),
        }
    }

    /// Publishes a message. The reasons, in the order in which they are checked:
    /// `PubSubNameEmpty`, `TopicNameEmpty`, `PubSubNotFound`, `TopicForbidden`,
    /// `PublishMetadataInvalid`, `CloudEventInvalid`, `PublishFailed`.
    pub async fn one(&self, target: &Target<'_>, message: Message) -> Result<(), Error> {
        let destination = self.destination(target)?;
        let metadata = target.metadata.clone();
        let outgoing = self.outgoing(target, &destination, message, metadata)?;
        let begin = Instant::now();
        let broker = &destination.loaded.component.broker;
        let publish = |_| broker.publish(&destination.topic, outgoing.clone());
        let answer = destination.policy.run(publish, verdict::of_backend).await;
        let meters = self.meters.of(target.pubsub, target.topic);
        meters.count(Kind::Single, matches!(answer, Ok(Ok(()))), begin.elapsed());
        match answer {
            Ok(Ok(())) => Ok(()),
            Ok(Err(cause)) => {
                self.tell(target, &cause);
                Err(target.failed(explained(&cause)))
            }
            Err(stopped) => {
                self.tell(target, &stopped);
                Err(target.failed(&stopped.to_string()))
            }
        }
    }

    /// Publishes several messages, and says which of them failed. Nothing is published where the
    /// whole is refused: the reasons are those of [`Publish::one`] but `PublishFailed`, and
    /// `BulkUnreadable` where the ids of the entries are empty or not unique.
    pub async fn many(
        &self,
        target: &Target<'_>,
        entries: Vec<Entry>,
    ) -> Result<Vec<FailedEntry>, Error> {
        let destination = self.destination(target)?;
        bulk::check_ids(target, &entries)?;
        let mut ids = Vec::with_capacity(entries.len());
        let mut messages = Vec::with_capacity(entries.len());
        for entry in entries {
            let mut metadata = target.metadata.clone();
            metadata.extend(entry.metadata);
            messages.push(self.outgoing(target, &destination, entry.message, metadata)?);
            ids.push(entry.id);
        }
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let begin = Instant::now();
        let batch = Batch::new(messages);
        let broker = destination.loaded.component.broker.as_ref();
        let publish = |_| Box::pin(batch.publish(broker, &destination.topic));
        let stopped = destination.policy.run(publish, Batch::judge).await.err();
        let failed = batch.failures(stopped, |cause| self.tell(target, cause));
        let meters = self.meters.of(target.pubsub, target.topic);
        meters.count(Kind::Bulk, failed.is_empty(), begin.elapsed());
        meters.count_events(ids.len() - failed.len(), failed.len());
        let failed = failed.into_iter().filter_map(|(place, why)| {
            let entry_id = ids.get(place)?.clone();
            let error = target.failed(&why).message().to_owned();
            Some(FailedEntry { entry_id, error })
        });
        Ok(failed.collect())
    }

    /// The component of a target, once all that is known before the data is read was checked.
    fn destination(&self, target: &Target<'_>) -> Result<Destination, Error> {
        let Target { pubsub, topic, .. } = target;
        without_name(pubsub, topic)?;
        let snapshot = self.registry.peek();
        let loaded = snapshot.pubsubs.get(*pubsub);
        let loaded = loaded.ok_or_else(|| not_found(pubsub))?;
        if !loaded
            .component
            .scopes
            .permits_publishing(&self.app_id, topic)
        {
            let text = format!("topic {topic} is not allowed for app id {}", self.app_id);
            return Err(target.error(Reason::TopicForbidden, text));
        }
        let (kind, direction) = (ComponentType::Pubsub, Direction::Outbound);
        Ok(Destination {
            topic: loaded.broker_topic(topic),
            policy: snapshot.resiliency.component(pubsub, kind, direction),
            loaded: Arc::clone(loaded),
        })
    }

    /// A message as it goes to the broker.
    fn outgoing(
        &self,
        target: &Target<'_>,
        destination: &Destination,
        message: Message,
        metadata: Metadata,
    ) -> Result<Outgoing, Error> {
        let options = Options::read(&metadata)
            .map_err(|error| target.error(Reason::PublishMetadataInvalid, error.to_string()))?;
        if options.is_raw {
            let content_type = message.content_type;
            return Ok(Outgoing {
                data: message.data,
                content_type: (!content_type.is_empty()).then_some(content_type),
                metadata,
            });
        }
        let now = SystemTime::now();
        let features = destination.loaded.component.broker.features();
        let ttl = options
            .ttl
            .filter(|_| !features.contains(&Feature::MessageTtl));
        let publication = Publication {
            data: &message.data,
            content_type: &message.content_type,
            pubsub: target.pubsub,
            topic: target.topic,
            app_id: &self.app_id,
            metadata: &metadata,
            trace: target.trace,
            expiration: ttl.and_then(|ttl| now.checked_add(ttl)),
        };
        let data = publication.to_envelope(now).map_err(|error| {
            let text = format!("cannot create cloudevent: {error}");
            target.error(Reason::CloudEventInvalid, text)
        })?;
        Ok(Outgoing {
            data,
            content_type: Some(content_type::CLOUD_EVENT.to_owned()),
            metadata,
        })
    }

    /// A caller must not be able to fill the log.
    fn tell(&self, target: &Target<'_>, cause: &dyn std::error::Error) {
        if let Some(left_out) = self.failures.pass() {
            let Target { pubsub, topic, .. } = target;
            error!(pubsub, topic, error = %cause, left_out, "A message was not published");
        }
    }
}

/// Refuses names that are empty.
pub(super) fn without_name(pubsub: &str, topic: &str) -> Result<(), Error> {
    let error = if pubsub.is_empty() {
        Error::new(Reason::PubSubNameEmpty, "pubsub name is empty")
    } else if topic.is_empty() {
        let text = format!("topic is empty in pubsub {pubsub}");
        Error::new(Reason::TopicNameEmpty, text)
    } else {
        return Ok(());
    };
    Err(error.about_topic(pubsub, topic))
}

/// There is no such component.
pub(super) fn not_found(pubsub: &str) -> Error {
    let text = format!("pubsub {pubsub} is not found");
    Error::new(Reason::PubSubNotFound, text).about_topic(pubsub, "")
}

/// What a try says of its broker. A message that it refused is no failure of it: callers could
/// open its circuit breaker for each other.
/// What a client is told of a broker's failure; its own words are for the log.
fn explained(cause: &BackendError) -> &'static str {
    match cause {
        BackendError::Refused(_) => "the broker refused the message",
        BackendError::Unavailable(_) => "the broker cannot be reached, or is busy",
    }
}

#[cfg(test)]
mod tests;
