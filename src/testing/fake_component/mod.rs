//! A pluggable component over a Unix socket, with all services of the protocol.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::{Code, Status};

mod answers;
mod queue;
mod state;

pub use queue::Queue;
pub use state::State;

/// What a component was asked, and how it is to answer. It outlives the component's process.
#[derive(Debug)]
pub struct Behaviour {
    /// The messages of its topics.
    pub topics: Queue,
    /// The events of its input binding.
    pub events: Queue,
    /// The values of its state store.
    pub state: State,
    /// The methods that it was asked for, each with its instance.
    calls: Mutex<Vec<(String, String)>>,
    inits: Mutex<Vec<BTreeMap<String, String>>>,
    published: Mutex<Vec<(String, String)>>,
    services: Mutex<Vec<String>>,
    lacking: Mutex<BTreeSet<String>>,
    hanging: Mutex<BTreeSet<String>>,
    failing: Mutex<BTreeMap<String, (Code, String)>>,
}

impl Default for Behaviour {
    fn default() -> Self {
        let services = [
            "PubSub",
            "InputBinding",
            "OutputBinding",
            "SecretStore",
            "StateStore",
            "TransactionalStateStore",
        ];
        let services = services.map(|name| format!("dapr.proto.components.v1.{name}"));
        Self {
            topics: Queue::default(),
            events: Queue::default(),
            state: State::default(),
            calls: Mutex::default(),
            inits: Mutex::default(),
            published: Mutex::default(),
            services: Mutex::new(services.to_vec()),
            lacking: Mutex::default(),
            hanging: Mutex::default(),
            failing: Mutex::default(),
        }
    }
}

impl Behaviour {
    /// The instances that called a method, in order.
    pub fn callers(&self, method: &str) -> Vec<String> {
        let calls = self.calls.lock().unwrap();
        let of_method = calls.iter().filter(|(called, _)| called == method);
        of_method.map(|(_, instance)| instance.clone()).collect()
    }

    /// The settings of each Init, in order.
    pub fn inits(&self) -> Vec<BTreeMap<String, String>> {
        self.inits.lock().unwrap().clone()
    }

    /// What was published: the topics with the texts.
    pub fn published(&self) -> Vec<(String, String)> {
        self.published.lock().unwrap().clone()
    }

    /// Has only these services from now on.
    pub fn serves(&self, services: &[&str]) {
        *self.services.lock().unwrap() = services.iter().copied().map(str::to_owned).collect();
    }

    /// Does not name a feature from now on.
    pub fn lacks(&self, feature: &str) {
        self.lacking.lock().unwrap().insert(feature.to_owned());
    }

    /// Leaves calls of a method without an answer, or answers again.
    pub fn hangs(&self, method: &str, hangs: bool) {
        let mut hanging = self.hanging.lock().unwrap();
        if hangs {
            hanging.insert(method.to_owned());
        } else {
            hanging.remove(method);
        }
    }

    /// Answers calls of a method with a status.
    pub fn fails(&self, method: &str, code: Code, text: &str) {
        let mut failing = self.failing.lock().unwrap();
        failing.insert(method.to_owned(), (code, text.to_owned()));
    }

    /// Answers calls of a method as it should.
    pub fn works(&self, method: &str) {
        self.failing.lock().unwrap().remove(method);
    }

    /// Writes a call down; an error where it is to fail, and no end where it is to hang.
    async fn called(&self, path: &str, request: &Request<Incoming>) -> Result<(), Status> {
        let method = path.rsplit('/').next().unwrap_or_default();
        let instance = request.headers().get("x-component-instance");
        let instance = instance.map(|value| value.to_str().unwrap().to_owned());
        let call = (method.to_owned(), instance.unwrap_or_default());
        self.calls.lock().unwrap().push(call);
        if self.hanging.lock().unwrap().contains(method) {
            std::future::pending::<()>().await;
        }
        match self.failing.lock().unwrap().get(method) {
            Some((code, text)) => Err(Status::new(*code, text)),
            None => Ok(()),
        }
    }
}

/// The process of a component. It ends when it is dropped, and its socket with it.
pub struct FakeComponent {
    path: PathBuf,
    _task: JoinSet<()>,
}

impl FakeComponent {
    /// Serves over a socket of a folder.
    pub fn start(folder: &Path, name: &str, behaviour: &Arc<Behaviour>) -> Self {
        let path = folder.join(format!("{name}.sock"));
        let listener = UnixListener::bind(&path).unwrap();
        let behaviour = Arc::clone(behaviour);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let behaviour = Arc::clone(&behaviour);
                let service = service_fn(move |request| answer(Arc::clone(&behaviour), request));
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                connections.spawn(server.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { path, _task: task }
    }
}

impl Drop for FakeComponent {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn answer(
    behaviour: Arc<Behaviour>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    Ok(match behaviour.called(&path, &request).await {
        Ok(()) => answers::answer(behaviour, &path, request).await,
        Err(status) => status.into_http(),
    })
}
