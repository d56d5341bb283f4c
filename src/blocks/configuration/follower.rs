//! Follows the items of one subscription, whatever happens to its store: one that is away is tried
//! again, one that changed is taken instead, and what changed meanwhile is told.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::Store;
use super::inbox::Inbox;
use crate::base::back_off::BackOff;
use crate::blocks::in_flight::changed;
use crate::components::BackendError;
use crate::components::configuration::seen::Seen;
use crate::components::configuration::{Changes, Items};
use crate::components::message::Metadata;
use crate::registry::Registry;

/// The first and the longest pause before a store is tried again.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(10)];
/// How long a store may take until it is followed.
const BEGIN: Duration = Duration::from_secs(30);

/// What a subscription follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The keys; none are all.
    pub(super) keys: Vec<String>,
    /// What the store is told.
    pub(super) metadata: Metadata,
}

/// A store that is followed.
pub(super) struct Followed {
    pub(super) store: Store,
    pub(super) changes: Box<dyn Changes>,
}

/// Begins to follow a store, and tells which items there were just before.
pub(super) async fn begin(
    store: Store,
    wanted: Arc<Wanted>,
) -> Result<(Followed, Items), BackendError> {
    let Wanted { keys, metadata } = &*wanted;
    in_time(async {
        // In this order: what changes between the two is known to be other than before.
        let items = store.get(keys, metadata).await?;
        let changes = store.subscribe(keys, metadata).await?;
        let store = Arc::clone(&store);
        Ok((Followed { store, changes }, items))
    })
    .await
}

/// Begins to follow a store, and tells which items there are.
async fn begin_again(store: Store, wanted: &Wanted) -> Result<(Followed, Items), BackendError> {
    let Wanted { keys, metadata } = wanted;
    in_time(async {
        // In this order: what changes between the two is told twice, and nothing is missed.
        let changes = store.subscribe(keys, metadata).await?;
        let items = store.get(keys, metadata).await?;
        let store = Arc::clone(&store);
        Ok((Followed { store, changes }, items))
    })
    .await
}

async fn in_time<T>(
    beginning: impl Future<Output = Result<T, BackendError>>,
) -> Result<T, BackendError> {
    let begun = timeout(BEGIN, beginning).await;
    begun.unwrap_or_else(|_| {
        let text = format!("it did not answer within {} s", BEGIN.as_secs());
        Err(BackendError::Unavailable(text))
    })
}

/// Follows the items of one subscription.
pub(super) struct Follower {
    registry: Arc<Registry>,
    /// The name of the store.
    name: String,
    wanted: Arc<Wanted>,
    seen: Seen,
    inbox: Arc<Inbox>,
}

impl Follower {
    /// Follows from where `items` are known.
    pub(super) fn new(
        registry: Arc<Registry>,
        name: &str,
        wanted: Arc<Wanted>,
        items: &Items,
        inbox: Arc<Inbox>,
    ) -> Self {
        Self {
            registry,
            name: name.to_owned(),
            wanted,
            seen: Seen::of(items),
            inbox,
        }
    }

    /// Follows for ever, at first what is followed already.
    pub(super) async fn run(mut self, mut followed: Followed) {
        let mut back_off = BackOff::new(PAUSES);
        loop {
            let began = Instant::now();
            let broke = self.follow(followed).await;
            if began.elapsed() > PAUSES[1] {
                back_off.end();
            }
            if let Err(error) = broke {
                warn!(store = self.name, %error, "The items of a subscription are not followed");
                sleep(back_off.another()).await;
            }
            followed = self.again(&mut back_off).await;
        }
    }

    /// Follows a store until it fails, or is no longer the one.
    async fn follow(&mut self, followed: Followed) -> Result<(), BackendError> {
        let Followed { store, mut changes } = followed;
        let mut replaced = std::pin::pin!(replaced(
            Arc::clone(&self.registry),
            self.name.clone(),
            store
        ));
        loop {
            let items = tokio::select! {
                () = &mut replaced => return Ok(()),
                items = changes.next() => items?,
            };
            self.seen.note(&items);
            self.tell(items).await;
        }
    }

    /// Follows the store anew, once it can be, and tells what changed meanwhile.
    async fn again(&mut self, back_off: &mut BackOff) -> Followed {
        loop {
            let store = self.store().await;
            match begin_again(store, &self.wanted).await {
                Ok((followed, items)) => {
                    info!(
                        store = self.name,
                        "The items of a subscription are followed again"
                    );
                    let changed = self.seen.changed(items);
                    self.tell(changed).await;
                    return followed;
                }
                Err(error) => {
                    let pause = back_off.another();
                    warn!(store = self.name, %error, ?pause, "A configuration store is away");
                    sleep(pause).await;
                }
            }
        }
    }

    /// The store, once it runs.
    async fn store(&self) -> Store {
        let mut components = self.registry.changes();
        loop {
            if let Some(store) = self.registry.peek().configurations.get(&self.name) {
                return Arc::clone(store);
            }
            changed(&mut components).await;
        }
    }

    async fn tell(&self, items: Items) {
        for (key, item) in items {
            self.inbox.put(key, item).await;
        }
    }
}

/// Waits until a store is no longer the one of its name.
async fn replaced(registry: Arc<Registry>, name: String, store: Store) {
    let mut components = registry.changes();
    let is_the_one = || {
        let now = registry.snapshot();
        let now = now.configurations.get(&name);
        now.is_some_and(|now| Arc::ptr_eq(now, &store))
    };
    while is_the_one() {
        changed(&mut components).await;
    }
}
