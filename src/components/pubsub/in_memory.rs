//! `pubsub.in-memory`: topics of this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{Feature, Interest, Outgoing, PubSub};
use crate::components::message::{Acknowledge, BrokerError, Delivery, Intake, Settlement};

/// How many messages wait for one subscription.
const WAITING: usize = 10_000;
/// How many messages of one subscription are dealt with at once.
const CONCURRENCY: usize = 10;

type Queues = HashMap<String, Vec<mpsc::Sender<Outgoing>>>;

/// The broker.
#[derive(Debug, Default)]
pub struct InMemory {
    queues: Arc<Mutex<Queues>>,
}

#[async_trait]
impl PubSub for InMemory {
    fn features(&self) -> &[Feature] {
        &[Feature::SubscribeWildcards]
    }

    async fn publish(&self, topic: &str, message: Outgoing) -> Result<(), BrokerError> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(subscribers) = queues.get_mut(topic) else {
            return Ok(());
        };
        subscribers.retain(|subscriber| !subscriber.is_closed());
        for subscriber in subscribers {
            subscriber.try_send(message.clone()).map_err(|_| {
                BrokerError::Unavailable(format!("{WAITING} messages wait already"))
            })?;
        }
        Ok(())
    }

    async fn subscribe(&self, interest: &Interest) -> Result<Box<dyn Intake>, BrokerError> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let topic = interest.topic.clone();
        queues.entry(topic.clone()).or_default().push(sender);
        Ok(Box::new(Subscription { topic, receiver }))
    }
}

struct Subscription {
    topic: String,
    receiver: mpsc::Receiver<Outgoing>,
}

#[async_trait]
impl Intake for Subscription {
    async fn next(&mut self) -> Result<Delivery, BrokerError> {
        let message = self.receiver.recv().await;
        let message = message.ok_or_else(|| BrokerError::Refused("the broker is gone".into()))?;
        Ok(Delivery {
            topic: self.topic.clone(),
            data: message.data,
            content_type: message.content_type,
            metadata: message.metadata,
            acknowledge: Box::new(Nothing),
        })
    }

    fn concurrency(&self) -> usize {
        CONCURRENCY
    }
}

struct Nothing;

#[async_trait]
impl Acknowledge for Nothing {
    async fn settle(self: Box<Self>, _: Settlement) -> Result<(), BrokerError> {
        Ok(())
    }
}
