//! Runs an intake of messages: as many at once as the broker wants, again after it broke, and to
//! the end of those in flight when it stops.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::base::back_off::BackOff;
use crate::components::BackendError;
use crate::components::message::{Delivery, Intake};

/// From the first to the longest pause before a broken intake is opened again.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(10)];

/// Where an intake comes from.
#[async_trait]
pub(super) trait Source: Send + Sync {
    /// Opens it.
    async fn open(&self) -> Result<Box<dyn Intake>, BackendError>;

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
    let mut back_off = BackOff::new(PAUSES);
    let mut in_flight = JoinSet::new();
    while !stop.is_cancelled() {
        let opened = tokio::select! {
            () = stop.cancelled() => break,
            opened = source.open() => opened,
        };
        let begin = Instant::now();
        let ended = match opened {
            Ok(intake) => take(intake, &handler, batch, stop, &mut in_flight).await,
            Err(error) => Some(error),
        };
        let Some(error) = ended else {
            break;
        };
        warn!(source = source.name(), %error, "No messages come in; trying again");
        // One that can be opened and breaks at once is as good as none.
        if begin.elapsed() > PAUSES[1] {
            back_off.end();
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = sleep(back_off.another()) => {}
        }
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
) -> Option<BackendError> {
    let most = intake.concurrency().max(1);
    let limit = intake.processing_timeout();
    let mut stopped = std::pin::pin!(stop.cancelled());
    let ended = loop {
        while in_flight.try_join_next().is_some() {}
        // Full: what comes in has to wait, but a stop has not.
        while in_flight.len() >= most && !stop.is_cancelled() {
            tokio::select! {
                () = &mut stopped => {}
                _ = in_flight.join_next() => {}
            }
        }
        let (deliveries, broken) = tokio::select! {
            biased;
            () = &mut stopped => break None,
            collected = collect(intake.as_mut(), batch) => collected,
        };
        if !deliveries.is_empty() {
            in_flight.spawn(within(limit, Arc::clone(handler), deliveries));
        }
        if broken.is_some() {
            break broken;
        }
    };
    intake.close().await;
    ended
}

/// Deals with messages in the time that the broker gives. After it they are let go, and the broker
/// hands them out again.
async fn within(limit: Option<Duration>, handler: Arc<dyn Handler>, deliveries: Vec<Delivery>) {
    let Some(limit) = limit else {
        return handler.handle(deliveries).await;
    };
    let (topic, count) = match deliveries.first() {
        Some(first) => (first.topic.clone(), deliveries.len()),
        None => return,
    };
    if timeout(limit, handler.handle(deliveries)).await.is_err() {
        warn!(
            topic,
            count,
            ?limit,
            "Messages took too long; the broker hands them out again"
        );
    }
}

/// The messages of one batch, and why there are no more.
async fn collect(intake: &mut dyn Intake, batch: Batch) -> (Vec<Delivery>, Option<BackendError>) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::message::{Acknowledge, Settlement};
    use crate::testing::eventually::eventually;
    use std::sync::Mutex;
    use tokio::sync::Semaphore;

    /// A broker with endless messages, which writes down what happens.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<String>>>);

    impl Log {
        fn add(&self, text: impl Into<String>) {
            self.0.lock().unwrap().push(text.into());
        }

        fn count(&self, text: &str) -> usize {
            let log = self.0.lock().unwrap();
            log.iter().filter(|entry| *entry == text).count()
        }
    }

    #[async_trait]
    impl Source for Log {
        async fn open(&self) -> Result<Box<dyn Intake>, BackendError> {
            self.add("open");
            Ok(Box::new(Endless(self.clone(), self.count("open"))))
        }

        fn name(&self) -> String {
            "endless".to_owned()
        }
    }

    /// The first breaks after two messages.
    struct Endless(Log, usize);

    #[async_trait]
    impl Intake for Endless {
        async fn next(&mut self) -> Result<Delivery, BackendError> {
            if self.1 == 1 && self.0.count("next") == 2 {
                return Err(BackendError::Unavailable("gone".to_owned()));
            }
            self.0.add("next");
            Ok(Delivery {
                topic: "t".to_owned(),
                data: Default::default(),
                content_type: None,
                metadata: Default::default(),
                acknowledge: Box::new(self.0.clone()),
            })
        }

        fn concurrency(&self) -> usize {
            3
        }

        async fn close(self: Box<Self>) {
            self.0.add("close");
        }
    }

    #[async_trait]
    impl Acknowledge for Log {
        async fn settle(self: Box<Self>, _: Settlement) -> Result<(), BackendError> {
            self.add("settled");
            Ok(())
        }
    }

    /// Deals with a message when it is let.
    struct Gate(Semaphore);

    #[async_trait]
    impl Handler for Gate {
        async fn handle(&self, deliveries: Vec<Delivery>) {
            self.0.acquire().await.unwrap().forget();
            for delivery in deliveries {
                let settled = delivery.acknowledge.settle(Settlement::Done(None));
                settled.await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn a_full_intake_is_closed_at_once_and_what_is_in_flight_is_finished() {
        let (log, gate) = (Log::default(), Arc::new(Gate(Semaphore::new(0))));
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let (source, handler, stopping) = (log.clone(), Arc::clone(&gate), stop.clone());
        tasks.spawn(async move { run(&source, handler, Batch::ONE, &stopping).await });
        eventually("three are in flight, over two intakes", async || {
            (log.count("next") == 3).then_some(())
        })
        .await;
        assert_eq!((log.count("open"), log.count("close")), (2, 1));
        stop.cancel();
        eventually("the second is closed", async || {
            (log.count("close") == 2).then_some(())
        })
        .await;
        assert_eq!((log.count("next"), log.count("settled")), (3, 0));
        gate.0.add_permits(3);
        tasks.join_next().await.unwrap().unwrap();
        assert_eq!(log.count("settled"), 3);
    }
}
