//! What stands between a store that is reached over the network and those who read from it: limits
//! on time and number, retries, a cache, and what is known of the store's health.

use std::borrow::Cow;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use metrics::Gauge;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{info, warn};

use super::cache::{Cache, Key};
use super::settings::Settings;
use super::{RequestMetadata, SecretMap, SecretStore, Secrets, StoreError};

/// The pause before the first retry; each further one is twice as long, up to the largest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LARGEST_PAUSE: Duration = Duration::from_secs(5);

/// A guarded store.
///
/// Invariant: a read ends within its time, whatever the store does, and holds up no other store.
pub struct Guarded {
    inner: Arc<Inner>,
    cache: Option<Cache>,
}

struct Inner {
    store: Box<dyn SecretStore>,
    settings: Settings,
    turns: Semaphore,
    /// Bulk reads come one after the other, so that their memory has a limit.
    bulk_turns: Semaphore,
    health: Health,
}

impl Guarded {
    /// Guards the store of a component.
    pub fn new(store: Box<dyn SecretStore>, component: &str, settings: Settings) -> Self {
        let inner = Inner {
            store,
            turns: Semaphore::new(settings.max_concurrent_requests),
            bulk_turns: Semaphore::new(1),
            health: Health::new(component),
            settings,
        };
        Self {
            inner: Arc::new(inner),
            cache: Cache::new(component, &settings),
        }
    }
}

#[async_trait]
impl SecretStore for Guarded {
    async fn get(
        &self,
        name: &str,
        metadata: &RequestMetadata,
    ) -> Result<Option<Arc<SecretMap>>, StoreError> {
        let Some(cache) = &self.cache else {
            return self.inner.get(name, metadata).await;
        };
        let inner = Arc::clone(&self.inner);
        cache
            .get(Key::new(name, metadata), |key| async move {
                inner.get(&key.name, &key.metadata).await
            })
            .await
    }

    async fn get_fresh(
        &self,
        name: &str,
        metadata: &RequestMetadata,
    ) -> Result<Option<Arc<SecretMap>>, StoreError> {
        self.inner.get(name, metadata).await
    }

    async fn bulk(&self, metadata: &RequestMetadata) -> Result<Secrets, StoreError> {
        let inner = &self.inner;
        inner
            .read(&inner.bulk_turns, inner.settings.bulk_timeout, || {
                inner.store.bulk(metadata)
            })
            .await
    }

    async fn changed(&self, secrets: &[(String, RequestMetadata)]) {
        self.inner.store.changed(secrets).await;
    }

    fn foreign_namespace<'a>(&self, metadata: &'a RequestMetadata) -> Option<&'a str> {
        self.inner.store.foreign_namespace(metadata)
    }

    fn canonical_name<'a>(&self, name: &'a str) -> Cow<'a, str> {
        self.inner.store.canonical_name(name)
    }

    fn has_multiple_keys(&self) -> bool {
        self.inner.store.has_multiple_keys()
    }

    fn down_since(&self) -> Option<SystemTime> {
        self.inner.health.down_since()
    }
}

impl Inner {
    async fn get(
        &self,
        name: &str,
        metadata: &RequestMetadata,
    ) -> Result<Option<Arc<SecretMap>>, StoreError> {
        self.read(&self.turns, self.settings.request_timeout, || {
            self.store.get(name, metadata)
        })
        .await
    }

    async fn read<T, F>(
        &self,
        turns: &Semaphore,
        time: Duration,
        read: impl Fn() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let deadline = Instant::now() + time;
        let answer = match timeout_at(deadline, self.tries(turns, deadline, read)).await {
            Ok(answer) => answer,
            Err(_) => Err(StoreError::Unavailable {
                text: format!("it did not answer within {time:?}"),
                retry_after: None,
            }),
        };
        self.health.tell(answer.as_ref().err());
        answer
    }

    async fn tries<T, F>(
        &self,
        turns: &Semaphore,
        deadline: Instant,
        read: impl Fn() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let mut retries = 0;
        loop {
            let answer = {
                // It is never closed. Nobody holds a turn while it pauses.
                let _turn = turns.acquire().await;
                read().await
            };
            let Err(StoreError::Unavailable { retry_after, .. }) = &answer else {
                return answer;
            };
            let pause = retry_after.unwrap_or_else(|| jittered(retries));
            // A pause beyond the end would hide why.
            if retries == self.settings.max_retries || Instant::now() + pause >= deadline {
                return answer;
            }
            sleep(pause).await;
            retries += 1;
        }
    }
}

/// A random part of a pause that grows, so that many readers do not come back together.
fn jittered(retries: u32) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(1 << retries.min(10));
    longest.min(LARGEST_PAUSE).mul_f64(fastrand::f64())
}

/// Whether the store answers. Told once when it changes.
struct Health {
    component: String,
    up: Gauge,
    down_since: Mutex<Option<SystemTime>>,
}

impl Health {
    fn new(component: &str) -> Self {
        let up = metrics::gauge!("sidegate_secret_store_up", "component" => component.to_owned());
        up.set(1.0);
        Self {
            component: component.to_owned(),
            up,
            down_since: Mutex::new(None),
        }
    }

    fn down_since(&self) -> Option<SystemTime> {
        *self.lock()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<SystemTime>> {
        self.down_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, error: Option<&StoreError>) {
        let component = &self.component;
        match error {
            None => {
                if self.lock().take().is_some() {
                    self.up.set(1.0);
                    info!(component, "A secret store answers again");
                }
            }
            Some(error @ (StoreError::Unavailable { .. } | StoreError::Unauthenticated(_))) => {
                let was_up = {
                    let mut down_since = self.lock();
                    let was_up = down_since.is_none();
                    down_since.get_or_insert_with(SystemTime::now);
                    was_up
                };
                if was_up {
                    self.up.set(0.0);
                    warn!(component, %error, "A secret store does not answer");
                }
            }
            // The store is there; this one read failed.
            Some(StoreError::Failed(_) | StoreError::ListForbidden(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::base::secret::Secret;
    use crate::components::secret_store::single;
    use crate::testing::eventually::eventually;

    /// Answers what `answer` makes of the number of the read.
    struct Scripted<A>(Arc<AtomicUsize>, A);

    #[async_trait]
    impl<A> SecretStore for Scripted<A>
    where
        A: Fn(usize) -> Result<Option<&'static str>, StoreError> + Send + Sync,
    {
        async fn get(
            &self,
            name: &str,
            _: &RequestMetadata,
        ) -> Result<Option<Arc<SecretMap>>, StoreError> {
            if name == "hang" {
                std::future::pending::<()>().await;
            }
            let number = self.0.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            let value = (self.1)(number)?;
            Ok(value.map(|value| single(name, Secret::new(value))))
        }

        async fn bulk(&self, _: &RequestMetadata) -> Result<Secrets, StoreError> {
            std::future::pending().await
        }
    }

    fn guarded<A>(settings: Settings, answer: A) -> (Guarded, Arc<AtomicUsize>)
    where
        A: Fn(usize) -> Result<Option<&'static str>, StoreError> + Send + Sync + 'static,
    {
        let reads = Arc::new(AtomicUsize::new(0));
        let store = Scripted(Arc::clone(&reads), answer);
        (Guarded::new(Box::new(store), "c", settings), reads)
    }

    fn busy(retry_after: Option<Duration>) -> StoreError {
        StoreError::Unavailable {
            text: "busy".to_owned(),
            retry_after,
        }
    }

    async fn value(store: &Guarded, name: &str) -> Result<Option<String>, String> {
        let answer = store.get(name, &RequestMetadata::new()).await;
        let value = |secret: Arc<SecretMap>| secret[name].expose().to_owned();
        answer
            .map(|secret| secret.map(value))
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn tries_again_what_a_retry_may_heal() {
        let answer = |number| {
            if number < 3 {
                Err(busy(None))
            } else {
                Ok(Some("v"))
            }
        };
        let patient = Settings {
            request_timeout: Duration::from_secs(60),
            ..Settings::default()
        };
        let (store, reads) = guarded(patient, answer);
        assert_eq!(value(&store, "n").await, Ok(Some("v".to_owned())));
        assert_eq!(reads.load(Ordering::Relaxed), 4);
        let (store, reads) = guarded(patient, |_| Err(busy(None)));
        assert_eq!(value(&store, "n").await, Err("busy".to_owned()));
        assert_eq!(reads.load(Ordering::Relaxed), 4);
        for error in [
            StoreError::Failed("no".to_owned()),
            StoreError::Unauthenticated("no".to_owned()),
        ] {
            let (store, reads) = guarded(Settings::default(), move |_| Err(error.clone()));
            assert_eq!(value(&store, "n").await, Err("no".to_owned()));
            assert_eq!(reads.load(Ordering::Relaxed), 1);
        }
    }

    #[tokio::test]
    async fn waits_as_long_as_the_store_asks_but_never_past_the_end() {
        let start = Instant::now();
        let second = Some(Duration::from_secs(1));
        let answer = move |number| {
            if number == 0 {
                Err(busy(second))
            } else {
                Ok(None)
            }
        };
        let settings = Settings {
            request_timeout: Duration::from_secs(60),
            ..Settings::default()
        };
        let (store, _) = guarded(settings, answer);
        assert_eq!(value(&store, "n").await, Ok(None));
        assert!(start.elapsed() >= Duration::from_secs(1));
        let hour = Some(Duration::from_secs(3600));
        let (store, reads) = guarded(settings, move |_| Err(busy(hour)));
        assert_eq!(value(&store, "n").await, Err("busy".to_owned()));
        assert_eq!(reads.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_store_that_hangs_is_given_up_and_told_once() {
        let settings = Settings {
            request_timeout: Duration::from_millis(100),
            bulk_timeout: Duration::from_millis(100),
            max_concurrent_requests: 1,
            ..Settings::default()
        };
        let (store, _) = guarded(settings, |_| Ok(Some("v")));
        assert!(store.down_since().is_none());
        let late = Err("it did not answer within 100ms".to_owned());
        // The second waits for the turn of the first, and not for longer than its own time.
        let both = tokio::join!(value(&store, "hang"), value(&store, "hang"));
        assert_eq!(both.0, late);
        assert_eq!(both.1, late);
        assert!(store.down_since().is_some());
        let bulk = store.bulk(&RequestMetadata::new()).await.unwrap_err();
        assert_eq!(bulk.to_string(), "it did not answer within 100ms");
        eventually("it answers again", async || {
            let answer = value(&store, "n").await;
            (answer == Ok(Some("v".to_owned()))).then_some(())
        })
        .await;
        assert!(store.down_since().is_none());
    }
}
