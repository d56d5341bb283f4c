//! Takes the changes of one subscription to an HTTP app.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use tokio::time::{sleep, timeout};
use tracing::{error, warn};

use super::inbox::{Change, Inbox};
use super::{Item, count_told};
use crate::app_channel::{self, AppChannel, Road};
use crate::base::back_off::BackOff;
use crate::process::log_rate::LogRate;
use crate::registry::Registry;
use crate::resiliency::{ComponentType, Direction, Status, Stopped, Verdict};

/// The first and the longest pause after the app did not take a change.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(10)];
/// How often one change is taken to the app: for some minutes.
const TRIES: u32 = 30;
/// How long the app may take for one.
const ANSWER: Duration = Duration::from_secs(60);

/// What of a name is escaped in a path: all but `unreserved` of RFC 3986.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Takes changes to the app, of each key the newest.
pub(super) struct Delivery {
    pub(super) app: AppChannel,
    pub(super) registry: Arc<Registry>,
    /// The name of the store.
    pub(super) store: String,
    /// The id of the subscription.
    pub(super) id: String,
    pub(super) inbox: Arc<Inbox>,
    pub(super) failures: LogRate,
}

/// What the app is sent, as in Dapr 1.18.
#[derive(Serialize)]
struct Event<'a> {
    id: &'a str,
    items: BTreeMap<&'a str, &'a Item>,
}

/// Why the app did not take a change. The text is for the log.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Call(#[from] app_channel::Error),
    #[error("the app did not answer within {} s", ANSWER.as_secs())]
    TimedOut,
    #[error("the app answered with status code {0}")]
    Status(u16),
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl Delivery {
    /// Takes changes to the app until none will come any more. An app that is not healthy gets
    /// none.
    pub(super) async fn run(self) {
        let mut healthy = self.app.healthy();
        let mut back_off = BackOff::new(PAUSES);
        loop {
            self.inbox.filled().await;
            // Before a change is taken, so that a newer one can come in its place meanwhile.
            if healthy.wait_for(|is_healthy| *is_healthy).await.is_err() {
                return;
            }
            let Some(change) = self.inbox.take().await else {
                return;
            };
            match self.deliver(&change).await {
                Ok(()) => {
                    back_off.end();
                    count_told(&self.store, true);
                }
                Err(refusal) => {
                    self.give_back(change, refusal);
                    sleep(back_off.another()).await;
                }
            }
        }
    }

    /// A change that the app did not take is taken to it again, unless that was tried enough.
    fn give_back(&self, mut change: Change, refusal: Refusal) {
        let (store, key) = (&self.store, &change.key);
        change.failures += 1;
        if change.failures >= TRIES {
            error!(store, key, error = %refusal, "The app is not told of a change any more");
            return count_told(&self.store, false);
        }
        if let Some(left_out) = self.failures.pass() {
            warn!(store, key, error = %refusal, left_out, "The app did not take a change");
        }
        self.inbox.put_back(change);
    }

    /// Delivers a change under the inbound policy of the store.
    async fn deliver(&self, change: &Change) -> Result<(), Refusal> {
        let body = Bytes::from(self.body(change));
        let path = path(&self.store, &change.key);
        let resiliency = Arc::clone(&self.registry.snapshot().resiliency);
        let (kind, direction) = (ComponentType::Configuration, Direction::Inbound);
        let policy = resiliency.component(&self.store, kind, direction);
        let call = |_| Box::pin(post(self.app.clone(), path.clone(), body.clone()));
        policy.run(call, judge).await?
    }

    fn body(&self, change: &Change) -> Vec<u8> {
        let item = Item::from(change.item.clone());
        let event = Event {
            id: &self.id,
            items: [(change.key.as_str(), &item)].into(),
        };
        // Fails for maps whose keys are no strings, which this is not.
        serde_json::to_vec(&event).unwrap_or_default()
    }
}

async fn post(app: AppChannel, path: String, body: Bytes) -> Result<(), Refusal> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    let uri = path.parse::<Uri>();
    *request.uri_mut() = uri.map_err(|_| app_channel::Error::Request)?;
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert(CONTENT_TYPE, json);
    let call = app.call_http(Road::ConfigurationChange, request);
    let answer = timeout(ANSWER, call).await;
    let status = answer.map_err(|_| Refusal::TimedOut)??.status();
    if status.is_success() {
        Ok(())
    } else {
        Err(Refusal::Status(status.as_u16()))
    }
}

fn judge(outcome: &Result<(), Refusal>) -> Verdict {
    match outcome {
        Ok(()) => Verdict::Success,
        Err(Refusal::Status(status)) => Verdict::Failure(Some(Status::Http(*status))),
        Err(_) => Verdict::Failure(None),
    }
}

/// The path at the app. Slashes of a key stay, as in Dapr 1.18, but where a part between them would
/// be no part of a path: nobody who can write to the store may choose where else the app is called.
fn path(store: &str, key: &str) -> String {
    let escaped = |text: &str| utf8_percent_encode(text, ESCAPED).to_string();
    let is_part = |part: &str| !matches!(part, "" | "." | "..");
    let key = if key.split('/').all(is_part) {
        let parts: Vec<_> = key.split('/').map(escaped).collect();
        parts.join("/")
    } else {
        escaped(key).replace('.', "%2E")
    };
    format!("/configuration/{}/{key}", escaped(store))
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn a_key_stays_below_its_store() {
        for (key, expected) in [
            ("a", "/configuration/s/a"),
            ("a.b", "/configuration/s/a.b"),
            ("a/b c", "/configuration/s/a/b%20c"),
            ("a?b#c%d", "/configuration/s/a%3Fb%23c%25d"),
            ("../x", "/configuration/s/%2E%2E%2Fx"),
            ("a//b", "/configuration/s/a%2F%2Fb"),
            ("..", "/configuration/s/%2E%2E"),
            ("ä", "/configuration/s/%C3%A4"),
        ] {
            assert_eq!(path("s", key), expected);
        }
    }
}
