//! Runs an intake of messages: as many at once as the broker wants, again after it broke, and to
//! the end of those in flight when it stops.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::components::message::{BrokerError, Delivery, Intake};

/// From the first to the longest pause before a broken intake is opened again.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(10)];

/// Where an intake comes from.
#[async_trait]
pub(super) trait Source: Send + Sync {
    /// Opens it.
    async fn open(&self) -> Result<Box<dyn Intake>, BrokerError>;

    /// What it is, for the log.
    fn name(&self) -> String;
}

/// Who deals with messages.
#[async_trait]
pub(super) trait Handler: Send + Sync + 'static {
    /// Deals with messages that came together, in their order, and settles each.
    async fn handle(&self, deliveries: Vec<Delivery>);
}

/// How many messages are handed over together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// The most.
    pub(super) most: usize,
    /// How long the first waits for others.
    pub(super) wait: Duration,
}

impl Batch {
    /// Each by itself.
    pub(super) const ONE: Self = Self {
        most: 1,
        wait: Duration::ZERO,
    };
}

/// Takes messages until `stop`, then waits for those in flight. A broker that breaks is opened
/// again after a pause.
pub(super) async fn run(
    source: &dyn Source,
    handler: Arc<dyn Handler>,
    batch: Batch,
    stop: &CancellationToken,
) {
    let mut pause = PAUSES[0];
    let mut in_flight = JoinSet::new();
    while !stop.is_cancelled() {
        let opened = tokio::select! {
            () = stop.cancelled() => break,
            opened = source.open() => opened,
        };
        let ended = match opened {
            Ok(intake) => {
                pause = PAUSES[0];
                take(intake, &handler, batch, stop, &mut in_flight).await
            }
            Err(error) => Some(error),
        };
        let Some(error) = ended else {
            break;
        };
        warn!(source = source.name(), %error, "No messages come in; trying again");
        tokio::select! {
            () = stop.cancelled() => break,
            () = sleep(pause) => {}
        }
        pause = (pause * 2).min(PAUSES[1]);
    }
    if !in_flight.is_empty() {
        info!(
            source = source.name(),
            count = in_flight.len(),
            "Waiting for messages in flight"
        );
    }
    while in_flight.join_next().await.is_some() {}
}

/// Takes messages until `stop`, or until the intake breaks, and why.
async fn take(
    mut intake: Box<dyn Intake>,
    handler: &Arc<dyn Handler>,
    batch: Batch,
    stop: &CancellationToken,
    in_flight: &mut JoinSet<()>,
) -> Option<BrokerError> {
    let most = intake.concurrency().max(1);
    let ended = loop {
        while in_flight.len() >= most {
            in_flight.join_next().await;
        }
        while in_flight.try_join_next().is_some() {}
        let (deliveries, broken) = tokio::select! {
            () = stop.cancelled() => break None,
            collected = collect(intake.as_mut(), batch) => collected,
        };
        if !deliveries.is_empty() {
            let handler = Arc::clone(handler);
            in_flight.spawn(async move { handler.handle(deliveries).await });
        }
        if broken.is_some() {
            break broken;
        }
    };
    intake.close().await;
    ended
}

/// The messages of one batch, and why there are no more.
async fn collect(intake: &mut dyn Intake, batch: Batch) -> (Vec<Delivery>, Option<BrokerError>) {
    let mut deliveries = Vec::new();
    match intake.next().await {
        Ok(delivery) => deliveries.push(delivery),
        Err(error) => return (deliveries, Some(error)),
    }
    let until = Instant::now() + batch.wait;
    while deliveries.len() < batch.most {
        match timeout_at(until, intake.next()).await {
            Ok(Ok(delivery)) => deliveries.push(delivery),
            Ok(Err(error)) => return (deliveries, Some(error)),
            Err(_) => break,
        }
    }
    (deliveries, None)
}
