//! The limit of calls to the app at once.

use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places for calls, given in the order in which they were asked for. A caller that goes away
/// while it waits leaves the queue.
#[derive(Debug)]
pub(super) struct Limit(Option<Arc<Semaphore>>);

/// A place, held until it is dropped. `None` where there is no limit.
pub(super) type Place = Option<OwnedSemaphorePermit>;

impl Limit {
    /// So many places; `None` for no limit.
    pub(super) fn new(places: Option<NonZeroUsize>) -> Self {
        let most = |places: NonZeroUsize| places.get().min(Semaphore::MAX_PERMITS);
        Self(places.map(|places| Arc::new(Semaphore::new(most(places)))))
    }

    /// Waits for a place.
    pub(super) async fn place(&self) -> Place {
        match &self.0 {
            None => None,
            Some(places) => {
                let place = places.clone().acquire_owned().await;
                Some(place.expect("the semaphore is never closed"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn a_waiter_that_went_away_takes_no_place() {
        let limit = Limit::new(NonZeroUsize::new(1));
        let held = limit.place().await;
        let mut first = Box::pin(limit.place());
        let mut second = Box::pin(limit.place());
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        drop(held);
        assert!(second.as_mut().now_or_never().is_some());
    }

    #[tokio::test]
    async fn no_limit_never_waits() {
        let limit = Limit::new(None);
        let places = [limit.place().await, limit.place().await];
        assert!(places.iter().all(Option::is_none));
    }
}
