//! From calls to an exporter: a queue with a limit, and one task that empties it in batches.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, counter};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::export::{ExportError, Exporter};
use super::span::Record;
use crate::process::log_rate::LogRate;

/// The most spans that wait for one exporter, and the most in one request: the defaults of
/// OpenTelemetry's batch processor.
const MAX_WAITING: usize = 2048;
const MAX_BATCH: usize = 512;
/// How often a batch is sent, at most. A collector that restarts is back by then.
const TRIES: u32 = 4;
/// How long spans may take to leave once no more can come.
const FLUSH_LIMIT: Duration = Duration::from_secs(3);

/// The times of a task.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How long a span waits for others to go with it.
    pub(super) delay: Duration,
    /// The time before the second try of a batch. It doubles with each further one.
    pub(super) retry: Duration,
    /// How long spans may still come after shutdown began.
    pub(super) drain: Duration,
    /// How long they may then take to leave.
    pub(super) flush: Duration,
}

impl Pace {
    /// The delay is the default of OpenTelemetry's batch processor.
    pub(super) fn new(drain: Duration) -> Self {
        Self {
            delay: Duration::from_secs(5),
            retry: Duration::from_secs(1),
            drain,
            flush: FLUSH_LIMIT,
        }
    }
}

/// Where spans wait for one exporter.
#[derive(Debug)]
pub(super) struct Queue {
    sender: mpsc::Sender<Arc<Record>>,
    left_out: Counters,
}

impl Queue {
    /// Adds a span, or drops it where the queue is full. It never waits.
    pub(super) fn add(&self, record: Arc<Record>) {
        if self.sender.try_send(record).is_err() {
            self.left_out.queue_full.increment(1);
        }
    }
}

/// Empties one queue.
pub(super) struct Worker {
    exporter: Exporter,
    receiver: mpsc::Receiver<Arc<Record>>,
    pace: Pace,
    counters: Counters,
    log: LogRate,
    /// How many spans left the queue and did not arrive yet.
    in_flight: usize,
}

/// A queue, and what empties it.
pub(super) fn queue(exporter: Exporter, pace: Pace) -> (Queue, Worker) {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    let counters = Counters::new(exporter.name());
    let queue = Queue {
        sender,
        left_out: counters.clone(),
    };
    let worker = Worker {
        exporter,
        receiver,
        pace,
        counters,
        log: LogRate::default(),
        in_flight: 0,
    };
    (queue, worker)
}

impl Worker {
    /// Runs until shutdown, then until no more spans can come and all have left, within the limits
    /// of the [`Pace`].
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let Pace { drain, flush, .. } = self.pace;
        let serving = async {
            while let Some(batch) = self.next_batch(&stop).await {
                self.in_flight = batch.len();
                self.send(&batch, &stop).await;
                self.in_flight = 0;
            }
            // The tracer is gone, though the process goes on.
            stop.cancelled().await;
        };
        let late = async {
            stop.cancelled().await;
            tokio::time::sleep(drain + flush).await;
        };
        tokio::select! {
            () = serving => {}
            () = late => self.give_up(),
        }
    }

    /// The next spans: as many as there are once the first of them has waited for a while. `None`
    /// where no more can come.
    async fn next_batch(&mut self, stop: &CancellationToken) -> Option<Vec<Arc<Record>>> {
        let first = self.receiver.recv().await?;
        let mut batch = vec![first];
        let delay = tokio::time::sleep(self.pace.delay);
        tokio::pin!(delay);
        while batch.len() < MAX_BATCH {
            let room = MAX_BATCH - batch.len();
            let more = tokio::select! {
                biased;
                more = self.receiver.recv_many(&mut batch, room) => more,
                () = &mut delay => break,
                () = stop.cancelled() => break,
            };
            if more == 0 {
                break;
            }
        }
        Some(batch)
    }

    /// Sends a batch, more than once where that may help, and counts what became of it.
    async fn send(&self, batch: &[Arc<Record>], stop: &CancellationToken) {
        let mut pause = self.pace.retry;
        for attempt in 1..=TRIES {
            let error = match self.exporter.export(batch).await {
                Ok(refused) => return self.count(batch.len(), refused),
                Err(error) => error,
            };
            let is_last = attempt == TRIES || !error.is_temporary || stop.is_cancelled();
            self.tell(&error, if is_last { batch.len() } else { 0 });
            if is_last {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause *= 2,
                () = stop.cancelled() => {}
            }
        }
        self.counters.failed.increment(batch.len() as u64);
    }

    fn count(&self, sent: usize, refused: u64) {
        let refused = refused.min(sent as u64);
        self.counters.exported.increment(sent as u64 - refused);
        self.counters.refused.increment(refused);
    }

    fn tell(&self, error: &ExportError, dropped: usize) {
        if let Some(left_out) = self.log.pass() {
            warn!(
                exporter = self.exporter.name(),
                %error, dropped, left_out, "Cannot export traces"
            );
        }
    }

    fn give_up(&self) {
        let dropped = self.receiver.len() + self.in_flight;
        self.counters.failed.increment(dropped as u64);
        warn!(
            exporter = self.exporter.name(),
            dropped, "Traces were not exported in time"
        );
    }
}

#[derive(Clone, Debug)]
struct Counters {
    exported: Counter,
    queue_full: Counter,
    failed: Counter,
    refused: Counter,
}

impl Counters {
    fn new(exporter: &'static str) -> Self {
        let dropped = |reason: &'static str| {
            let labels = [("exporter", exporter), ("reason", reason)];
            counter!("sidegate_trace_spans_dropped_total", &labels)
        };
        Self {
            exported: counter!("sidegate_trace_spans_exported_total", "exporter" => exporter),
            queue_full: dropped("queue_full"),
            failed: dropped("export_failed"),
            refused: dropped("refused"),
        }
    }
}
