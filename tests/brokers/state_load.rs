//! Writers of state that keep books: what a sidecar acknowledged has to be in the store, and no two
//! of them may have replaced the same value.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use sidegate::testing::eventually::{eventually, in_time};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How many writers of each sort there are, each at a key of its own.
const WRITERS: usize = 3;
/// How many change the same list at once, under its ETag.
const APPENDERS: usize = 4;
/// How long a list gets, so that the last write of it is not much longer than the first.
const LONGEST: usize = 100;
/// After an error or a conflict, so that a server which is down is not asked all the time.
const PAUSE: Duration = Duration::from_millis(10);

/// Calls the API of state of the component `store`, on connections that it keeps.
#[derive(Clone)]
pub(crate) struct StateClient {
    http: Client<HttpConnector, Full<Bytes>>,
    url: String,
}

impl StateClient {
    /// Calls a sidecar.
    pub(crate) fn of(sidecar: SocketAddr) -> Self {
        Self {
            http: Client::builder(TokioExecutor::new()).build_http(),
            url: format!("http://{sidecar}/v1.0/state/store"),
        }
    }

    /// What the sidecar answers, where it answers at all.
    pub(crate) async fn get(&self, key: &str) -> Option<Response<Bytes>> {
        let request = Request::get(format!("{}/{key}?consistency=strong", self.url));
        self.call(request.body(Full::default()).unwrap()).await
    }

    /// Writes one value, as `{"key": …}` and more.
    pub(crate) async fn save(&self, item: &Value) -> Option<Response<Bytes>> {
        self.post("", &json!([item])).await
    }

    /// Writes these values at once, or none of them.
    pub(crate) async fn transact(&self, items: &[Value]) -> Option<Response<Bytes>> {
        let upsert = |item| json!({"operation": "upsert", "request": item});
        let operations: Vec<_> = items.iter().map(upsert).collect();
        let body = json!({ "operations": operations });
        self.post("/transaction", &body).await
    }

    async fn post(&self, path: &str, body: &Value) -> Option<Response<Bytes>> {
        let request = Request::post(format!("{}{path}", self.url))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(body.to_string()))
            .unwrap();
        self.call(request).await
    }

    async fn call(&self, request: Request<Full<Bytes>>) -> Option<Response<Bytes>> {
        let answer = async {
            let (head, body) = self.http.request(request).await.ok()?.into_parts();
            let body = body.collect().await.ok()?.to_bytes();
            Some(Response::from_parts(head, body))
        };
        in_time("the sidecar answers", answer).await
    }
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Acknowledged,
    Conflict,
    /// It may be in the store, or come to it later.
    Unknown,
}

/// Asserts that an answer is success, a conflict, or the error that `code` names and no detail of
/// the store.
fn judge(answer: Option<Response<Bytes>>, code: &str) -> Outcome {
    let Some(answer) = answer else {
        return Outcome::Unknown;
    };
    match answer.status() {
        StatusCode::OK | StatusCode::NO_CONTENT => Outcome::Acknowledged,
        StatusCode::CONFLICT => Outcome::Conflict,
        _ => {
            assert_unavailable(&answer, code);
            Outcome::Unknown
        }
    }
}

/// Asserts that an answer is 500 with an errorCode, and tells nothing of the store's address.
pub(crate) fn assert_unavailable(answer: &Response<Bytes>, code: &str) {
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    assert_eq!(answer.status(), 500, "{body}");
    assert_eq!(body["errorCode"], code, "{body}");
    let message = body["message"].as_str().unwrap();
    let tells = message.is_empty() || message.contains("127.0.0.1") || message.contains("hunter2");
    assert!(!tells, "{message}");
}

/// A number at a key that one writer counts up.
#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    acknowledged: u64,
    attempted: u64,
}

/// What happened so far.
#[derive(Debug, Default)]
struct Books {
    /// By key, and by the first of two keys that are written together.
    numbers: BTreeMap<String, Numbers>,
    pairs: BTreeMap<String, Numbers>,
    /// By key of a list, the entries of which an append was acknowledged, and of all appends.
    appended: BTreeMap<String, BTreeSet<String>>,
    attempted: BTreeSet<String>,
    writes: u64,
    unknown: u64,
    conflicts: u64,
}

impl Books {
    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Acknowledged => self.writes += 1,
            Outcome::Conflict => self.conflicts += 1,
            Outcome::Unknown => self.unknown += 1,
        }
    }
}

/// Writers that are under way until it is dropped.
pub(crate) struct Load {
    client: StateClient,
    name: &'static str,
    books: Arc<Mutex<Books>>,
    stop: CancellationToken,
    writers: JoinSet<()>,
}

impl Load {
    /// Starts them, at keys that begin with a name and that nobody else has.
    pub(crate) fn on(client: StateClient, name: &'static str) -> Self {
        let mut load = Self {
            client,
            name,
            books: Arc::default(),
            stop: CancellationToken::new(),
            writers: JoinSet::new(),
        };
        for number in 0..WRITERS {
            load.writers.spawn(load.writer().numbers(number));
            load.writers.spawn(load.writer().pairs(number));
        }
        for number in 0..APPENDERS {
            load.writers.spawn(load.writer().lists(number));
        }
        load
    }

    fn writer(&self) -> Writer {
        Writer {
            client: self.client.clone(),
            name: self.name,
            books: Arc::clone(&self.books),
            stop: self.stop.clone(),
        }
    }

    /// Waits until so many more writes were acknowledged.
    pub(crate) async fn goes_on(&mut self, writes: u64) {
        let wanted = self.books.lock().unwrap().writes + writes;
        eventually("more writes are acknowledged", async || {
            self.has_not_failed();
            (self.books.lock().unwrap().writes >= wanted).then_some(())
        })
        .await;
    }

    /// Waits until one more write has no known outcome.
    pub(crate) async fn fails(&mut self) {
        let before = self.books.lock().unwrap().unknown;
        eventually("a write fails", async || {
            self.has_not_failed();
            (self.books.lock().unwrap().unknown > before).then_some(())
        })
        .await;
    }

    /// A writer ends early by panicking only.
    fn has_not_failed(&mut self) {
        while let Some(ended) = self.writers.try_join_next() {
            ended.unwrap();
        }
    }

    /// Stops the writers, and compares the store with their books.
    pub(crate) async fn holds(mut self, what: &str) {
        self.stop.cancel();
        while let Some(ended) = self.writers.join_next().await {
            ended.unwrap();
        }
        let books = std::mem::take(&mut *self.books.lock().unwrap());
        for (key, numbers) in &books.numbers {
            let stored = self.stored(key).await.as_u64().unwrap_or_default();
            let range = numbers.acknowledged..=numbers.attempted;
            assert!(
                range.contains(&stored),
                "{what}: {key}: {stored}, {numbers:?}"
            );
        }
        for (key, numbers) in &books.pairs {
            let stored = self.stored(key).await.as_u64().unwrap_or_default();
            let range = numbers.acknowledged..=numbers.attempted;
            assert!(
                range.contains(&stored),
                "{what}: {key}: {stored}, {numbers:?}"
            );
            let other = self.stored(&second(key)).await.as_u64().unwrap_or_default();
            assert_eq!(stored, other, "{what}: half a transaction at {key}");
        }
        for (key, acknowledged) in &books.appended {
            let list = entries(&self.stored(key).await);
            let stored: BTreeSet<_> = list.iter().cloned().collect();
            assert_eq!(stored.len(), list.len(), "{what}: {key}: twice: {list:?}");
            let lost: Vec<_> = acknowledged.difference(&stored).collect();
            assert!(
                lost.is_empty(),
                "{what}: {key}: overwritten or lost: {lost:?}"
            );
            assert!(
                stored.is_subset(&books.attempted),
                "{what}: {key}: {list:?}"
            );
        }
        println!(
            "{what}: {} acknowledged, 0 lost, {} conflicts, {} failed",
            books.writes, books.conflicts, books.unknown
        );
        assert!(books.conflicts > 0, "{what}: nobody was in another's way");
    }

    async fn stored(&self, key: &str) -> Value {
        eventually("the value is read", async || {
            let answer = self.client.get(key).await?;
            match answer.status() {
                StatusCode::OK => Some(serde_json::from_slice(answer.body()).unwrap()),
                StatusCode::NO_CONTENT => Some(Value::Null),
                _ => None,
            }
        })
        .await
    }
}

/// The key that is written together with another one.
fn second(key: &str) -> String {
    format!("{key}-second")
}

fn entries(list: &Value) -> Vec<String> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |entry: &Value| entry.as_str().unwrap().to_owned();
    list.iter().map(text).collect()
}

/// One writer.
struct Writer {
    client: StateClient,
    name: &'static str,
    books: Arc<Mutex<Books>>,
    stop: CancellationToken,
}

impl Writer {
    /// Counts up a number. After a failure it goes on at another key: nobody can say when a write
    /// without an ETag that is still on its way arrives.
    async fn numbers(self, writer: usize) {
        let mut pause = pause();
        let mut failures = 0;
        while !self.stop.is_cancelled() {
            let key = format!("{}-number-{writer}-{failures}", self.name);
            let number = self.attempt(|books| &mut books.numbers, &key);
            let item = json!({"key": key, "value": number});
            let outcome = judge(self.client.save(&item).await, "ERR_STATE_SAVE");
            self.book(|books| &mut books.numbers, &key, outcome);
            if outcome == Outcome::Unknown {
                failures += 1;
                pause.tick().await;
            }
        }
    }

    /// The same with two keys in one transaction.
    async fn pairs(self, writer: usize) {
        let mut pause = pause();
        let mut failures = 0;
        while !self.stop.is_cancelled() {
            let key = format!("{}-pair-{writer}-{failures}", self.name);
            let number = self.attempt(|books| &mut books.pairs, &key);
            let item = |key: &str| json!({"key": key, "value": number});
            let items = [item(&key), item(&second(&key))];
            let outcome = judge(self.client.transact(&items).await, "ERR_STATE_TRANSACTION");
            self.book(|books| &mut books.pairs, &key, outcome);
            if outcome == Outcome::Unknown {
                failures += 1;
                pause.tick().await;
            }
        }
    }

    fn attempt(
        &self,
        table: impl Fn(&mut Books) -> &mut BTreeMap<String, Numbers>,
        key: &str,
    ) -> u64 {
        let mut books = self.books.lock().unwrap();
        let numbers = table(&mut books).entry(key.to_owned()).or_default();
        numbers.attempted += 1;
        numbers.attempted
    }

    fn book(
        &self,
        table: impl Fn(&mut Books) -> &mut BTreeMap<String, Numbers>,
        key: &str,
        outcome: Outcome,
    ) {
        assert_ne!(
            outcome,
            Outcome::Conflict,
            "{key}: nobody asked for an ETag"
        );
        let mut books = self.books.lock().unwrap();
        books.count(outcome);
        if outcome == Outcome::Acknowledged {
            let numbers = table(&mut books).get_mut(key).unwrap();
            numbers.acknowledged = numbers.attempted;
        }
    }

    /// Appends to lists that others append to as well, each time under the ETag that it has read.
    async fn lists(self, writer: usize) {
        let mut pause = pause();
        let (mut list, mut longest) = (0, 0);
        let mut turn = 0_u64;
        while !self.stop.is_cancelled() {
            turn += 1;
            let key = format!("{}-list-{list}", self.name);
            let Some((mut found, etag)) = self.read(&key).await else {
                pause.tick().await;
                continue;
            };
            assert!(
                found.len() >= longest,
                "{key} had {longest} entries: {found:?}"
            );
            longest = found.len();
            if longest >= LONGEST {
                (list, longest) = (list + 1, 0);
                continue;
            }
            let entry = format!("{writer}-{turn}");
            found.push(entry.clone());
            self.books.lock().unwrap().attempted.insert(entry.clone());
            let mut item = json!({"key": key, "value": found});
            // Without an ETag, first-write creates the list or conflicts.
            item["options"] = json!({"concurrency": "first-write", "consistency": "strong"});
            if let Some(etag) = etag {
                item["etag"] = json!(etag);
            }
            let outcome = judge(self.client.save(&item).await, "ERR_STATE_SAVE");
            {
                let mut books = self.books.lock().unwrap();
                books.count(outcome);
                if outcome == Outcome::Acknowledged {
                    books.appended.entry(key).or_default().insert(entry);
                    longest = found.len();
                }
            }
            if outcome != Outcome::Acknowledged {
                pause.tick().await;
            }
        }
    }

    /// A list with its ETag, where there is an answer.
    async fn read(&self, key: &str) -> Option<(Vec<String>, Option<String>)> {
        let answer = self.client.get(key).await?;
        match answer.status() {
            StatusCode::OK => {
                let list = serde_json::from_slice(answer.body()).unwrap();
                let etag = answer.headers()[ETAG].to_str().unwrap().to_owned();
                Some((entries(&list), Some(etag)))
            }
            StatusCode::NO_CONTENT => Some((Vec::new(), None)),
            _ => {
                assert_unavailable(&answer, "ERR_STATE_GET");
                None
            }
        }
    }
}

/// Ticks that do not catch up.
fn pause() -> tokio::time::Interval {
    let mut pause = interval(PAUSE);
    pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pause
}
