//! Secrets that were read lately, and reads of one secret that become one.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use metrics::Counter;
use quick_cache::Weighter;
use quick_cache::sync::Cache as BoundedCache;
use tokio::time::Instant;

use super::bulk::size;
use super::settings::Settings;
use super::{RequestMetadata, SecretMap, StoreError};

/// What an entry takes beside its texts, about.
const ENTRY_BYTES: u64 = 256;
/// A guess at the size of an entry, by which room is set aside.
const USUAL_BYTES: u64 = 1024;

type Answer = Result<Option<Arc<SecretMap>>, StoreError>;
type Read = BoxFuture<'static, Answer>;

/// What a read asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) metadata: RequestMetadata,
}

impl Key {
    pub(super) fn new(name: &str, metadata: &RequestMetadata) -> Self {
        Self {
            name: name.to_owned(),
            metadata: metadata.clone(),
        }
    }
}

/// The cache of one store, of a bounded number of bytes.
///
/// Invariant: a secret that the store refused, or no longer has, is not handed out again.
pub(super) struct Cache {
    ttl: Duration,
    stale_if_error: Duration,
    entries: Arc<BoundedCache<Key, Entry, Bytes>>,
    under_way: Arc<Mutex<HashMap<Key, WeakShared<Read>>>>,
    meters: Meters,
}

#[derive(Clone)]
struct Entry {
    secret: Arc<SecretMap>,
    read_at: Instant,
}

struct Meters {
    hit: Counter,
    joined: Counter,
    miss: Counter,
    stale: Counter,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Key, Entry> for Bytes {
    fn weight(&self, key: &Key, entry: &Entry) -> u64 {
        let texts = key
            .metadata
            .iter()
            .map(|(name, value)| name.len() + value.len());
        let bytes = key.name.len() + texts.sum::<usize>() + size(&entry.secret);
        bytes as u64 + ENTRY_BYTES
    }
}

impl Cache {
    /// The cache that the settings ask for, if they do.
    pub(super) fn new(component: &str, settings: &Settings) -> Option<Self> {
        if settings.cache_ttl.is_zero() && settings.stale_if_error.is_zero() {
            return None;
        }
        let bytes = settings.cache_max_bytes;
        let items = usize::try_from(bytes / USUAL_BYTES).unwrap_or(usize::MAX);
        Some(Self {
            ttl: settings.cache_ttl,
            stale_if_error: settings.stale_if_error,
            entries: Arc::new(BoundedCache::with_weighter(items, bytes, Bytes)),
            under_way: Arc::default(),
            meters: Meters::new(component),
        })
    }

    /// The secret of a key: one that was read within the time, else what `read` gets. Equal reads
    /// that meet become one, whose answer all of them get, also where the first reader leaves.
    pub(super) async fn get<F>(
        &self,
        key: Key,
        read: impl FnOnce(Key) -> F + Send + 'static,
    ) -> Answer
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        self.get_at(Instant::now(), key, read).await
    }

    async fn get_at<F>(
        &self,
        now: Instant,
        key: Key,
        read: impl FnOnce(Key) -> F + Send + 'static,
    ) -> Answer
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let kept = self.entries.get(&key);
        let age = |entry: &Entry| now.saturating_duration_since(entry.read_at);
        if let Some(entry) = &kept
            && age(entry) < self.ttl
        {
            self.meters.hit.increment(1);
            return Ok(Some(Arc::clone(&entry.secret)));
        }
        let answer = self.join(now, key, read).await;
        match (answer, kept) {
            (Err(error @ StoreError::Unavailable { .. }), Some(entry)) => {
                let longest = self.ttl.saturating_add(self.stale_if_error);
                if age(&entry) < longest {
                    self.meters.stale.increment(1);
                    Ok(Some(entry.secret))
                } else {
                    Err(error)
                }
            }
            (answer, _) => answer,
        }
    }

    /// The read that is under way for a key, or a new one that begins now.
    fn join<F>(
        &self,
        read_at: Instant,
        key: Key,
        read: impl FnOnce(Key) -> F + Send + 'static,
    ) -> Shared<Read>
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let mut under_way = lock(&self.under_way);
        if let Some(read) = under_way.get(&key).and_then(WeakShared::upgrade) {
            self.meters.joined.increment(1);
            return read;
        }
        self.meters.miss.increment(1);
        let entries = Arc::clone(&self.entries);
        let ended = Ended {
            key: key.clone(),
            under_way: Arc::clone(&self.under_way),
        };
        let reading = async move {
            let ended = ended;
            let key = ended.key.clone();
            // What was read is as old as the beginning of its read.
            let answer = read(key.clone()).await;
            match &answer {
                Ok(Some(secret)) => {
                    let secret = Arc::clone(secret);
                    entries.insert(key, Entry { secret, read_at });
                }
                // It stays for `staleIfError`.
                Err(StoreError::Unavailable { .. }) => {}
                Ok(None) | Err(_) => {
                    entries.remove(&key);
                }
            }
            answer
        };
        let read = reading.boxed().shared();
        if let Some(weak) = read.downgrade() {
            under_way.insert(key, weak);
        }
        read
    }
}

impl Meters {
    fn new(component: &str) -> Self {
        let counter = |outcome: &'static str| {
            metrics::counter!("sidegate_secret_cache_total",
                "component" => component.to_owned(), "outcome" => outcome)
        };
        Self {
            hit: counter("hit"),
            joined: counter("joined"),
            miss: counter("miss"),
            stale: counter("stale"),
        }
    }
}

/// Forgets a read when it is done, or when everybody left.
struct Ended {
    key: Key,
    under_way: Arc<Mutex<HashMap<Key, WeakShared<Read>>>>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        lock(&self.under_way).remove(&self.key);
    }
}

fn lock(
    under_way: &Mutex<HashMap<Key, WeakShared<Read>>>,
) -> std::sync::MutexGuard<'_, HashMap<Key, WeakShared<Read>>> {
    under_way.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;
    use crate::base::secret::Secret;
    use crate::components::secret_store::single;

    const SECOND: Duration = Duration::from_secs(1);

    fn cache(ttl: u32, stale_if_error: u32, cache_max_bytes: u64) -> Cache {
        let settings = Settings {
            cache_ttl: SECOND * ttl,
            stale_if_error: SECOND * stale_if_error,
            cache_max_bytes,
            ..Settings::default()
        };
        Cache::new("c", &settings).unwrap()
    }

    fn key(name: &str) -> Key {
        Key::new(name, &RequestMetadata::new())
    }

    fn found(value: &str) -> Answer {
        Ok(Some(single("k", Secret::new(value))))
    }

    fn down() -> Answer {
        Err(StoreError::Unavailable {
            text: "down".to_owned(),
            retry_after: None,
        })
    }

    /// A cache with a clock of the test's own.
    struct Clocked {
        cache: Cache,
        start: Instant,
        seconds: u32,
    }

    fn clocked(ttl: u32, stale_if_error: u32) -> Clocked {
        Clocked {
            cache: cache(ttl, stale_if_error, 1 << 20),
            start: Instant::now(),
            seconds: 0,
        }
    }

    impl Clocked {
        /// A read after so many more seconds.
        async fn after(
            &mut self,
            seconds: u32,
            name: &str,
            answer: Answer,
        ) -> Result<String, String> {
            self.seconds += seconds;
            let now = self.start + SECOND * self.seconds;
            let read = move |_| async move { answer };
            text(self.cache.get_at(now, key(name), read).await)
        }
    }

    async fn read(cache: &Cache, name: &str, answer: Answer) -> Result<String, String> {
        text(cache.get(key(name), move |_| async move { answer }).await)
    }

    fn text(answer: Answer) -> Result<String, String> {
        match answer {
            Ok(secret) => Ok(secret.map_or("none".to_owned(), |one| one["k"].expose().to_owned())),
            Err(error) => Err(error.to_string()),
        }
    }

    fn ok(text: &str) -> Result<String, String> {
        Ok(text.to_owned())
    }

    #[test]
    fn is_there_only_when_asked_for() {
        assert!(Cache::new("c", &Settings::default()).is_none());
    }

    #[tokio::test]
    async fn hands_out_what_was_read_within_the_time() {
        let mut cache = clocked(10, 0);
        assert_eq!(cache.after(0, "a", found("1")).await, ok("1"));
        assert_eq!(cache.after(0, "b", found("2")).await, ok("2"));
        assert_eq!(cache.after(9, "a", found("3")).await, ok("1"));
        assert_eq!(cache.after(1, "a", found("3")).await, ok("3"));
        // Nothing else was asked for.
        let late = cache.after(10, "a", down()).await;
        assert_eq!(late, Err("down".to_owned()));
    }

    #[tokio::test]
    async fn parameters_are_part_of_what_is_asked_for() {
        let cache = cache(10, 0, 1 << 20);
        let version = |number: &str| {
            let metadata = [("version_id".to_owned(), number.to_owned())];
            Key::new("a", &metadata.into_iter().collect())
        };
        for number in ["1", "2"] {
            let answer = found(number);
            let answer = cache.get(version(number), |_| async { answer }).await;
            assert_eq!(answer.unwrap().unwrap()["k"].expose(), number);
        }
    }

    #[tokio::test]
    async fn a_store_that_is_down_takes_nothing_away_for_a_time() {
        let mut cache = clocked(1, 10);
        assert_eq!(cache.after(0, "a", found("1")).await, ok("1"));
        assert_eq!(cache.after(10, "a", down()).await, ok("1"));
        let late = cache.after(1, "a", down()).await;
        assert_eq!(late, Err("down".to_owned()));
    }

    #[tokio::test]
    async fn what_the_store_takes_back_is_gone() {
        for answer in [Ok(None), Err(StoreError::Failed("no".to_owned()))] {
            let mut cache = clocked(1, 100);
            assert_eq!(cache.after(0, "a", found("1")).await, ok("1"));
            assert_ne!(cache.after(1, "a", answer).await, ok("1"));
            let later = cache.after(0, "a", down()).await;
            assert_eq!(later, Err("down".to_owned()));
        }
    }

    #[tokio::test]
    async fn equal_reads_that_meet_are_one() {
        let cache = cache(10, 0, 1 << 20);
        let reads = Arc::new(AtomicUsize::new(0));
        let answers = Arc::new(tokio::sync::Notify::new());
        let one = || {
            let (reads, answers) = (Arc::clone(&reads), Arc::clone(&answers));
            cache.get(key("a"), move |_| async move {
                reads.fetch_add(1, Ordering::Relaxed);
                answers.notified().await;
                found("1")
            })
        };
        // The first reader leaves before the answer comes.
        let mut first = Box::pin(one());
        assert!(first.as_mut().now_or_never().is_none());
        let others: Vec<_> = (0..1000).map(|_| one()).collect();
        let mut others = Box::pin(join_all(others));
        assert!(others.as_mut().now_or_never().is_none());
        drop(first);
        answers.notify_one();
        assert!(others.await.iter().all(|answer| answer.is_ok()));
        assert_eq!(reads.load(Ordering::Relaxed), 1);
        assert!(lock(&cache.under_way).is_empty());
    }

    #[tokio::test]
    async fn a_read_that_everybody_left_is_forgotten() {
        let cache = cache(10, 0, 1 << 20);
        let mut left = Box::pin(cache.get(key("a"), |_| std::future::pending()));
        assert!(left.as_mut().now_or_never().is_none());
        drop(left);
        assert!(lock(&cache.under_way).is_empty());
        assert_eq!(read(&cache, "a", found("1")).await, ok("1"));
    }

    #[tokio::test]
    async fn its_bytes_have_a_limit() {
        let cache = cache(10, 0, 10_000);
        for number in 0..1000 {
            let value = "v".repeat(100);
            let name = number.to_string();
            assert_eq!(read(&cache, &name, found(&value)).await, ok(&value));
        }
        assert!(
            cache.entries.weight() <= 10_000,
            "{}",
            cache.entries.weight()
        );
        assert!(cache.entries.len() > 1);
        // One above the limit is handed out, and not kept.
        let large = "v".repeat(10_000);
        assert_eq!(read(&cache, "large", found(&large)).await, ok(&large));
        assert_eq!(read(&cache, "large", found("small")).await, ok("small"));
    }
}
