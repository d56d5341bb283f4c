//! What the supervisors of subscriptions and of input bindings share: the tasks that they run, and
//! waiting for changes.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tracing::warn;

/// The tasks of one supervisor.
pub(super) struct Tasks(JoinSet<()>);

impl Tasks {
    /// None yet.
    pub(super) fn new() -> Self {
        Self(JoinSet::new())
    }

    /// Starts one.
    pub(super) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(task);
    }

    /// Waits until one has ended, which is good only after it was stopped; for ever where none
    /// runs.
    pub(super) async fn ended(&mut self) -> Result<(), JoinError> {
        match self.0.join_next().await {
            Some(joined) => joined,
            None => std::future::pending().await,
        }
    }

    /// Waits for what is in flight once all were told to stop, for a time. What is not dealt with
    /// then goes back to where it came from, and the log says `left`.
    pub(super) async fn drain(&mut self, limit: Duration, left: &str) {
        let all = async { while self.0.join_next().await.is_some() {} };
        if timeout(limit, all).await.is_err() {
            let count = self.0.len();
            warn!(count, "{left}");
            self.0.shutdown().await;
        }
    }
}

/// Waits for a change; for ever where none can come any more.
pub(super) async fn changed<T>(receiver: &mut watch::Receiver<T>) {
    if receiver.changed().await.is_err() {
        std::future::pending().await
    }
}
