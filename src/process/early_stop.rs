//! Parts that stop before the servers do: those that take messages in. The app can go on to call
//! the sidecar while it deals with the last of them.

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

/// Stops parts early, and waits for them.
#[derive(Debug)]
pub struct EarlyStop {
    stop: CancellationToken,
    /// It has a receiver in each part that is not done.
    parts: watch::Sender<()>,
}

/// One part. Dropping it says that it is done.
#[derive(Debug)]
pub struct EarlyPart {
    stop: CancellationToken,
    _alive: watch::Receiver<()>,
}

impl EarlyStop {
    /// No parts yet. They stop at `shutdown` at the latest.
    pub fn new(shutdown: &CancellationToken) -> Self {
        Self {
            stop: shutdown.child_token(),
            parts: watch::Sender::new(()),
        }
    }

    /// Adds a part.
    pub fn part(&self) -> EarlyPart {
        EarlyPart {
            stop: self.stop.clone(),
            _alive: self.parts.subscribe(),
        }
    }

    /// Asks every part to stop.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until every part is done.
    pub async fn done(&self) {
        self.parts.closed().await;
    }
}

impl EarlyPart {
    /// Waits until it is to stop.
    pub fn stopped(&self) -> WaitForCancellationFuture<'_> {
        self.stop.cancelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn waits_for_every_part() {
        let shutdown = CancellationToken::new();
        let early = EarlyStop::new(&shutdown);
        let (first, second) = (early.part(), early.part());
        assert!(first.stopped().now_or_never().is_none());
        early.stop();
        first.stopped().await;
        assert!(!shutdown.is_cancelled());
        drop(first);
        assert!(early.done().now_or_never().is_none());
        drop(second);
        early.done().await;
    }

    #[tokio::test]
    async fn a_shutdown_stops_parts_too() {
        let shutdown = CancellationToken::new();
        let early = EarlyStop::new(&shutdown);
        let part = early.part();
        shutdown.cancel();
        part.stopped().await;
    }
}
