//! Subscriptions that an app opens as a stream: they begin with it, and end with it.
//!
//! ```text
//! api::grpc → Streaming::open → Session ◀─ events ── StreamSubscriber ◀─ deliver ── consumer
//!                                  └──── answer ────▶ Answers ─┘
//!              Streams: those that are open, for the supervisor
//! ```
//! Invariant: a message that was not answered when its stream ends is to be delivered again.

use std::sync::Arc;
use std::time::Duration;

use dapr::dapr::proto::runtime::v1::TopicEventRequest;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::answers::{Answers, StreamSubscriber};
use super::{Outcome, Subscriber};
use crate::blocks::error::{Error, Reason};
use crate::blocks::publish::{not_found, without_name};
use crate::components::message::Metadata;
use crate::registry::Registry;
use crate::resources::subscription::{Routes, Spec};

/// The most streams at once.
const MAX_STREAMS: usize = 1000;
/// How long a broker may take until it hands out messages.
const BEGIN: Duration = Duration::from_secs(10);
/// How many messages wait between a subscription and its stream.
const WAITING: usize = 16;

/// A stream that wants the messages of a topic.
#[derive(Clone)]
pub struct Stream {
    /// Tells it from all others, those that are gone too.
    pub id: u64,
    /// What it subscribed to. All messages go to it, under the empty path.
    pub spec: Arc<Spec>,
    /// Who gets the messages. Whoever holds it keeps the stream open while the sidecar stops:
    /// drop it once the last delivery has ended.
    pub subscriber: Arc<dyn Subscriber>,
}

/// The streams that are open. Cheap to clone.
#[derive(Clone, Default)]
pub struct Streams(Arc<watch::Sender<Open>>);

/// The streams of one moment.
#[derive(Clone, Default)]
pub struct Open {
    opened: u64,
    streams: Vec<Stream>,
}

impl Open {
    /// The streams, in the order in which they were opened.
    pub fn streams(&self) -> &[Stream] {
        &self.streams
    }
}

/// A stream in the list; it leaves the list when this is dropped.
pub struct Registration {
    id: u64,
    streams: Streams,
}

/// There are as many streams as there may be.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{MAX_STREAMS} streams are open already")]
pub struct TooMany;

impl Streams {
    /// Adds a stream to the list. Of several for one topic each is a subscription of its own.
    pub fn open(
        &self,
        spec: Spec,
        subscriber: Arc<dyn Subscriber>,
    ) -> Result<Registration, TooMany> {
        let mut id = None;
        self.0.send_if_modified(|open| {
            if open.streams.len() >= MAX_STREAMS {
                return false;
            }
            open.opened += 1;
            id = Some(open.opened);
            open.streams.push(Stream {
                id: open.opened,
                spec: Arc::new(spec),
                subscriber,
            });
            true
        });
        let streams = self.clone();
        id.map(|id| Registration { id, streams }).ok_or(TooMany)
    }

    /// The list, and each change of it.
    pub fn watch(&self) -> watch::Receiver<Open> {
        self.0.subscribe()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let streams = &self.streams.0;
        streams.send_modify(|open| open.streams.retain(|stream| stream.id != self.id));
    }
}

/// What a stream asks for at its beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The component.
    pub pubsub: String,
    /// The topic.
    pub topic: String,
    /// What the broker is told.
    pub metadata: Metadata,
    /// Where messages go that the stream does not take.
    pub dead_letter_topic: Option<String>,
}

impl Wanted {
    fn into_spec(self) -> Spec {
        Spec {
            pubsub: self.pubsub,
            topic: self.topic,
            routes: Routes {
                default: Some(String::new()),
                ..Routes::default()
            },
            metadata: self.metadata,
            dead_letter_topic: self.dead_letter_topic.filter(|topic| !topic.is_empty()),
            bulk: None,
        }
    }
}

/// Opens streams for the app.
pub struct Streaming {
    registry: Arc<Registry>,
    app_id: String,
    streams: Streams,
    stop: CancellationToken,
}

impl Streaming {
    /// Opens streams that are in the list until `stop`.
    pub fn new(
        registry: Arc<Registry>,
        app_id: &str,
        streams: Streams,
        stop: CancellationToken,
    ) -> Self {
        Self {
            registry,
            app_id: app_id.to_owned(),
            streams,
            stop,
        }
    }

    /// Subscribes, and waits until the broker hands out messages. The reasons, in the order in
    /// which they are checked: `PubSubNameEmpty`, `TopicNameEmpty`, `PubSubNotFound`,
    /// `TopicForbidden`, `TooManyStreams`, `SubscribeFailed`.
    pub async fn open(&self, wanted: Wanted) -> Result<Session, Error> {
        let (pubsub, topic) = (wanted.pubsub.clone(), wanted.topic.clone());
        let session = self.register(wanted)?;
        let begun = tokio::select! {
            begun = timeout(BEGIN, session.answers.begin()) => begun.is_ok(),
            () = self.stop.cancelled() => false,
        };
        if begun {
            return Ok(session);
        }
        let text = format!("no messages of topic {topic} come in from pubsub {pubsub} yet");
        Err(Error::new(Reason::SubscribeFailed, text).about_topic(&pubsub, &topic))
    }

    fn register(&self, wanted: Wanted) -> Result<Session, Error> {
        let spec = wanted.into_spec();
        without_name(&spec.pubsub, &spec.topic)?;
        let snapshot = self.registry.peek();
        let loaded = snapshot.pubsubs.get(&spec.pubsub);
        let loaded = loaded.ok_or_else(|| not_found(&spec.pubsub))?;
        let scopes = &loaded.component.scopes;
        if !scopes.permits_subscribing(&self.app_id, &spec.topic) {
            let text = format!(
                "subscription to topic {} on pubsub {} is not allowed for app id {}",
                spec.topic, spec.pubsub, self.app_id
            );
            let error = Error::new(Reason::TopicForbidden, text);
            return Err(error.about_topic(&spec.pubsub, &spec.topic));
        }
        let (sender, events) = mpsc::channel(WAITING);
        let answers = Arc::new(Answers::default());
        let subscriber = StreamSubscriber::new(sender, Arc::clone(&answers));
        let registration = self.streams.open(spec, Arc::new(subscriber));
        let registration =
            registration.map_err(|error| Error::new(Reason::TooManyStreams, error.to_string()))?;
        Ok(Session {
            events,
            answers,
            registration: Some(registration),
            stop: self.stop.clone(),
        })
    }
}

/// The app's end of a stream. When it is dropped, messages without an answer are to be delivered
/// again.
pub struct Session {
    events: mpsc::Receiver<TopicEventRequest>,
    answers: Arc<Answers>,
    registration: Option<Registration>,
    stop: CancellationToken,
}

impl Session {
    /// The next message. `None` once the sidecar stops and the last delivery has ended. Dropping
    /// the future loses nothing.
    pub async fn next(&mut self) -> Option<TopicEventRequest> {
        tokio::select! {
            event = self.events.recv() => return event,
            () = self.stop.cancelled(), if self.registration.is_some() => {}
        }
        // Nothing new comes in from here on; what is being delivered still goes out.
        self.registration = None;
        self.events.recv().await
    }

    /// What the app says of a message. One that does not wait for an answer is left alone.
    pub fn answer(&self, id: &str, outcome: Outcome) {
        self.answers.answer(id, outcome);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.answers.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::subscriptions::tests::message;
    use crate::components::pubsub::PubSubComponent;
    use crate::components::pubsub::in_memory::InMemory;
    use crate::registry::messaging::LoadedPubSub;
    use crate::registry::snapshot::Snapshot;

    fn streaming() -> (Streaming, Streams, CancellationToken) {
        let loaded = LoadedPubSub {
            name: "p".to_owned(),
            component: PubSubComponent {
                broker: Arc::<InMemory>::default(),
                scopes: Arc::default(),
            },
            topic_prefix: String::new(),
        };
        let registry = Registry::holding(Snapshot {
            pubsubs: [("p".to_owned(), Arc::new(loaded))].into(),
            ..Snapshot::default()
        });
        let (streams, stop) = (Streams::default(), CancellationToken::new());
        let streaming = Streaming::new(registry, "app", streams.clone(), stop.clone());
        (streaming, streams, stop)
    }

    fn wanted(pubsub: &str, topic: &str) -> Wanted {
        Wanted {
            pubsub: pubsub.to_owned(),
            topic: topic.to_owned(),
            ..Wanted::default()
        }
    }

    #[tokio::test]
    async fn a_stream_that_cannot_be_is_refused() {
        let (streaming, streams, stop) = streaming();
        for (pubsub, topic, reason) in [
            ("", "t", Reason::PubSubNameEmpty),
            ("p", "", Reason::TopicNameEmpty),
            ("x", "t", Reason::PubSubNotFound),
        ] {
            let error = streaming.open(wanted(pubsub, topic)).await.err().unwrap();
            assert_eq!(error.reason(), reason);
        }
        stop.cancel();
        let error = streaming.open(wanted("p", "t")).await.err().unwrap();
        assert_eq!(error.reason(), Reason::SubscribeFailed);
        assert_eq!(streams.watch().borrow().streams().len(), 0);
    }

    #[tokio::test]
    async fn when_the_sidecar_stops_a_stream_stays_until_its_last_delivery_ended() {
        let (streaming, streams, stop) = streaming();
        let mut list = streams.watch();
        let consumer = async {
            list.changed().await.unwrap();
            let subscriber = Arc::clone(&list.borrow().streams()[0].subscriber);
            subscriber.subscribed();
            subscriber
        };
        let opening = streaming.open(wanted("p", "t"));
        let (session, subscriber) = tokio::join!(opening, consumer);
        let mut session = session.unwrap();
        stop.cancel();
        let app = async {
            let event = session.next().await.unwrap();
            session.answer(&event.id, Outcome::Success);
            session.next().await
        };
        let delivery = async move {
            let message = message("{\"id\":\"1\"}");
            subscriber.deliver(&message).await
        };
        let (outcome, end) = tokio::join!(delivery, app);
        assert_eq!((outcome, end), (Outcome::Success, None));
        assert_eq!(streams.watch().borrow().streams().len(), 0);
    }
}
