//! Keeps subscriptions running until they end, or the sidecar stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::delivery::Delivery;
use super::follower::{Followed, Follower};
use super::inbox::Inbox;
use super::open::Registration;
use crate::blocks::in_flight::Tasks;
use crate::process::early_stop::EarlyPart;
use crate::process::tasks::BoxError;

/// How long subscriptions may take to end: nothing of them is waited for.
const END: Duration = Duration::from_secs(5);

/// A subscription that is to run.
pub(super) struct Job {
    pub(super) follower: Follower,
    pub(super) followed: Followed,
    pub(super) inbox: Arc<Inbox>,
    pub(super) stop: CancellationToken,
    /// Takes changes to an HTTP app; of a stream its session does.
    pub(super) delivery: Option<Delivery>,
    /// Held for as long as it runs; that of a stream its session holds.
    pub(super) registration: Option<Registration>,
}

/// Runs subscriptions. [`Supervisor::run`] is its task.
pub struct Supervisor {
    to_start: mpsc::Receiver<Job>,
    /// Cancelled, it ends all subscriptions.
    stop: CancellationToken,
    tasks: Tasks,
}

impl Supervisor {
    pub(super) fn new(to_start: mpsc::Receiver<Job>, stop: CancellationToken) -> Self {
        Self {
            to_start,
            stop,
            tasks: Tasks::new(),
        }
    }

    /// Starts what is to run until `part` is to stop, and ends it then. It returns at shutdown.
    pub async fn run(
        mut self,
        part: EarlyPart,
        shutdown: CancellationToken,
    ) -> Result<(), BoxError> {
        loop {
            tokio::select! {
                () = part.stopped() => break,
                Some(job) = self.to_start.recv() => self.tasks.spawn(job.run()),
                ended = self.tasks.ended() => ended?,
            }
        }
        self.stop.cancel();
        // What waits to be started is refused.
        drop(self.to_start);
        self.tasks
            .drain(END, "Subscriptions to configuration do not end")
            .await;
        drop(part);
        shutdown.cancelled().await;
        Ok(())
    }
}

impl Job {
    async fn run(self) {
        let Self {
            follower,
            followed,
            inbox,
            stop,
            delivery,
            registration,
        } = self;
        let following = async {
            stop.run_until_cancelled(follower.run(followed)).await;
            inbox.close();
        };
        let delivering = async {
            if let Some(delivery) = delivery {
                stop.run_until_cancelled(delivery.run()).await;
            }
        };
        tokio::join!(following, delivering);
        if let Some(registration) = registration {
            info!(
                "The subscription to configuration {} ended",
                registration.id()
            );
        }
    }
}
