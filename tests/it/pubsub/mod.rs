//! Messages from a broker to the app.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde_json::{Value, json};
use sidegate::app_channel::{AppChannel, AppChannelConfig, AppProtocol, HealthConfig};
use sidegate::blocks::cloud_event::{Event, Received};
use sidegate::blocks::metadata::Subscription;
use sidegate::blocks::subscriptions::streaming::Streams;
use sidegate::blocks::subscriptions::supervisor::{App, Current, Supervisor};
use sidegate::blocks::subscriptions::{Message, to_app};
use sidegate::components::BackendError;
use sidegate::components::pubsub::Outgoing;
use sidegate::process::early_stop::EarlyStop;
use sidegate::process::tasks::{BoxError, Tasks};
use sidegate::registry::{Registry, RegistryConfig};
use sidegate::testing::eventually::eventually;
use sidegate::testing::fake_app::{FakeApp, Recorded};
use sidegate::testing::registry_config::registry_config;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app_channel::{Answer, Server, config};

mod bulk;
mod dead_letter;
mod delivery;
mod discovery;
mod grpc_app;
mod publish;
mod reload;
mod routing;
mod stop;
mod streaming;
mod whole;

/// A folder with resources.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> &Self {
        // In one rename, as editors and the kubelet do.
        let temporary = self.path("being written");
        std::fs::write(&temporary, text).unwrap();
        std::fs::rename(temporary, self.path(name)).unwrap();
        self
    }

    fn remove(&self, name: &str) -> &Self {
        std::fs::remove_file(self.path(name)).unwrap();
        self
    }

    fn config(&self) -> RegistryConfig {
        registry_config(self.0.path())
    }
}

/// A broker in memory.
pub(crate) fn in_memory(name: &str) -> String {
    in_memory_with(name, "[]")
}

fn in_memory_with(name: &str, metadata: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\n\
         spec: {{type: pubsub.in-memory, version: v1, metadata: {metadata}}}\n"
    )
}

/// A subscription to a topic of the broker `p`.
fn subscription(name: &str, topic: &str, route: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Subscription\nmetadata: {{name: {name}}}\n\
         spec: {{pubsubname: p, topic: {topic}, route: {route}}}\n"
    )
}

/// The part of a sidecar that takes messages to its app.
pub(crate) struct Running {
    registry: Arc<Registry>,
    current: Current,
    intake: EarlyStop,
    _tasks: Tasks,
    supervisor: JoinSet<Result<(), BoxError>>,
}

impl Running {
    /// With the broker `p`, and the subscription `s` to its topic `t`, which has reached the app.
    async fn at(route: &str) -> (Files, TestApp, Self) {
        let files = Files::new();
        files
            .write("p.yaml", &in_memory("p"))
            .write("s.yaml", &subscription("s", "t", route));
        let app = TestApp::start().await;
        let running = Self::start(&files, Some(app.channel())).await;
        running.reaches(&app, "t", route).await;
        (files, app, running)
    }

    pub(crate) async fn start(files: &Files, channel: Option<AppChannel>) -> Self {
        Self::start_with(files, channel, true, Duration::from_secs(60)).await
    }

    async fn start_with(
        files: &Files,
        channel: Option<AppChannel>,
        is_asked: bool,
        grace: Duration,
    ) -> Self {
        let mut tasks = Tasks::new(CancellationToken::new());
        let registry = Registry::start(files.config(), &mut tasks).await.unwrap();
        let listens = CancellationToken::new();
        listens.cancel();
        let app = channel.map(|channel| App {
            subscriber: to_app(channel.clone()),
            channel,
            is_asked,
            listens,
        });
        let streams = Streams::default();
        let supervisor = Supervisor::new(registry.clone(), "app", app, streams);
        let current = supervisor.current();
        let intake = EarlyStop::new(&tasks.shutdown());
        let mut running = JoinSet::new();
        running.spawn(supervisor.run(intake.part(), grace, tasks.shutdown()));
        Self {
            registry,
            current,
            intake,
            _tasks: tasks,
            supervisor: running,
        }
    }

    /// Waits until the app subscribes to these topics, and hands back what is known of them.
    async fn subscribed(&self, topics: &[&str]) -> Vec<Subscription> {
        eventually(&format!("subscribed to {topics:?}"), async || {
            let views = self.current.views();
            let now: Vec<_> = views.iter().map(|view| view.topic.as_str()).collect();
            (now == topics).then_some(views)
        })
        .await
    }

    /// Publishes events with these ids, with nothing around them.
    async fn publish(&self, topic: &str, ids: &[&str]) -> Result<(), BackendError> {
        for id in ids {
            let event = json!({
                "id": id, "source": "s", "type": "t", "specversion": "1.0", "data": id,
            });
            self.publish_data(topic, &event.to_string()).await?;
        }
        Ok(())
    }

    /// Publishes data as it is.
    async fn publish_data(&self, topic: &str, data: &str) -> Result<(), BackendError> {
        let snapshot = self.registry.snapshot();
        let broker = &snapshot.pubsubs["p"].component.broker;
        let message = Outgoing {
            data: data.to_owned().into(),
            content_type: None,
            metadata: Default::default(),
        };
        broker.publish(topic, message).await
    }

    /// Publishes data again and again until a call of the app is what is looked for: a subscription
    /// that is to come may not be there yet.
    async fn reaches_app<T>(
        &self,
        data: &str,
        app: &FakeApp,
        look: impl Fn(&Recorded) -> Option<T>,
    ) -> T {
        eventually(&format!("{data} reaches the app"), async || {
            let found = app.recorded().iter().find_map(&look);
            if found.is_none() {
                self.publish_data("t", data).await.unwrap();
            }
            found
        })
        .await
    }

    /// Publishes events that are numbered on, until the app has got one at a path: a subscription
    /// that is to come may not be there yet.
    async fn reaches(&self, app: &TestApp, topic: &str, path: &str) {
        let mut number = 0;
        let last = eventually(&format!("{topic} reaches {path}"), async || {
            let id = format!("{topic}{path}{number}");
            number += 1;
            self.publish(topic, &[&id]).await.unwrap();
            let arrived = app.arrived(path);
            arrived.iter().any(|id| id.starts_with(topic)).then_some(id)
        })
        .await;
        eventually(&format!("the last of {topic} is answered"), async || {
            let answered = ids(&app.state.answered, path);
            answered.contains(&last).then_some(())
        })
        .await;
    }
}

/// A message of topic `t` of the component `p` with this envelope, for the path `orders`, of which
/// its publisher says these things.
pub(crate) fn message(envelope: &str, metadata: &HeaderMap) -> Message {
    let data = Bytes::from(envelope.to_owned());
    let metadata = metadata.iter().map(|(name, value)| {
        let value = value.to_str().unwrap();
        (name.to_string(), value.to_owned())
    });
    let metadata = metadata.collect();
    let event = Event::decode(&Received {
        data: &data,
        content_type: None,
        metadata: &metadata,
        pubsub: "p",
        topic: "t",
        is_raw: false,
    });
    Message {
        event: event.unwrap(),
        metadata,
        path: "orders".to_owned(),
        pubsub: "p".to_owned(),
        topic: "t".to_owned(),
        trace: HeaderMap::new(),
    }
}

/// An app over HTTP whose answers a test decides.
struct TestApp {
    server: Server,
    state: Arc<State>,
}

struct State {
    /// The answer to `GET /dapr/subscribe`.
    list: Mutex<(u16, String)>,
    asked: AtomicU16,
    is_healthy: AtomicBool,
    /// Whether messages are answered, or wait.
    answers: watch::Sender<bool>,
    /// Messages that came, and those that were answered: path and id.
    arrived: Mutex<Vec<(String, String)>>,
    answered: Mutex<Vec<(String, String)>>,
}

impl TestApp {
    /// Subscribes to nothing by itself.
    async fn start() -> Self {
        Self::listing(&json!([])).await
    }

    async fn listing(list: &Value) -> Self {
        let state = Arc::new(State {
            list: Mutex::new((200, list.to_string())),
            asked: AtomicU16::new(0),
            is_healthy: AtomicBool::new(true),
            answers: watch::Sender::new(true),
            arrived: Mutex::default(),
            answered: Mutex::default(),
        });
        let of_server = Arc::clone(&state);
        let server = Server::start(move |request| {
            let state = Arc::clone(&of_server);
            async move { answer(&state, request).await }
        })
        .await;
        Self { server, state }
    }

    fn channel(&self) -> AppChannel {
        AppChannel::new(config(AppProtocol::Http, self.server.address)).unwrap()
    }

    /// The road with health checks, and the task that makes them.
    fn checked_channel(&self, tasks: &mut JoinSet<()>) -> AppChannel {
        let health = HealthConfig {
            path: "/healthz".to_owned(),
            interval: Duration::from_millis(5),
            timeout: Duration::from_secs(60),
            threshold: 1,
        };
        let config = AppChannelConfig {
            health: Some(health),
            ..config(AppProtocol::Http, self.server.address)
        };
        let channel = AppChannel::new(config).unwrap();
        let probe = channel.health_probe().unwrap();
        tasks.spawn(async move { probe.run(CancellationToken::new()).await.unwrap() });
        channel
    }

    fn lists(&self, status: u16, list: &Value) {
        *self.state.list.lock().unwrap() = (status, list.to_string());
    }

    fn asked(&self) -> u16 {
        self.state.asked.load(Ordering::SeqCst)
    }

    fn is_healthy(&self, is_healthy: bool) {
        self.state.is_healthy.store(is_healthy, Ordering::SeqCst);
    }

    /// Whether messages are answered from now on.
    fn answers(&self, answers: bool) {
        self.state.answers.send_replace(answers);
    }

    /// The ids of messages that came to a path.
    fn arrived(&self, path: &str) -> Vec<String> {
        ids(&self.state.arrived, path)
    }

    /// Waits until these messages have been answered at a path.
    async fn has_answered(&self, path: &str, expected: &[&str]) {
        eventually(&format!("{expected:?} at {path}"), async || {
            (ids(&self.state.answered, path) == expected).then_some(())
        })
        .await;
    }
}

fn ids(list: &Mutex<Vec<(String, String)>>, path: &str) -> Vec<String> {
    let list = list.lock().unwrap();
    let here = list.iter().filter(|(other, _)| other == path);
    here.map(|(_, id)| id.clone()).collect()
}

async fn answer(state: &State, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let (status, body) = match path.as_str() {
        "/dapr/subscribe" => {
            state.asked.fetch_add(1, Ordering::SeqCst);
            state.list.lock().unwrap().clone()
        }
        "/healthz" if state.is_healthy.load(Ordering::SeqCst) => (200, String::new()),
        "/healthz" => (500, String::new()),
        _ => {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let event: Value = serde_json::from_slice(&body).unwrap();
            let message = (path, event["id"].as_str().unwrap().to_owned());
            state.arrived.lock().unwrap().push(message.clone());
            let mut answers = state.answers.subscribe();
            answers.wait_for(|answers| *answers).await.unwrap();
            state.answered.lock().unwrap().push(message);
            (200, String::new())
        }
    };
    let body = Full::new(Bytes::from(body)).map_err(Into::into);
    let mut answer = Response::new(UnsyncBoxBody::new(body));
    *answer.status_mut() = status.try_into().unwrap();
    answer
}
