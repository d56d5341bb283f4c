//! The keys of an issuer, kept and read again.
//!
//! Whoever sends tokens decides which keys are asked for, so that the issuer is asked once a minute
//! at most, and by one request at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::timeout;
use tracing::{info, warn};

use super::jwks::{Key, KeySet};
use super::source::Source;

/// The time of one reading: two answers at most. A component has five seconds to start.
const READ_TIME: Duration = Duration::from_secs(4);
/// The shortest time between two readings.
const PAUSE: Duration = Duration::from_secs(60);
/// Keys that were read before this time are read again: the issuer may have withdrawn one.
const MAX_AGE: Duration = Duration::from_secs(600);

type Reading = Shared<BoxFuture<'static, ()>>;

/// The keys of one issuer. Those that were read last count, also while it cannot be reached.
pub(super) struct Keys {
    store: Arc<Store>,
    reading: Mutex<LastReading>,
}

struct Store {
    component: String,
    source: Source,
    current: ArcSwap<Current>,
}

struct Current {
    keys: KeySet,
    read_at: Instant,
}

struct LastReading {
    began: Instant,
    /// Shared, so that it goes on when the request leaves that began it.
    future: Option<Reading>,
}

impl Keys {
    /// Reads the keys for the first time.
    ///
    /// # Errors
    ///
    /// A text for operators.
    pub(super) async fn start(
        component: &str,
        source: Source,
        now: Instant,
    ) -> Result<Self, String> {
        let keys = read(&source).await?;
        let store = Store {
            component: component.to_owned(),
            source,
            current: ArcSwap::from_pointee(Current { keys, read_at: now }),
        };
        store.set_stale(false);
        Ok(Self {
            store: Arc::new(store),
            reading: Mutex::new(LastReading {
                began: now,
                future: None,
            }),
        })
    }

    /// The key of an id. One that is not known may be new, and is looked for at the issuer.
    pub(super) async fn find(&self, id: &str, now: Instant) -> Option<Key> {
        let age = now.saturating_duration_since(self.store.current.load().read_at);
        if age >= MAX_AGE
            && let Some(reading) = self.reading(now, false)
        {
            reading.await;
        }
        let known = |store: &Store| store.current.load().keys.find(id).cloned();
        if let Some(key) = known(&self.store) {
            return Some(key);
        }
        self.reading(now, true)?.await;
        known(&self.store)
    }

    /// A reading, where it is time for one: the one that is under way, or one that begins here.
    /// Who has keys to go on with does not join, unless the one who began seems to have left.
    fn reading(&self, now: Instant, joins: bool) -> Option<Reading> {
        let mut last = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let is_early = now.saturating_duration_since(last.began) < PAUSE;
        let under_way = last.future.as_ref().filter(|one| one.peek().is_none());
        if let Some(under_way) = under_way {
            return (joins || !is_early).then(|| under_way.clone());
        }
        if is_early {
            return None;
        }
        let store = Arc::clone(&self.store);
        let reading = async move { store.refresh(now).await }.boxed().shared();
        *last = LastReading {
            began: now,
            future: Some(reading.clone()),
        };
        Some(reading)
    }
}

impl Store {
    async fn refresh(&self, now: Instant) {
        match read(&self.source).await {
            Ok(keys) => {
                self.current.store(Arc::new(Current { keys, read_at: now }));
                self.set_stale(false);
                info!(component = self.component, "Read the keys of the issuer");
            }
            Err(problem) => {
                self.set_stale(true);
                warn!(
                    component = self.component,
                    error = problem,
                    "The keys of the issuer cannot be read; those that were read last count"
                );
            }
        }
    }

    fn set_stale(&self, is_stale: bool) {
        metrics::gauge!("sidegate_middleware_keys_stale",
            "component" => self.component.clone())
        .set(f64::from(u8::from(is_stale)));
    }
}

async fn read(source: &Source) -> Result<KeySet, String> {
    match timeout(READ_TIME, source.read()).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {READ_TIME:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::issuer::{Issuer, SigningKey};
    use std::task::Poll;

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    async fn started() -> (Issuer, Keys, Instant) {
        let issuer = Issuer::start(&[&SigningKey::p256("old")]).await;
        let now = Instant::now();
        let source = Source::discovery(&issuer.url()).unwrap();
        let keys = Keys::start("auth", source, now).await.unwrap();
        assert_eq!(issuer.readings(), 1);
        (issuer, keys, now)
    }

    #[tokio::test]
    async fn a_new_key_is_looked_for_once_a_minute_at_most() {
        let (issuer, keys, start) = started().await;
        issuer.publish(&[&SigningKey::p256("new")]);
        for second in 0..60 {
            assert!(keys.find("new", start + seconds(second)).await.is_none());
        }
        assert_eq!(issuer.readings(), 1);
        let finding = (0..100).map(|_| keys.find("new", start + seconds(60)));
        let found = futures_util::future::join_all(finding).await;
        assert!(found.iter().all(Option::is_some));
        assert_eq!(issuer.readings(), 2);
        // Those who asked before it was read do not read it again, and the old one is gone.
        assert!(keys.find("old", start + seconds(60)).await.is_none());
        for number in 0..100 {
            let unknown = format!("unknown {number}");
            assert!(keys.find(&unknown, start + seconds(61)).await.is_none());
        }
        assert_eq!(issuer.readings(), 2);
    }

    #[tokio::test]
    async fn keys_are_read_again_after_a_while_and_kept_while_the_issuer_is_down() {
        let (issuer, keys, start) = started().await;
        assert!(keys.find("old", start + seconds(599)).await.is_some());
        assert_eq!(issuer.readings(), 1);
        issuer.fail(true);
        for second in 600..659 {
            assert!(keys.find("old", start + seconds(second)).await.is_some());
        }
        assert_eq!(issuer.readings(), 2);
        issuer.fail(false);
        issuer.publish(&[&SigningKey::p256("new")]);
        assert!(keys.find("old", start + seconds(660)).await.is_none());
        assert!(keys.find("new", start + seconds(661)).await.is_some());
        assert_eq!(issuer.readings(), 3);
    }

    #[tokio::test]
    async fn a_reading_goes_on_when_the_request_leaves_that_began_it() {
        let (issuer, keys, start) = started().await;
        issuer.publish(&[&SigningKey::p256("new")]);
        let mut leaving = Box::pin(keys.find("new", start + seconds(60)));
        let first = futures_util::poll!(leaving.as_mut());
        assert!(matches!(first, Poll::Pending));
        drop(leaving);
        assert!(keys.find("new", start + seconds(61)).await.is_some());
        assert_eq!(issuer.readings(), 2);
    }
}
