//! The consumers that run, one for each subscription.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinError;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

use super::Subscriber;
use super::consumer::{Consumer, Shared};
use super::wanted::{Key, Wanted};
use crate::blocks::in_flight::Tasks;
use crate::blocks::intake::{self, Batch, Source};
use crate::components::BackendError;
use crate::components::message::Intake;
use crate::components::pubsub::Interest;
use crate::registry::messaging::LoadedPubSub;
use crate::resources::subscription::Spec;

/// How long a changed subscription waits for the messages in flight of its earlier form.
const HANDOVER: Duration = Duration::from_secs(30);

/// A subscription with all that it needs to run.
pub(super) struct Runnable {
    pub(super) wanted: Wanted,
    pub(super) pubsub: Arc<LoadedPubSub>,
    pub(super) subscriber: Arc<dyn Subscriber>,
}

/// The consumers that run.
pub(super) struct Consumers {
    shared: Arc<Shared>,
    running: BTreeMap<Key, Running>,
    /// Those that still finish messages in flight; a later one of the key waits for it.
    ending: BTreeMap<Key, CancellationToken>,
    tasks: Tasks,
    /// Held by those of the start until their brokers were asked once.
    starting: Option<Starting>,
}

/// Dropped by all who hold it, it tells that the start is over.
type Starting = Arc<DropGuard>;

struct Running {
    spec: Arc<Spec>,
    pubsub: Arc<LoadedPubSub>,
    stop: CancellationToken,
    ended: CancellationToken,
}

impl Consumers {
    /// None yet. `started` is cancelled once the consumers that are there when
    /// [`Self::settled`] is called have asked their brokers.
    pub(super) fn new(shared: Arc<Shared>, started: CancellationToken) -> Self {
        Self {
            shared,
            starting: Some(Arc::new(started.drop_guard())),
            running: BTreeMap::new(),
            ending: BTreeMap::new(),
            tasks: Tasks::new(),
        }
    }

    /// Those that belong to the start are there.
    pub(super) fn settled(&mut self) {
        self.starting = None;
    }

    /// Stops what is gone or changed, starts what is new or changed, and touches nothing else.
    pub(super) fn bring_in_line(&mut self, runnable: Vec<Runnable>) {
        self.ending.retain(|_, ended| !ended.is_cancelled());
        let keys: BTreeSet<_> = runnable.iter().map(|one| &one.wanted.key).collect();
        let gone: Vec<_> = self
            .running
            .keys()
            .filter(|key| !keys.contains(key))
            .cloned()
            .collect();
        for key in gone {
            self.stop(&key);
        }
        for one in runnable {
            let same = self.running.get(&one.wanted.key).is_some_and(|running| {
                running.spec == one.wanted.spec && Arc::ptr_eq(&running.pubsub, &one.pubsub)
            });
            if !same {
                self.stop(&one.wanted.key);
                self.start(one);
            }
        }
    }

    fn stop(&mut self, key: &Key) {
        let Some(running) = self.running.remove(key) else {
            return;
        };
        let Spec { pubsub, topic, .. } = &*running.spec;
        info!("Subscription to topic {topic:?} of pub/sub {pubsub:?} stops");
        running.stop.cancel();
        self.ending.insert(key.clone(), running.ended);
    }

    fn start(&mut self, one: Runnable) {
        let Runnable {
            wanted,
            pubsub,
            subscriber,
        } = one;
        let Spec { topic, .. } = &*wanted.spec;
        let (spec, shared) = (Arc::clone(&wanted.spec), Arc::clone(&self.shared));
        let mut messages = Topic::new(&pubsub, &wanted.spec, &subscriber);
        messages.starting = Mutex::new(self.starting.clone());
        let consumer = match Consumer::new(Arc::clone(&pubsub), spec, subscriber, shared) {
            Ok(consumer) => consumer,
            Err(error) => {
                // Rules are checked where subscriptions are read.
                warn!(%error, "The subscription to topic {topic:?} cannot be used");
                return;
            }
        };
        info!(
            "App is subscribed to topic {topic:?} through pub/sub {:?}",
            pubsub.name
        );
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let task = Task {
            before: self.ending.remove(&wanted.key),
            topic: messages,
            batch: batch(&wanted.spec),
            consumer,
        };
        let (stopping, ending) = (stop.clone(), ended.clone().drop_guard());
        self.tasks.spawn(async move {
            task.run(&stopping).await;
            drop(ending);
        });
        let running = Running {
            spec: wanted.spec,
            pubsub,
            stop,
            ended,
        };
        self.running.insert(wanted.key, running);
    }

    /// Waits until a consumer has ended, which is good only after it was stopped.
    pub(super) async fn ended(&mut self) -> Result<(), JoinError> {
        self.tasks.ended().await
    }

    /// Takes no message any more.
    pub(super) fn stop_all(&self) {
        for running in self.running.values() {
            running.stop.cancel();
        }
    }

    /// Waits for messages in flight once all are stopped, for a time. Those that are not dealt with
    /// then go back to their brokers.
    pub(super) async fn drain(mut self, limit: Duration) {
        let left = "Subscriptions end with messages in flight, which will come again";
        self.tasks.drain(limit, left).await;
    }
}

fn batch(spec: &Spec) -> Batch {
    spec.bulk.map_or(Batch::ONE, |bulk| Batch {
        most: bulk.most,
        wait: bulk.wait,
    })
}

/// One consumer on its way.
struct Task {
    before: Option<CancellationToken>,
    topic: Topic,
    batch: Batch,
    consumer: Consumer,
}

impl Task {
    async fn run(self, stop: &CancellationToken) {
        if let Some(before) = &self.before {
            tokio::select! {
                () = before.cancelled() => {}
                // Also where it is stopped meanwhile: the next in line waits for this one.
                () = sleep(HANDOVER) => {
                    warn!(source = self.topic.name(), "Earlier messages are in flight still");
                }
            }
        }
        intake::run(&self.topic, Arc::new(self.consumer), self.batch, stop).await;
    }
}

/// The messages of one topic.
struct Topic {
    pubsub: Arc<LoadedPubSub>,
    interest: Interest,
    subscriber: Arc<dyn Subscriber>,
    starting: Mutex<Option<Starting>>,
}

impl Topic {
    fn new(pubsub: &Arc<LoadedPubSub>, spec: &Spec, subscriber: &Arc<dyn Subscriber>) -> Self {
        Self {
            interest: Interest {
                topic: pubsub.broker_topic(&spec.topic),
                metadata: spec.metadata.clone(),
            },
            pubsub: Arc::clone(pubsub),
            subscriber: Arc::clone(subscriber),
            starting: Mutex::default(),
        }
    }
}

#[async_trait]
impl Source for Topic {
    async fn open(&self) -> Result<Box<dyn Intake>, BackendError> {
        let broker = &self.pubsub.component.broker;
        let intake = broker.subscribe(&self.interest).await;
        let starting = self.starting.lock();
        drop(starting.unwrap_or_else(PoisonError::into_inner).take());
        let intake = intake?;
        self.subscriber.subscribed();
        Ok(intake)
    }

    fn name(&self) -> String {
        let (topic, pubsub) = (&self.interest.topic, &self.pubsub.name);
        format!("topic {topic:?} of pub/sub {pubsub:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::wanted::Kind;
    use super::super::{Message, Outcome};
    use super::*;
    use crate::components::pubsub::in_memory::InMemory;
    use crate::components::pubsub::{Feature, Outgoing, PubSub, PubSubComponent};
    use crate::process::trace::Tracer;
    use crate::registry::Registry;
    use crate::testing::eventually::eventually;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A broker that counts how often it is subscribed to.
    #[derive(Default)]
    struct Counted {
        broker: InMemory,
        opened: AtomicUsize,
    }

    #[async_trait]
    impl PubSub for Counted {
        fn features(&self) -> &[Feature] {
            &[]
        }

        async fn publish(&self, topic: &str, message: Outgoing) -> Result<(), BackendError> {
            self.broker.publish(topic, message).await
        }

        async fn subscribe(&self, interest: &Interest) -> Result<Box<dyn Intake>, BackendError> {
            self.opened.fetch_add(1, Ordering::SeqCst);
            self.broker.subscribe(interest).await
        }
    }

    struct Nobody;

    #[async_trait]
    impl Subscriber for Nobody {
        async fn deliver(&self, _: &Message) -> Outcome {
            Outcome::Success
        }
    }

    fn loaded(broker: &Arc<Counted>) -> Arc<LoadedPubSub> {
        Arc::new(LoadedPubSub {
            name: "p".to_owned(),
            component: PubSubComponent {
                broker: Arc::<Counted>::clone(broker),
                scopes: Arc::default(),
            },
            topic_prefix: String::new(),
        })
    }

    fn runnable(topic: &str, path: &str, pubsub: &Arc<LoadedPubSub>) -> Runnable {
        let mut spec = Spec {
            pubsub: "p".to_owned(),
            topic: topic.to_owned(),
            ..Spec::default()
        };
        spec.routes.push("", path);
        Runnable {
            wanted: Wanted {
                key: Key::App("p".to_owned(), topic.to_owned()),
                kind: Kind::Declarative,
                spec: Arc::new(spec),
            },
            pubsub: Arc::clone(pubsub),
            subscriber: Arc::new(Nobody),
        }
    }

    async fn opens(broker: &Counted, times: usize) {
        eventually("it subscribes", async || {
            (broker.opened.load(Ordering::SeqCst) >= times).then_some(())
        })
        .await;
        assert_eq!(broker.opened.load(Ordering::SeqCst), times);
    }

    #[tokio::test]
    async fn only_what_changes_is_touched() {
        let broker = Arc::new(Counted::default());
        let pubsub = loaded(&broker);
        let mut consumers = Consumers::new(
            Arc::new(Shared {
                registry: Registry::empty(),
                app_id: "app".to_owned(),
                namespace: String::new(),
                tracer: Tracer::default(),
            }),
            CancellationToken::new(),
        );
        consumers.bring_in_line(vec![
            runnable("a", "/a", &pubsub),
            runnable("b", "/b", &pubsub),
        ]);
        opens(&broker, 2).await;
        // The same again, from a document that was read anew.
        consumers.bring_in_line(vec![
            runnable("a", "/a", &pubsub),
            runnable("b", "/b", &pubsub),
        ]);
        consumers.bring_in_line(vec![
            runnable("a", "/a", &pubsub),
            runnable("b", "/c", &pubsub),
        ]);
        opens(&broker, 3).await;
        consumers.bring_in_line(vec![runnable("a", "/a", &pubsub)]);
        // Another component of the name, as after a change of it.
        let pubsub = loaded(&broker);
        consumers.bring_in_line(vec![runnable("a", "/a", &pubsub)]);
        opens(&broker, 4).await;
        consumers.stop_all();
        consumers.drain(HANDOVER).await;
    }
}
