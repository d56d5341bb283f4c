//! An app that counts every message: which came, how often, and in which order.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde_json::Value;
use sidegate::process::serve::Plain;
use sidegate::testing::eventually::eventually;
use sidegate::testing::listening::listen;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// How the app behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It takes every message at once.
    Well,
    /// It takes every message after this time.
    Slow(Duration),
    /// It answers everything with 503.
    Down,
    /// It answers every tenth with 500.
    Moody,
    /// It never answers.
    Stuck,
}

/// What came.
#[derive(Debug, Default)]
struct Ledger {
    /// How often each message was taken.
    taken: BTreeMap<u64, u32>,
    /// In which order they were taken the first time.
    order: Vec<u64>,
    /// How many requests with a message there were, those that were refused with them.
    asked: u64,
}

/// An app on a free port of 127.0.0.1 that takes messages `{"id": N}` at any path, by themselves or
/// in an event. It ends when it is dropped.
pub(crate) struct CountingApp {
    address: SocketAddr,
    ledger: Arc<Mutex<Ledger>>,
    mood: Arc<Mutex<Mood>>,
    _task: JoinSet<()>,
}

impl CountingApp {
    /// An app that is well.
    pub(crate) async fn start() -> Self {
        let (ledger, mood) = (Arc::default(), Arc::new(Mutex::new(Mood::Well)));
        let (book, state) = (Arc::clone(&ledger), Arc::clone(&mood));
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let (book, state) = (Arc::clone(&book), Arc::clone(&state));
            async move { Ok::<_, Infallible>(answer(request, &book, &state).await) }
        });
        let (address, task) = listen(Plain, service).await;
        Self {
            address,
            ledger,
            mood,
            _task: task,
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it behaves from now on.
    pub(crate) fn turn(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// How many different messages it has.
    pub(crate) fn count(&self) -> usize {
        self.ledger.lock().unwrap().taken.len()
    }

    /// How many requests with a message there were, those that were refused with them.
    pub(crate) fn asked(&self) -> u64 {
        self.ledger.lock().unwrap().asked
    }

    /// The messages in the order in which they were taken the first time.
    pub(crate) fn order(&self) -> Vec<u64> {
        self.ledger.lock().unwrap().order.clone()
    }

    /// Waits until all of these messages came, and prints how many came more than once. As long as
    /// more and more come it waits on; what never comes is named.
    pub(crate) async fn has_all(&self, what: &str, ids: impl IntoIterator<Item = u64>) {
        let mut missing: Vec<_> = ids.into_iter().collect();
        let published = missing.len();
        while !missing.is_empty() {
            let before = missing.len();
            let names = name(&missing);
            eventually(&format!("{what}: another of {names} comes"), async || {
                let ledger = self.ledger.lock().unwrap();
                missing.retain(|id| !ledger.taken.contains_key(id));
                (missing.len() < before).then_some(())
            })
            .await;
        }
        let ledger = self.ledger.lock().unwrap();
        let twice = ledger.taken.values().filter(|&&times| times > 1).count();
        let asked = ledger.asked;
        println!("{what}: {published} published, 0 lost, {twice} came twice, {asked} requests");
    }
}

/// The first of some messages, and how many there are.
fn name(ids: &[u64]) -> String {
    let first = &ids[..ids.len().min(10)];
    format!("{} messages {first:?}", ids.len())
}

async fn answer(
    request: Request<Incoming>,
    ledger: &Mutex<Ledger>,
    mood: &Mutex<Mood>,
) -> Response<Full<Bytes>> {
    let method = request.method().clone();
    // A body that breaks off never was a whole request.
    let Ok(body) = request.into_body().collect().await else {
        return Response::default();
    };
    match (&method, id(&body.to_bytes())) {
        (&Method::POST, Some(id)) => take(id, ledger, mood).await,
        // Whether it wants a binding.
        (&Method::OPTIONS, _) => Response::default(),
        // What it subscribes to, and other questions.
        _ => with(StatusCode::NOT_FOUND),
    }
}

/// The id of the message in a body, whether it is an event or not.
fn id(body: &[u8]) -> Option<u64> {
    let value: Value = serde_json::from_slice(body).ok()?;
    value.get("data").unwrap_or(&value)["id"].as_u64()
}

async fn take(id: u64, ledger: &Mutex<Ledger>, mood: &Mutex<Mood>) -> Response<Full<Bytes>> {
    let mood = *mood.lock().unwrap();
    let asked = {
        let mut ledger = ledger.lock().unwrap();
        ledger.asked += 1;
        ledger.asked
    };
    match mood {
        Mood::Well => {}
        Mood::Slow(time) => {
            let _ = timeout_at(Instant::now() + time, std::future::pending::<()>()).await;
        }
        Mood::Down => return with(StatusCode::SERVICE_UNAVAILABLE),
        Mood::Moody if asked.is_multiple_of(10) => {
            return with(StatusCode::INTERNAL_SERVER_ERROR);
        }
        Mood::Moody => {}
        Mood::Stuck => std::future::pending().await,
    }
    let mut ledger = ledger.lock().unwrap();
    let times = ledger.taken.entry(id).or_default();
    *times += 1;
    if *times == 1 {
        ledger.order.push(id);
    }
    Response::default()
}

fn with(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}
