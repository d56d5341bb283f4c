//! Takes the messages of a queue.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::FieldTable;
use lapin::{Acker, BasicProperties, Consumer};

use super::declarations::Declarations;
use super::link::Open;
use super::{broker_error, short};
use crate::components::BackendError;
use crate::components::message::{Acknowledge, Delivery, Intake, Metadata, Settlement};
use crate::components::pauses::Failures;

/// How the messages of a queue are taken.
#[derive(Clone, Debug)]
pub(in crate::components) struct Consumption {
    /// The queue.
    pub(in crate::components) queue: String,
    /// What deliveries name as their topic.
    pub(in crate::components) topic: String,
    /// How many messages are dealt with at once.
    pub(in crate::components) concurrency: u16,
    /// How many the broker hands out before one of them is settled: the back-pressure.
    pub(in crate::components) prefetch: u16,
    /// Whether a message counts as settled when it is handed out.
    pub(in crate::components) settles_at_once: bool,
    /// Whether the broker hands a message that failed out again. Otherwise it drops it, or puts it
    /// into the dead letter exchange of the queue.
    pub(in crate::components) requeues: bool,
    /// What a delivery says of its message.
    pub(in crate::components) metadata: fn(&BasicProperties) -> Metadata,
}

/// Begins to take messages, over the channel of the declarations.
pub(in crate::components) async fn take(
    declarations: Declarations<'_>,
    consumption: Consumption,
) -> Result<Box<dyn Intake>, BackendError> {
    let open = declarations.into_channel();
    let failed = |error| broker_error(&format!("queue {:?}", consumption.queue), &error);
    let qos = BasicQosOptions::default();
    let prefetch = open.channel.basic_qos(consumption.prefetch, qos);
    prefetch.await.map_err(failed)?;
    let options = BasicConsumeOptions::default();
    let queue = short("queue", &consumption.queue)?;
    let (tag, arguments) = ("".into(), FieldTable::default());
    let consumer = open.channel.basic_consume(queue, tag, options, arguments);
    let consumer = consumer.await.map_err(failed)?;
    Ok(Box::new(Consuming {
        consumer,
        settling: Arc::new(Settling {
            open,
            requeues: consumption.requeues,
            failures: Failures::default(),
        }),
        consumption,
    }))
}

struct Consuming {
    consumer: Consumer,
    settling: Arc<Settling>,
    consumption: Consumption,
}

/// What settling needs. The channel stays open until the last message is settled; what it still
/// holds then, the broker hands out again.
struct Settling {
    open: Open,
    requeues: bool,
    failures: Failures,
}

#[async_trait]
impl Intake for Consuming {
    async fn next(&mut self) -> Result<Delivery, BackendError> {
        let queue = &self.consumption.queue;
        let delivery = match self.consumer.next().await {
            Some(Ok(delivery)) => delivery,
            Some(Err(error)) => return Err(broker_error(&format!("queue {queue:?}"), &error)),
            None => {
                let text = format!("queue {queue:?} was deleted, or its node has gone");
                return Err(BackendError::Unavailable(text));
            }
        };
        let content_type = delivery.properties.content_type();
        let content_type = content_type.as_ref().map(|text| text.as_str().to_owned());
        let metadata = (self.consumption.metadata)(&delivery.properties);
        let mut unsettled = Unsettled {
            acker: Some(delivery.acker),
            settling: Arc::clone(&self.settling),
        };
        if self.consumption.settles_at_once {
            unsettled.accept().await?;
        }
        Ok(Delivery {
            topic: self.consumption.topic.clone(),
            data: Bytes::from(delivery.data),
            content_type,
            metadata,
            acknowledge: Box::new(unsettled),
        })
    }

    fn concurrency(&self) -> usize {
        usize::from(self.consumption.concurrency)
    }

    async fn close(self: Box<Self>) {
        let channel = &self.settling.open.channel;
        let cancelled = channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default());
        // A connection that is gone takes no more messages either.
        let _ = cancelled.await;
    }
}

struct Unsettled {
    /// Gone when it is settled.
    acker: Option<Acker>,
    settling: Arc<Settling>,
}

impl Unsettled {
    async fn accept(&mut self) -> Result<(), BackendError> {
        let Some(acker) = self.acker.take() else {
            return Ok(());
        };
        told(acker.ack(BasicAckOptions::default()).await)
    }

    async fn reject(&mut self, requeue: bool) -> Result<(), BackendError> {
        let Some(acker) = self.acker.take() else {
            return Ok(());
        };
        told(acker.nack(nack(requeue)).await)
    }
}

#[async_trait]
impl Acknowledge for Unsettled {
    async fn settle(mut self: Box<Self>, settlement: Settlement) -> Result<(), BackendError> {
        if let Settlement::Done(_) = settlement {
            self.settling.failures.end();
            return self.accept().await;
        }
        let pause = self.settling.failures.another();
        if self.acker.is_some() {
            tokio::time::sleep(pause).await;
        }
        let requeue = self.settling.requeues;
        self.reject(requeue).await
    }
}

/// A message that nobody settled goes back at once: it would wait for the end of the channel.
impl Drop for Unsettled {
    fn drop(&mut self) {
        if let Some(acker) = self.acker.take() {
            // The client has the word when it is polled once; nobody waits for more.
            let _ = acker.nack(nack(true)).now_or_never();
        }
    }
}

fn nack(requeue: bool) -> BasicNackOptions {
    BasicNackOptions {
        requeue,
        ..BasicNackOptions::default()
    }
}

fn told(told: lapin::Result<bool>) -> Result<(), BackendError> {
    match told {
        Ok(true) => Ok(()),
        Ok(false) => Err(BackendError::Unavailable(
            "the channel of the message is closed".to_owned(),
        )),
        Err(error) => Err(broker_error("not settled", &error)),
    }
}
