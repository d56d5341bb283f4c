//! One who takes the messages of a topic, and what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinSet;
use tracing::debug;

use super::group::Group;
use super::reader::{Reader, WAIT};
use super::shelf::{Hold, Shelf, Waiting};
use crate::components::BackendError;
use crate::components::message::{Acknowledge, Delivery, Intake, Settlement};

/// Messages of a topic as they come.
pub(super) struct Subscription {
    group: Arc<Group>,
    shelf: Arc<Shelf>,
    /// Fills the shelf. Dropped, it ends.
    reader: JoinSet<()>,
}

impl Subscription {
    pub(super) async fn open(group: Arc<Group>) -> Result<Self, BackendError> {
        group.create().await?;
        let connection = group.client.open(&group.topic, WAIT).await?;
        let shelf = Arc::new(Shelf::new(group.settings.depth));
        let mut reader = JoinSet::new();
        reader.spawn(Reader::new(Arc::clone(&group), Arc::clone(&shelf), connection).run());
        Ok(Self {
            group,
            shelf,
            reader,
        })
    }

    /// Whether it waited for so long that it may be another consumer's by now. It is handed out
    /// again to whoever claims it.
    fn is_stale(&self, message: &Waiting) -> bool {
        let redelivery = self.group.settings.redelivery;
        redelivery.is_some_and(|redelivery| message.since.elapsed() >= redelivery.timeout)
    }

    fn hand_out(&self, message: Waiting) -> Delivery {
        Delivery {
            topic: self.group.topic.clone(),
            data: message.content.data,
            content_type: None,
            metadata: message.content.metadata,
            acknowledge: Box::new(Receipt {
                group: Arc::clone(&self.group),
                shelf: Arc::clone(&self.shelf),
                hold: Some(message.hold),
            }),
        }
    }
}

#[async_trait]
impl Intake for Subscription {
    async fn next(&mut self) -> Result<Delivery, BackendError> {
        loop {
            match self.shelf.next() {
                Some(Ok(message)) if self.is_stale(&message) => {
                    debug!(
                        topic = self.group.topic,
                        "A message waited too long for the app"
                    );
                    if self.group.settings.is_ordered() {
                        drop(message);
                        self.shelf.read_again(Duration::ZERO);
                    }
                }
                Some(Ok(message)) => return Ok(self.hand_out(message)),
                Some(Err(error)) => return Err(error),
                None => self.shelf.filled.notified().await,
            }
        }
    }

    fn concurrency(&self) -> usize {
        self.group.settings.concurrency
    }

    fn processing_timeout(&self) -> Option<Duration> {
        let redelivery = self.group.settings.redelivery;
        redelivery.map(|redelivery| redelivery.timeout)
    }

    async fn close(mut self: Box<Self>) {
        self.shelf.close();
        self.reader.shutdown().await;
        self.group.leave().await;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shelf.close();
    }
}

/// A message that is with the app.
struct Receipt {
    group: Arc<Group>,
    shelf: Arc<Shelf>,
    hold: Option<Hold>,
}

impl Receipt {
    /// The message was not dealt with: it goes back, before those that came after it where they
    /// keep their order.
    fn put_back(&mut self) -> Option<String> {
        let mut hold = self.hold.take()?;
        let redelivery = self.group.settings.redelivery?;
        let id = hold.id.clone();
        if !self.group.settings.is_ordered() {
            self.shelf.cool(&mut hold, redelivery.interval);
            return Some(id);
        }
        drop(hold);
        self.shelf.read_again(redelivery.interval);
        self.shelf.is_closed().then_some(id)
    }
}

#[async_trait]
impl Acknowledge for Receipt {
    async fn settle(mut self: Box<Self>, settlement: Settlement) -> Result<(), BackendError> {
        match settlement {
            Settlement::Done(_) => {
                let Some(hold) = self.hold.take() else {
                    return Ok(());
                };
                self.group.acknowledge(std::slice::from_ref(&hold.id)).await
            }
            Settlement::Failed(_) => {
                let redelivery = self.group.settings.redelivery;
                let (Some(id), Some(redelivery)) = (self.put_back(), redelivery) else {
                    return Ok(());
                };
                self.group
                    .give_back(&[id], redelivery.idle_of_failed())
                    .await
            }
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.put_back();
    }
}
