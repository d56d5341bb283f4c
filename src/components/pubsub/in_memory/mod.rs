//! `pubsub.in-memory`: topics of this process, for development and tests.
//!
//! ```text
//! publish → every queue whose topic matches → reader → delivery → settled, or back in its queue
//! ```
//! A subscription has one queue for its topic. Several subscriptions to one topic share it, as
//! those of one app do at other brokers. A message that was accepted leaves its queue only when it
//! is dealt with: where there is no room, publishing is refused (Dapr drops what an app did not
//! take).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use self::queue::{Queue, Reserved, Stored};
use super::{Feature, Interest, Outgoing, PubSub};
use crate::components::BackendError;
use crate::components::message::{Acknowledge, Delivery, Intake, Settlement};

mod pattern;
mod queue;

/// The most messages of one subscription that are not dealt with yet.
const CAPACITY: usize = 10_000;
/// How many messages of one subscription are dealt with at once.
const CONCURRENCY: usize = 10;
/// The time until a message that failed is handed out again.
const REDELIVERY: Duration = Duration::from_secs(1);
/// How long a queue is kept that nobody reads, such as that of an app which is not healthy.
const KEPT: Duration = Duration::from_secs(300);

/// The broker.
#[derive(Debug, Default)]
pub struct InMemory {
    queues: Mutex<Vec<Arc<Queue>>>,
}

impl InMemory {
    /// Its queues, without those that nobody has read for long.
    fn queues(&self) -> MutexGuard<'_, Vec<Arc<Queue>>> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.retain(|queue| {
            let lost = queue.given_up(KEPT);
            if let Some(count @ 1..) = lost {
                let topic = queue.topic();
                warn!(
                    topic,
                    count, "Messages in memory are dropped: nobody reads them any more"
                );
            }
            lost.is_none()
        });
        queues
    }
}

#[async_trait]
impl PubSub for InMemory {
    fn features(&self) -> &[Feature] {
        &[Feature::SubscribeWildcards]
    }

    async fn publish(&self, topic: &str, message: Outgoing) -> Result<(), BackendError> {
        let queues = self.queues();
        let matching = || queues.iter().filter(|queue| queue.wants(topic));
        // Nobody else adds messages while the queues are held, so that all take it or none.
        if matching().any(|queue| queue.is_full(CAPACITY)) {
            return Err(BackendError::Unavailable(format!(
                "{CAPACITY} messages of topic {topic:?} wait already"
            )));
        }
        let stored = Arc::new(Stored {
            topic: topic.to_owned(),
            message,
        });
        for queue in matching() {
            queue.push(Arc::clone(&stored));
        }
        Ok(())
    }

    async fn subscribe(&self, interest: &Interest) -> Result<Box<dyn Intake>, BackendError> {
        let mut queues = self.queues();
        let found = queues.iter().find(|queue| queue.topic() == interest.topic);
        let queue = match found {
            Some(queue) => Arc::clone(queue),
            None => {
                let queue = Arc::new(Queue::new(&interest.topic));
                queues.push(Arc::clone(&queue));
                queue
            }
        };
        Ok(Box::new(Reader::new(queue)))
    }
}

/// One subscription.
struct Reader {
    queue: Arc<Queue>,
}

impl Reader {
    fn new(queue: Arc<Queue>) -> Self {
        queue.begin_to_read();
        Self { queue }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.queue.end_to_read();
    }
}

#[async_trait]
impl Intake for Reader {
    async fn next(&mut self) -> Result<Delivery, BackendError> {
        loop {
            let due = match self.queue.take(Instant::now()) {
                Ok(reserved) => return Ok(delivery(&self.queue, reserved)),
                Err(due) => due,
            };
            let due = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.queue.changed() => {}
                () = due => {}
            }
        }
    }

    fn concurrency(&self) -> usize {
        CONCURRENCY
    }
}

fn delivery(queue: &Arc<Queue>, reserved: Reserved) -> Delivery {
    let Stored { topic, message } = &*reserved.stored;
    Delivery {
        topic: topic.clone(),
        data: message.data.clone(),
        content_type: message.content_type.clone(),
        metadata: message.metadata.clone(),
        acknowledge: Box::new(HandedOut {
            queue: Arc::clone(queue),
            reserved: Some(reserved),
        }),
    }
}

/// A message that somebody deals with. Dropped, it goes back to its place.
struct HandedOut {
    queue: Arc<Queue>,
    reserved: Option<Reserved>,
}

#[async_trait]
impl Acknowledge for HandedOut {
    async fn settle(mut self: Box<Self>, settlement: Settlement) -> Result<(), BackendError> {
        if let Some(reserved) = self.reserved.take() {
            match settlement {
                Settlement::Done(_) => self.queue.done(),
                Settlement::Failed(_) => self.queue.failed(reserved, Instant::now() + REDELIVERY),
            }
        }
        Ok(())
    }
}

impl Drop for HandedOut {
    fn drop(&mut self) {
        if let Some(reserved) = self.reserved.take() {
            self.queue.give_back(reserved);
        }
    }
}

#[cfg(test)]
mod tests;
