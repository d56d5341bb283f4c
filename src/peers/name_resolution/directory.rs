//! The sidecars that a resolver knows of at one moment, and looking it up again as it ages.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use tokio::sync::Mutex;
use tracing::debug;

use super::address::PeerAddress;
use super::{Lookup, ResolveError};
use crate::process::tasks::with_causes;

/// How long what was found counts without another look. A caller whose peer went away meanwhile
/// fails to connect, and tries the next address.
const FRESH: Duration = Duration::from_secs(1);
/// How long it counts that somebody was not found: many who wait share one look.
const FRESH_MISS: Duration = Duration::from_millis(100);
/// How long what was found serves on while looks fail.
const MAX_STALE: Duration = Duration::from_secs(60);

/// Sidecars by namespace and app id.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Directory(HashMap<String, HashMap<String, Vec<PeerAddress>>>);

impl Directory {
    /// Adds the address of one sidecar; the same one counts once.
    pub(super) fn add(&mut self, namespace: String, app_id: String, address: PeerAddress) {
        let apps = self.0.entry(namespace).or_default();
        let addresses = apps.entry(app_id).or_default();
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }

    /// The addresses of an app, in no order that means anything.
    pub(super) fn find(&self, app: &Lookup<'_>) -> &[PeerAddress] {
        let apps = self.0.get(app.namespace);
        apps.and_then(|apps| apps.get(app.app_id))
            .map_or(&[], Vec::as_slice)
    }

    /// The same as texts, in order.
    #[cfg(test)]
    pub(super) fn sorted(&self, app: &Lookup<'_>) -> Vec<String> {
        let mut found: Vec<_> = self.find(app).iter().map(ToString::to_string).collect();
        found.sort();
        found
    }
}

/// The addresses beginning at a random one, so that calls spread over all of them.
pub(super) fn spread(mut addresses: Vec<PeerAddress>) -> Vec<PeerAddress> {
    if addresses.len() > 1 {
        let first = fastrand::usize(..addresses.len());
        addresses.rotate_left(first);
    }
    addresses
}

/// Looks up who is there now.
#[async_trait]
pub(super) trait Look: std::fmt::Debug + Send + Sync {
    /// All sidecars.
    async fn look(&self) -> Result<Directory, ResolveError>;
}

/// A [`Directory`] that is looked up again where it is older than [`FRESH`], by one caller at a
/// time while the others wait for it.
#[derive(Debug)]
pub(super) struct Cached<L> {
    source: L,
    seen: ArcSwapOption<Seen>,
    looking: Mutex<()>,
}

#[derive(Debug)]
struct Seen {
    /// When the look began that found this, or failed and left it.
    looked: Instant,
    /// When the look began that found this.
    found: Instant,
    directory: Arc<Directory>,
}

impl<L: Look> Cached<L> {
    pub(super) fn new(source: L) -> Self {
        Self {
            source,
            seen: ArcSwapOption::empty(),
            looking: Mutex::new(()),
        }
    }

    /// The addresses of an app, maybe none.
    pub(super) async fn find(&self, app: &Lookup<'_>) -> Result<Vec<PeerAddress>, ResolveError> {
        if let Some(known) = self.known(app) {
            return Ok(known);
        }
        let _one_at_a_time = self.looking.lock().await;
        if let Some(known) = self.known(app) {
            return Ok(known);
        }
        let looked = Instant::now();
        let (found, directory) = match self.source.look().await {
            Ok(directory) => (looked, Arc::new(directory)),
            Err(failure) => match self.seen.load_full() {
                Some(last) if last.found.elapsed() < MAX_STALE => {
                    debug!(error = %with_causes(&failure), "Kept the last known sidecars");
                    (last.found, Arc::clone(&last.directory))
                }
                _ => return Err(failure),
            },
        };
        let addresses = directory.find(app).to_vec();
        self.seen.store(Some(Arc::new(Seen {
            looked,
            found,
            directory,
        })));
        Ok(addresses)
    }

    /// What the last look says, where it is fresh enough.
    fn known(&self, app: &Lookup<'_>) -> Option<Vec<PeerAddress>> {
        let seen = self.seen.load();
        let seen = seen.as_ref()?;
        let addresses = seen.directory.find(app);
        let fresh = if addresses.is_empty() {
            FRESH_MISS
        } else {
            FRESH
        };
        (seen.looked.elapsed() < fresh).then(|| addresses.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::eventually::eventually;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    fn address(port: u16) -> PeerAddress {
        PeerAddress::parse(&format!("127.0.0.1:{port}")).unwrap()
    }

    const APP: Lookup<'static> = Lookup {
        app_id: "a",
        namespace: "n",
    };

    #[test]
    fn another_namespace_is_another_app() {
        let mut directory = Directory::default();
        for port in [1, 2, 1] {
            directory.add("n".to_owned(), "a".to_owned(), address(port));
        }
        directory.add("m".to_owned(), "a".to_owned(), address(3));
        assert_eq!(directory.find(&APP), [address(1), address(2)]);
        let other = |app_id, namespace| Lookup { app_id, namespace };
        assert_eq!(directory.find(&other("a", "m")), [address(3)]);
        assert_eq!(directory.find(&other("a", "")), []);
        assert_eq!(directory.find(&other("b", "n")), []);
    }

    #[test]
    fn every_address_comes_first_now_and_then() {
        let all = vec![address(1), address(2), address(3)];
        let mut seen = std::collections::HashSet::new();
        // The chance that one of three never comes first is below 2^-100.
        for _ in 0..200 {
            let list = spread(all.clone());
            let mut sorted = list.clone();
            sorted.sort();
            assert_eq!(sorted, all);
            seen.insert(list[0].clone());
        }
        assert_eq!(seen.len(), 3);
        assert_eq!(spread(Vec::new()), []);
    }

    #[derive(Debug, Default)]
    struct Counting {
        looks: AtomicUsize,
        broken: AtomicBool,
    }

    #[async_trait]
    impl Look for Arc<Counting> {
        async fn look(&self) -> Result<Directory, ResolveError> {
            self.looks.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            if self.broken.load(Ordering::SeqCst) {
                return Err(ResolveError::NotFound {
                    app_id: "broken".to_owned(),
                });
            }
            let mut directory = Directory::default();
            directory.add("n".to_owned(), "a".to_owned(), address(1));
            Ok(directory)
        }
    }

    #[tokio::test]
    async fn many_callers_share_one_look() {
        let source = Arc::new(Counting::default());
        let cached = Cached::new(Arc::clone(&source));
        let nobody = Lookup {
            app_id: "b",
            namespace: "n",
        };
        let begin = Instant::now();
        let answers = futures_util::future::join_all((0..50).map(|_| cached.find(&nobody))).await;
        assert!(
            answers
                .iter()
                .all(|answer| answer.as_ref().unwrap().is_empty())
        );
        // On a machine that stops for a while in between, what was found ages.
        let aged = 1 + begin.elapsed().as_millis() / FRESH_MISS.as_millis();
        assert!(source.looks.load(Ordering::SeqCst) as u128 <= aged);
    }

    #[tokio::test]
    async fn serves_what_is_known_while_looks_fail() {
        let source = Arc::new(Counting::default());
        let cached = Cached::new(Arc::clone(&source));
        source.broken.store(true, Ordering::SeqCst);
        assert!(cached.find(&APP).await.is_err());
        source.broken.store(false, Ordering::SeqCst);
        assert_eq!(cached.find(&APP).await.unwrap(), [address(1)]);
        source.broken.store(true, Ordering::SeqCst);
        let before = source.looks.load(Ordering::SeqCst);
        eventually("another look", async || {
            assert_eq!(cached.find(&APP).await.unwrap(), [address(1)]);
            (source.looks.load(Ordering::SeqCst) > before).then_some(())
        })
        .await;
    }
}
