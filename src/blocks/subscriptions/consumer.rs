//! What becomes of the messages of one subscription.
//!
//! ```text
//! delivery → event → route → subscriber, under the inbound policy → settle
//!                                                └── or dead letters ──┘
//! ```
//! Invariant: a message is acknowledged only where its subscriber took it, where nobody wants it,
//! or where the broker has it as a dead letter. A task that is dropped or panics settles nothing,
//! and the broker hands the message out again.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use async_trait::async_trait;
use tracing::{debug, warn};

use super::dead_letters::{DeadLetters, Letter};
use super::meters::{Label, Meters};
use super::routing::{Router, RoutesError};
use super::{Message, Outcome, Subscriber, trace};
use crate::base::truthy::is_truthy;
use crate::blocks::cloud_event::{Event, Received};
use crate::blocks::intake::Handler;
use crate::components::message::{Acknowledge, Delivery, Settlement};
use crate::process::log_rate::LogRate;
use crate::process::trace::Tracer;
use crate::registry::Registry;
use crate::registry::messaging::LoadedPubSub;
use crate::resiliency::{ComponentType, Direction, Policy, Verdict};
use crate::resources::subscription::Spec;

/// The metadata of a subscription whose messages have no envelope.
const RAW_PAYLOAD: &str = "rawPayload";

/// What all consumers of a sidecar share.
#[derive(Clone)]
pub(super) struct Shared {
    /// What counts when deliveries fail.
    pub(super) registry: Arc<Registry>,
    /// The app.
    pub(super) app_id: String,
    /// The namespace; may be empty.
    pub(super) namespace: String,
    /// Makes a span of each delivery.
    pub(super) tracer: Tracer,
}

/// Deals with the messages of one subscription.
pub(super) struct Consumer {
    pub(super) pubsub: Arc<LoadedPubSub>,
    pub(super) subscriber: Arc<dyn Subscriber>,
    pub(super) meters: Meters,
    spec: Arc<Spec>,
    router: Router,
    is_raw: bool,
    dead_letters: Option<DeadLetters>,
    shared: Arc<Shared>,
    failures: LogRate,
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its subscriber took it.
    Taken,
    /// Nobody wants it: it is gone, unless there is a place for dead letters.
    Unwanted,
    /// It could not be delivered, and why: the broker has it again, unless there is such a place.
    Undelivered(String),
}

/// A message on its way to be settled.
pub(super) struct Open {
    letter: Letter,
    acknowledge: Box<dyn Acknowledge>,
}

impl Consumer {
    /// Takes messages of this component to this subscriber, as the subscription says.
    ///
    /// # Errors
    ///
    /// A rule of the subscription cannot be compiled.
    pub(super) fn new(
        pubsub: Arc<LoadedPubSub>,
        spec: Arc<Spec>,
        subscriber: Arc<dyn Subscriber>,
        shared: Arc<Shared>,
    ) -> Result<Self, RoutesError> {
        let mut metadata = spec.metadata.iter();
        let raw = metadata.find(|(name, _)| name.eq_ignore_ascii_case(RAW_PAYLOAD));
        let dead_letters = spec.dead_letter_topic.as_deref().map(|topic| {
            let registry = Arc::clone(&shared.registry);
            DeadLetters::new(Arc::clone(&pubsub), topic, registry, &shared.app_id)
        });
        Ok(Self {
            router: Router::new(&spec.routes)?,
            is_raw: raw.is_some_and(|(_, value)| is_truthy(value)),
            meters: Meters::new(&pubsub.name, &shared.namespace, &spec.topic),
            dead_letters,
            pubsub,
            spec,
            subscriber,
            shared,
            failures: LogRate::default(),
        })
    }

    /// What counts for deliveries to the app.
    pub(super) fn policy(&self) -> Policy {
        let resiliency = Arc::clone(&self.shared.registry.peek().resiliency);
        resiliency.component(&self.pubsub.name, ComponentType::Pubsub, Direction::Inbound)
    }

    async fn one(&self, delivery: Delivery) {
        let start = Instant::now();
        let (open, ready) = self.open(delivery);
        let fate = match ready {
            Ok(message) => {
                let outcome = self.deliver(message).await;
                self.fate(outcome)
            }
            Err(fate) => fate,
        };
        let label = self.settle(open, fate).await;
        self.meters.one(label, start);
    }

    /// Delivers a message, as often as the policy wants.
    async fn deliver(&self, mut message: Message) -> Outcome {
        let span = trace::begin(&self.shared.tracer, &mut message);
        let deliver = |_| self.subscriber.deliver(&message);
        let outcome = self.policy().run(deliver, judge).await;
        let outcome = outcome.unwrap_or_else(|stopped| Outcome::Retry(stopped.to_string()));
        trace::end(span, &outcome);
        outcome
    }

    /// Reads a message and looks where it goes. Where it goes nowhere, what becomes of it.
    pub(super) fn open(&self, delivery: Delivery) -> (Open, Result<Message, Fate>) {
        let prefix = self.pubsub.topic_prefix.as_str();
        let topic = delivery.topic.strip_prefix(prefix);
        let topic = topic.unwrap_or(&delivery.topic).to_owned();
        let event = Event::decode(&Received {
            data: &delivery.data,
            content_type: delivery.content_type.as_deref(),
            metadata: &delivery.metadata,
            pubsub: &self.pubsub.name,
            topic: &topic,
            is_raw: self.is_raw,
        });
        let (letter, ready) = match event {
            Ok(event) => {
                let letter = Letter::Event(event.envelope().clone());
                (letter, self.path(&event, &topic).map(|path| (event, path)))
            }
            Err(error) => {
                let letter = Letter::Undecodable(delivery.data, delivery.content_type);
                let reason = error.to_string();
                self.tell(&reason);
                (letter, Err(Fate::Undelivered(reason)))
            }
        };
        let ready = ready.map(|(event, path)| Message {
            event,
            metadata: delivery.metadata,
            path,
            pubsub: self.pubsub.name.clone(),
            topic,
            trace: http::HeaderMap::new(),
        });
        let acknowledge = delivery.acknowledge;
        (
            Open {
                letter,
                acknowledge,
            },
            ready,
        )
    }

    /// Where an event goes in the app.
    fn path(&self, event: &Event, topic: &str) -> Result<String, Fate> {
        let (id, pubsub) = (event.id(), &self.pubsub.name);
        if event.has_expired(SystemTime::now()) {
            self.tell(&format!("dropping expired pub/sub event {id}"));
            return Err(Fate::Unwanted);
        }
        match self.router.route(|| event.fields()) {
            Ok(Some(path)) => Ok(path.to_owned()),
            Ok(None) => {
                debug!(
                    pubsub,
                    topic, id, "No matching route for an event; it is dropped"
                );
                Err(Fate::Unwanted)
            }
            Err(error) => {
                let reason = error.to_string();
                self.tell(&format!("pub/sub event {id} has no route: {reason}"));
                Err(Fate::Undelivered(reason))
            }
        }
    }

    /// What becomes of a message of which its subscriber said this, in the end.
    pub(super) fn fate(&self, outcome: Outcome) -> Fate {
        match outcome {
            Outcome::Success => Fate::Taken,
            Outcome::Drop(reason) => {
                self.tell(&reason);
                Fate::Unwanted
            }
            Outcome::Retry(reason) => {
                self.tell(&reason);
                Fate::Undelivered(reason)
            }
        }
    }

    /// Puts a message aside that was not taken, where there is a place for it, and tells the broker
    /// what became of it.
    pub(super) async fn settle(&self, open: Open, fate: Fate) -> Label {
        let process_status = process_status(&fate);
        let (settlement, status) = match (fate, &self.dead_letters) {
            (Fate::Taken, _) | (Fate::Unwanted, None) => (Settlement::Done(None), "done"),
            (Fate::Undelivered(reason), None) => (Settlement::Failed(reason), "failed"),
            (_, Some(dead_letters)) => match dead_letters.send(open.letter).await {
                Ok(()) => (Settlement::Done(None), "dead_letter"),
                Err(error) => {
                    let topic = dead_letters.topic();
                    let text = format!("no dead letter in topic {topic:?}: {error}");
                    self.tell(&text);
                    (Settlement::Failed(text), "failed")
                }
            },
        };
        if let Err(error) = open.acknowledge.settle(settlement).await {
            self.tell(&format!(
                "the broker was not told what became of a message: {error}"
            ));
        }
        Label {
            process_status,
            status,
        }
    }

    /// Says in the log what became of a message, as often as the log bears it.
    fn tell(&self, what: &str) {
        if let Some(left_out) = self.failures.pass() {
            let (pubsub, topic) = (&self.pubsub.name, &self.spec.topic);
            warn!(pubsub, topic, left_out, "{what}");
        }
    }
}

/// The name of what becomes of a message, for the metrics.
pub(super) fn process_status(fate: &Fate) -> &'static str {
    match fate {
        Fate::Taken => "success",
        Fate::Unwanted => "drop",
        Fate::Undelivered(_) => "retry",
    }
}

/// What an outcome says of the app. A message that it does not want is no failure of it.
fn judge(outcome: &Outcome) -> Verdict {
    match outcome {
        Outcome::Success | Outcome::Drop(_) => Verdict::Success,
        Outcome::Retry(_) => Verdict::Failure(None),
    }
}

#[async_trait]
impl Handler for Consumer {
    async fn handle(&self, deliveries: Vec<Delivery>) {
        if self.spec.bulk.is_some() {
            self.together(deliveries).await;
            return;
        }
        for delivery in deliveries {
            self.one(delivery).await;
        }
    }
}

#[cfg(test)]
mod tests;
