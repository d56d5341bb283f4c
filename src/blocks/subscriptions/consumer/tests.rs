//! What becomes of messages, as their subscriber, their broker and their policy answer.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use serde_json::Value;
use tokio::task::JoinSet;

use super::*;
use crate::blocks::cloud_event::content_type::CLOUD_EVENT;
use crate::components::BackendError;
use crate::components::message::{Intake, Metadata};
use crate::components::metadata::Reader;
use crate::components::pubsub::scopes::TopicScopes;
use crate::components::pubsub::{Feature, Interest, Outgoing, PubSub, PubSubComponent};
use crate::process::metrics::Metrics;
use crate::registry::snapshot::Snapshot;
use crate::resiliency::Resiliency;
use crate::resources::decode::Resources;
use crate::resources::subscription::{Bulk, Routes, Rule};
use crate::testing::contract::component;

mod bulk;
mod one;

/// A broker that keeps what is published, or refuses it.
#[derive(Default)]
struct Broker {
    published: Mutex<Vec<(String, Outgoing)>>,
    refuses: AtomicBool,
}

#[async_trait]
impl PubSub for Broker {
    fn features(&self) -> &[Feature] {
        &[]
    }

    async fn publish(&self, topic: &str, message: Outgoing) -> Result<(), BackendError> {
        if self.refuses.load(Ordering::Relaxed) {
            return Err(BackendError::Unavailable("no connection".to_owned()));
        }
        lock(&self.published).push((topic.to_owned(), message));
        Ok(())
    }

    async fn subscribe(&self, _: &Interest) -> Result<Box<dyn Intake>, BackendError> {
        Err(BackendError::Refused(
            "it only keeps dead letters".to_owned(),
        ))
    }
}

type Answer = dyn Fn(&Message, usize) -> Outcome + Send + Sync;

/// A subscriber that answers to a message, at the number of its call from 1, as a test wants.
struct Script {
    answer: Box<Answer>,
    /// The path and the ids of each call.
    calls: Mutex<Vec<(String, Vec<String>)>>,
    traces: Mutex<Vec<Option<String>>>,
}

impl Script {
    fn record(&self, messages: &[Message]) -> usize {
        let ids = messages.iter().map(|message| message.event.id().to_owned());
        let mut calls = lock(&self.calls);
        calls.push((messages[0].path.clone(), ids.collect()));
        let trace = messages[0].trace.get("traceparent");
        lock(&self.traces).push(trace.map(|value| value.to_str().unwrap().to_owned()));
        calls.len()
    }
}

#[async_trait]
impl Subscriber for Script {
    async fn deliver(&self, message: &Message) -> Outcome {
        let call = self.record(std::slice::from_ref(message));
        (self.answer)(message, call)
    }

    async fn deliver_all(&self, messages: &[Message]) -> Vec<Outcome> {
        let call = self.record(messages);
        let answers = messages.iter().map(|message| (self.answer)(message, call));
        answers.collect()
    }
}

/// A consumer over all of that, and what its broker was told of each message.
struct World {
    consumer: Consumer,
    broker: Arc<Broker>,
    script: Arc<Script>,
    settled: Arc<Mutex<Vec<(String, Settlement)>>>,
}

/// Tells a test what became of a message.
struct Told(String, Arc<Mutex<Vec<(String, Settlement)>>>);

#[async_trait]
impl Acknowledge for Told {
    async fn settle(self: Box<Self>, settlement: Settlement) -> Result<(), BackendError> {
        lock(&self.1).push((self.0, settlement));
        Ok(())
    }
}

impl World {
    fn new(
        change: impl FnOnce(&mut Spec),
        resiliency: &str,
        answer: impl Fn(&Message, usize) -> Outcome + Send + Sync + 'static,
    ) -> Self {
        let mut spec = Spec {
            pubsub: "pubsub".to_owned(),
            topic: "t".to_owned(),
            routes: Routes {
                rules: Vec::new(),
                default: Some("orders".to_owned()),
            },
            ..Spec::default()
        };
        change(&mut spec);
        let broker = Arc::new(Broker::default());
        let script = Arc::new(Script {
            answer: Box::new(answer),
            calls: Mutex::default(),
            traces: Mutex::default(),
        });
        let pubsub = LoadedPubSub {
            name: "pubsub".to_owned(),
            component: PubSubComponent {
                broker: Arc::clone(&broker) as _,
                scopes: Arc::new(TopicScopes::default()),
            },
            topic_prefix: "ns".to_owned(),
        };
        let shared = Shared {
            registry: Registry::holding(Snapshot {
                resiliency: Arc::new(policies(resiliency)),
                ..Snapshot::default()
            }),
            app_id: "app".to_owned(),
            namespace: "ns".to_owned(),
            tracer: Tracer::default(),
        };
        let subscriber = Arc::clone(&script) as _;
        let consumer = Consumer::new(Arc::new(pubsub), spec.into(), subscriber, shared.into());
        Self {
            consumer: consumer.unwrap(),
            broker,
            script,
            settled: Arc::default(),
        }
    }

    /// A message as the broker hands it out.
    fn delivery(&self, data: &str) -> Delivery {
        let settled = Arc::clone(&self.settled);
        Delivery {
            topic: "nst".to_owned(),
            data: Bytes::from(data.to_owned()),
            content_type: None,
            metadata: Metadata::from([("of".to_owned(), "the broker".to_owned())]),
            acknowledge: Box::new(Told(data.to_owned(), settled)),
        }
    }

    async fn handle(&self, data: &[&str]) {
        let deliveries = data.iter().map(|data| self.delivery(data));
        self.consumer.handle(deliveries.collect()).await;
    }

    /// What the broker was told of the messages so far, in that order.
    fn settled(&self) -> Vec<(String, Settlement)> {
        lock(&self.settled).clone()
    }

    fn calls(&self) -> Vec<(String, Vec<String>)> {
        lock(&self.script.calls).clone()
    }

    /// The topics and data of what was published.
    fn dead_letters(&self) -> Vec<(String, String)> {
        let published = lock(&self.broker.published);
        let text = |data: &Bytes| String::from_utf8(data.to_vec()).unwrap();
        let letters = published.iter();
        letters
            .map(|(topic, message)| (topic.clone(), text(&message.data)))
            .collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

/// A Resiliency with these policies for `pubsub`; none where the text is empty.
fn policies(inbound: &str) -> Resiliency {
    let mut resources = Resources::default();
    if !inbound.is_empty() {
        let text = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata: {{name: r}}\nspec:\n  \
             policies: {{{inbound}}}\n  targets: {{components: {{pubsub: {{inbound: {{{}}}}}}}}}\n",
            match inbound.split(':').next() {
                Some("retries") => "retry: p",
                _ => "circuitBreaker: p",
            }
        );
        resources.add(Path::new("r.yaml"), &text);
    }
    assert!(resources.problems.is_empty(), "{:?}", resources.problems);
    Resiliency::new(&resources.resiliencies, &Resiliency::default()).unwrap()
}

/// The scopes that the metadata of a component sets.
fn scopes(settings: &[(&str, &str)]) -> TopicScopes {
    let component = component("pubsub.in-memory", settings);
    TopicScopes::read(&mut Reader::new(&component).unwrap()).unwrap()
}

fn dead_letter_topic(spec: &mut Spec) {
    spec.dead_letter_topic = Some("dead".to_owned());
}

fn retry() -> Outcome {
    Outcome::Retry("later".to_owned())
}

fn done() -> Settlement {
    Settlement::Done(None)
}

fn failed(reason: &str) -> Settlement {
    Settlement::Failed(reason.to_owned())
}
