//! Where messages go that the app does not take.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;
use tokio::time::timeout;

use crate::blocks::cloud_event::content_type;
use crate::components::BackendError;
use crate::components::message::Metadata;
use crate::components::pubsub::Outgoing;
use crate::registry::Registry;
use crate::registry::messaging::LoadedPubSub;
use crate::resiliency::{ComponentType, Direction, Stopped, Verdict};

/// How long the broker may take for one message, with all tries (Dapr 1.18).
const TIME: Duration = Duration::from_secs(30);

/// The topic for dead letters of a subscription, at the same broker.
pub(super) struct DeadLetters {
    pubsub: Arc<LoadedPubSub>,
    topic: String,
    registry: Arc<Registry>,
    is_permitted: bool,
}

/// What is put aside.
pub(super) enum Letter {
    /// A message in its envelope, with which it keeps its id.
    Event(Bytes),
    /// What is none, as it came.
    Undecodable(Bytes, Option<String>),
}

/// A message could not be put aside. The text is for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("the scopes of the component do not let the app publish to it")]
    Forbidden,
    #[error(transparent)]
    Broker(#[from] BackendError),
    #[error("the broker did not take it in {TIME:?}")]
    TimedOut,
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl DeadLetters {
    /// A topic of this component, to which the app must be allowed to publish.
    pub(super) fn new(
        pubsub: Arc<LoadedPubSub>,
        topic: &str,
        registry: Arc<Registry>,
        app_id: &str,
    ) -> Self {
        let scopes = &pubsub.component.scopes;
        Self {
            is_permitted: scopes.permits_publishing(app_id, topic),
            topic: topic.to_owned(),
            pubsub,
            registry,
        }
    }

    /// The topic, without the prefix of its component.
    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// Puts a message aside. `Ok` says that the broker has it.
    ///
    /// Its metadata stays behind: it is of the broker and the topic that the message came from, and
    /// would steer where it goes, or for how long it is kept.
    pub(super) async fn send(&self, letter: Letter) -> Result<(), Failure> {
        if !self.is_permitted {
            return Err(Failure::Forbidden);
        }
        let (data, content_type) = match letter {
            Letter::Event(envelope) => {
                let content_type = content_type::CLOUD_EVENT.to_owned();
                (without_expiration(envelope), Some(content_type))
            }
            Letter::Undecodable(data, content_type) => (data, content_type),
        };
        let outgoing = Outgoing {
            data,
            content_type,
            metadata: Metadata::new(),
        };
        let topic = self.pubsub.broker_topic(&self.topic);
        let (name, out) = (&self.pubsub.name, Direction::Outbound);
        let resiliency = Arc::clone(&self.registry.peek().resiliency);
        let policy = resiliency.component(name, ComponentType::Pubsub, out);
        let broker = &self.pubsub.component.broker;
        let publish = |_| broker.publish(&topic, outgoing.clone());
        let judge = |answer: &Result<(), BackendError>| match answer {
            Ok(()) => Verdict::Success,
            Err(BackendError::Unavailable(_)) => Verdict::Failure(None),
            Err(BackendError::Refused(_)) => Verdict::Final,
        };
        let published = timeout(TIME, policy.run(publish, judge)).await;
        published
            .map_err(|_| Failure::TimedOut)??
            .map_err(Into::into)
    }
}

/// An envelope without the end of its life: where it has one, it has passed or will have when
/// somebody looks into the dead letters.
fn without_expiration(envelope: Bytes) -> Bytes {
    let Ok(mut fields) = serde_json::from_slice::<BTreeMap<String, &RawValue>>(&envelope) else {
        return envelope;
    };
    match fields.remove("expiration") {
        None => envelope,
        Some(_) => serde_json::to_vec(&fields).map_or(envelope.clone(), Into::into),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_keeps_its_envelope_but_does_not_expire() {
        for (envelope, expected) in [
            (r#"{"id":"1",  "data":1.0}"#, r#"{"id":"1",  "data":1.0}"#),
            (
                r#"{"id":"1","expiration":"2020-01-01T00:00:00Z","data":1.0}"#,
                r#"{"data":1.0,"id":"1"}"#,
            ),
            ("no JSON", "no JSON"),
        ] {
            let envelope = Bytes::from_static(envelope.as_bytes());
            assert_eq!(without_expiration(envelope), expected);
        }
    }
}
