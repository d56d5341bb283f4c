//! The subscriptions that are open, under their ids.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::base::uuid;

/// The most subscriptions at once.
const MOST: usize = 1000;

/// Those that are open. Cheap to clone.
#[derive(Clone)]
pub(super) struct Subscriptions {
    open: Arc<Mutex<HashMap<String, Open>>>,
    stop: CancellationToken,
}

struct Open {
    store: String,
    stop: CancellationToken,
}

/// One of them. When it is dropped, it ends.
pub(super) struct Registration {
    id: String,
    stop: CancellationToken,
    all: Subscriptions,
}

/// There are as many subscriptions as there may be.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{MOST} subscriptions are open already")]
pub(super) struct TooMany;

impl Subscriptions {
    /// None yet. They end with `stop` at the latest.
    pub(super) fn new(stop: CancellationToken) -> Self {
        Self {
            open: Arc::default(),
            stop,
        }
    }

    /// Opens one of a store, under an id of its own.
    pub(super) fn register(&self, store: &str) -> Result<Registration, TooMany> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= MOST {
            return Err(TooMany);
        }
        let (id, stop) = (uuid::random(), self.stop.child_token());
        let entry = Open {
            store: store.to_owned(),
            stop: stop.clone(),
        };
        open.insert(id.clone(), entry);
        Ok(Registration {
            id,
            stop,
            all: self.clone(),
        })
    }

    /// Ends one of a store, or with no store of any. False where there is none of that id.
    pub(super) fn end(&self, store: Option<&str>, id: &str) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let found = open.get(id);
        if found.is_none_or(|found| store.is_some_and(|store| store != found.store)) {
            return false;
        }
        if let Some(ended) = open.remove(id) {
            ended.stop.cancel();
        }
        true
    }

    /// How many are open.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.len()
    }
}

impl Registration {
    /// Its id.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Cancelled once it ends.
    pub(super) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.stop.cancel();
        let open = self.all.open.lock();
        let mut open = open.unwrap_or_else(PoisonError::into_inner);
        open.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_ends_by_its_id_or_when_it_is_dropped() {
        let all = Subscriptions::new(CancellationToken::new());
        let (one, other) = (all.register("s").unwrap(), all.register("s").unwrap());
        assert_ne!(one.id(), other.id());
        assert!(!all.end(Some("another store"), one.id()));
        assert!(all.end(Some("s"), one.id()));
        assert!(!all.end(Some("s"), one.id()), "it has ended");
        assert!(one.stop().is_cancelled() && !other.stop().is_cancelled());
        let stop = other.stop();
        drop((one, other));
        assert!(stop.is_cancelled());
        assert_eq!(all.count(), 0);
    }

    #[test]
    fn there_is_a_most() {
        let stop = CancellationToken::new();
        let all = Subscriptions::new(stop.clone());
        let open: Vec<_> = (0..MOST).map(|_| all.register("s").unwrap()).collect();
        assert_eq!(all.register("s").err(), Some(TooMany));
        assert!(all.end(None, open[0].id()));
        let last = all.register("s").unwrap();
        stop.cancel();
        assert!(last.stop().is_cancelled());
    }
}
