//! Events from a source that a test holds, to apps behind real sockets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Means;
use super::output::OutputBindings;
use super::supervisor::{Questions, Supervisor};
use crate::app_channel::{AppChannel, AppChannelConfig, AppProtocol};
use crate::blocks::state::State;
use crate::components::BackendError;
use crate::components::binding::queue::Queue;
use crate::components::binding::{BindingComponent, BindingSettings, InputBinding, OutputBinding};
use crate::components::message::{Acknowledge, Delivery, Intake, Metadata, Settlement};
use crate::components::pubsub::in_memory::InMemory;
use crate::process::early_stop::EarlyStop;
use crate::registry::Registry;
use crate::registry::messaging::LoadedBinding;
use crate::registry::snapshot::Snapshot;
use crate::testing::fake_app::FakeApp;

/// A broker's side of a binding: what the test sends, and what became of it.
struct Source {
    events: mpsc::Sender<Delivery>,
    settled: mpsc::Receiver<Settlement>,
    settles: mpsc::Sender<Settlement>,
}

impl Source {
    fn new() -> (Self, Arc<dyn InputBinding>) {
        let (events, receiver) = mpsc::channel(16);
        let (settles, settled) = mpsc::channel(16);
        let input = Arc::new(Input(Arc::new(Mutex::new(receiver))));
        let source = Self {
            events,
            settled,
            settles,
        };
        (source, input)
    }

    /// Puts an event into the queue.
    async fn put(&self, data: &'static str, metadata: &[(&str, &str)]) {
        let entry = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let delivery = Delivery {
            topic: "queue".to_owned(),
            data: Bytes::from_static(data.as_bytes()),
            content_type: None,
            metadata: metadata.iter().map(entry).collect(),
            acknowledge: Box::new(Told(self.settles.clone())),
        };
        self.events.send(delivery).await.unwrap();
    }

    /// What becomes of an event.
    async fn send(&mut self, data: &'static str, metadata: &[(&str, &str)]) -> Settlement {
        self.put(data, metadata).await;
        self.settled.recv().await.unwrap()
    }
}

struct Told(mpsc::Sender<Settlement>);

#[async_trait]
impl Acknowledge for Told {
    async fn settle(self: Box<Self>, settlement: Settlement) -> Result<(), BackendError> {
        self.0.send(settlement).await.unwrap();
        Ok(())
    }
}

struct Input(Arc<Mutex<mpsc::Receiver<Delivery>>>);

#[async_trait]
impl InputBinding for Input {
    async fn read(&self) -> Result<Box<dyn Intake>, BackendError> {
        Ok(Box::new(Self(Arc::clone(&self.0))))
    }
}

#[async_trait]
impl Intake for Input {
    async fn next(&mut self) -> Result<Delivery, BackendError> {
        match self.0.lock().await.recv().await {
            Some(delivery) => Ok(delivery),
            None => std::future::pending().await,
        }
    }

    fn concurrency(&self) -> usize {
        4
    }
}

fn loaded(
    name: &str,
    input: Option<Arc<dyn InputBinding>>,
    output: Option<Arc<dyn OutputBinding>>,
) -> (String, Arc<LoadedBinding>) {
    let component = BindingComponent::new(input, output, BindingSettings::default());
    let binding = LoadedBinding {
        name: name.to_owned(),
        component_type: "bindings.test".to_owned(),
        component,
    };
    (name.to_owned(), Arc::new(binding))
}

/// A supervisor that reads the binding `orders`, beside the output bindings `a` and `b`, which are
/// topics of a broker.
struct Setup {
    source: Source,
    outputs: [Box<dyn Intake>; 2],
    early: EarlyStop,
    _task: JoinSet<()>,
}

impl Setup {
    async fn new(app: &FakeApp) -> Self {
        let (source, input) = Source::new();
        let broker = Arc::new(InMemory::default());
        let [a, b] = ["a", "b"].map(|topic| {
            let broker = Arc::clone(&broker);
            Arc::new(Queue::new(broker, topic, Metadata::new()))
        });
        let outputs = [a.read().await.unwrap(), b.read().await.unwrap()];
        let bindings = BTreeMap::from([
            loaded("orders", Some(input), None),
            loaded("a", None, Some(a)),
            loaded("b", None, Some(b)),
        ]);
        let registry = Registry::holding(Snapshot {
            bindings,
            ..Snapshot::default()
        });
        let channel = AppChannel::new(AppChannelConfig {
            protocol: AppProtocol::Http,
            address: app.address().ip().to_string(),
            port: app.address().port(),
            token: None,
            max_concurrency: None,
            max_body_bytes: 1024,
            health: None,
            app_id: "app".to_owned(),
        });
        let output = Arc::new(OutputBindings::new(Arc::clone(&registry), None));
        let channel = channel.unwrap();
        let means = Means {
            outputs: output,
            state: Arc::new(State::new(Arc::clone(&registry), "app", "")),
        };
        let supervisor = Supervisor::new(channel, registry, means, None, Questions::default());
        let shutdown = CancellationToken::new();
        let early = EarlyStop::new(&shutdown);
        let part = early.part();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let ended = supervisor.run(part, Duration::from_secs(60), shutdown);
            ended.await.unwrap();
        });
        Self {
            source,
            outputs,
            early,
            _task: task,
        }
    }

    async fn output(&mut self, at: usize) -> Bytes {
        self.outputs[at].next().await.unwrap().data
    }
}

/// An app that answers events with a status and a body.
async fn app(status: u16, body: &'static str) -> FakeApp {
    FakeApp::answering(move |request| {
        let status = if request.method == "OPTIONS" {
            200
        } else {
            status
        };
        let response = Response::builder().status(status);
        response.body(Full::from(body)).unwrap()
    })
    .await
}

#[tokio::test]
async fn an_event_is_a_post_and_its_answer_goes_back() {
    let app = app(201, "thanks").await;
    let mut setup = Setup::new(&app).await;
    let settled = setup
        .source
        .send("[1]", &[("K", "v"), ("dapr-api-token", "spoof")]);
    assert_eq!(settled.await, Settlement::Done(Some("thanks".into())));
    let [probe, event] = &app.recorded()[..] else {
        panic!("{:?}", app.recorded())
    };
    assert_eq!(
        (probe.method.as_str(), probe.uri.path()),
        ("OPTIONS", "/orders")
    );
    assert_eq!(
        (event.method.as_str(), event.uri.path()),
        ("POST", "/orders")
    );
    assert_eq!(event.body, "[1]");
    assert_eq!(event.header("content-type"), ["application/json"]);
    assert_eq!(event.header("k"), ["v"]);
    assert_eq!(event.header("dapr-api-token"), [""; 0]);
}

#[tokio::test]
async fn what_the_app_does_not_take_goes_back() {
    for status in [302, 404, 500] {
        let app = app(status, r#"{"to": ["a"], "data": 1}"#).await;
        let mut setup = Setup::new(&app).await;
        let settled = setup.source.send("", &[]).await;
        let expected = format!("the app answered with status code {status}");
        assert_eq!(settled, Settlement::Failed(expected));
    }
}

#[tokio::test]
async fn an_answer_may_go_to_output_bindings() {
    for concurrency in ["sequential", "parallel", ""] {
        let body = format!(
            r#"{{"to": ["a", "b"], "data": {{"n": 1.0}}, "concurrency": "{concurrency}"}}"#
        );
        let app = app(200, body.leak()).await;
        let mut setup = Setup::new(&app).await;
        let settled = setup.source.send("", &[]).await;
        assert!(matches!(settled, Settlement::Done(Some(_))), "{settled:?}");
        for at in [0, 1] {
            assert_eq!(setup.output(at).await, r#"{"n": 1.0}"#);
        }
    }
}

#[tokio::test]
async fn an_event_whose_answer_cannot_be_done_is_not_dealt_with() {
    for (body, expected) in [
        (
            r#"{"to": ["none", "a"], "data": 1}"#,
            "error invoking output binding none: couldn't find output binding none",
        ),
        (
            r#"{"to": ["none", "a"], "data": 1, "concurrency": "parallel"}"#,
            "error invoking output binding none: couldn't find output binding none",
        ),
        (
            r#"{"storeName": "s", "state": [{"key": "k", "value": 1}]}"#,
            "the state of the app's answer was not saved: state store s is not configured",
        ),
    ] {
        let app = app(200, body).await;
        let mut setup = Setup::new(&app).await;
        let settled = setup.source.send("", &[]).await;
        assert_eq!(settled, Settlement::Failed(expected.to_owned()));
        // In parallel, the one that is there got its data all the same.
        if body.contains("parallel") {
            assert_eq!(setup.output(0).await, "1");
        }
    }
}

#[tokio::test]
async fn after_a_stop_nothing_is_taken_any_more() {
    let app = app(200, "").await;
    let mut setup = Setup::new(&app).await;
    assert_eq!(setup.source.send("", &[]).await, Settlement::Done(None));
    setup.early.stop();
    setup.early.done().await;
    setup.source.put("", &[]).await;
    // It lies where it was put.
    let events = &setup.source.events;
    assert_eq!(events.capacity(), events.max_capacity() - 1);
}
