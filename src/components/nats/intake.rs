//! Takes the messages of a consumer: as many as there is room for, so that all that the server
//! handed out are in hand.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{self, AckKind};
use async_trait::async_trait;
use futures_util::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::connection::Nats;
use super::held::{Held, Unsettled};
use crate::components::BackendError;
use crate::components::message::{Delivery, Intake, Metadata};

/// How long the server keeps a request for messages.
const EXPIRES: Duration = Duration::from_secs(20);

/// How messages are taken.
#[derive(Clone, Debug)]
pub(in crate::components) struct Consumption {
    /// What deliveries name as their topic.
    pub(in crate::components) topic: String,
    /// How many messages are dealt with at once.
    pub(in crate::components) concurrency: usize,
    /// How many messages are in hand at most: the back-pressure.
    pub(in crate::components) window: usize,
    /// Whether a message counts as settled when it is handed out.
    pub(in crate::components) settles_at_once: bool,
    /// After how long without a word the server gives a message to somebody else.
    pub(in crate::components) ack_wait: Duration,
    /// The pauses after failures, where the user chose them.
    pub(in crate::components) back_off: Vec<Duration>,
}

/// Begins to take messages.
pub(in crate::components) fn take(
    nats: &Nats,
    consumer: PullConsumer,
    consumption: Consumption,
) -> Box<dyn Intake> {
    let (sender, receiver) = mpsc::channel(consumption.window + 1);
    let pump = Pump {
        consumer,
        held: Held::new(
            nats.context.clone(),
            consumption.ack_wait,
            consumption.back_off.clone(),
        ),
        room: Arc::new(Semaphore::new(consumption.window)),
        together: consumption.window.div_ceil(2),
        connected: nats.connected.clone(),
        sender,
    };
    let mut pumping = JoinSet::new();
    pumping.spawn(pump.run());
    Box::new(Pulling {
        receiver,
        consumption,
        _pumping: pumping,
    })
}

struct Pulling {
    receiver: mpsc::Receiver<Result<Ready, BackendError>>,
    consumption: Consumption,
    _pumping: JoinSet<()>,
}

/// A message in hand.
struct Ready {
    message: jetstream::Message,
    unsettled: Unsettled,
}

#[async_trait]
impl Intake for Pulling {
    async fn next(&mut self) -> Result<Delivery, BackendError> {
        let ended = || BackendError::Unavailable("the consumer has ended".to_owned());
        let ready = self.receiver.recv().await.ok_or_else(ended)?;
        let Ready {
            message,
            mut unsettled,
        } = ready?;
        if self.consumption.settles_at_once {
            unsettled.tell(AckKind::Ack).await?;
        }
        let message = message.message;
        Ok(Delivery {
            topic: self.consumption.topic.clone(),
            data: message.payload,
            content_type: None,
            // As in Dapr 1.18.
            metadata: Metadata::from([("Topic".to_owned(), message.subject.to_string())]),
            acknowledge: Box::new(unsettled),
        })
    }

    fn concurrency(&self) -> usize {
        self.consumption.concurrency
    }
}

/// Asks the server for messages while there is room for them.
struct Pump {
    consumer: PullConsumer,
    held: Arc<Held>,
    room: Arc<Semaphore>,
    /// How many are asked for at once.
    together: usize,
    connected: watch::Receiver<u64>,
    sender: mpsc::Sender<Result<Ready, BackendError>>,
}

impl Pump {
    async fn run(mut self) {
        loop {
            if let Err(error) = self.pull().await {
                // Nobody waits for it any more where this fails.
                let _ = self.sender.send(Err(error)).await;
                return;
            }
        }
    }

    /// Takes the messages of one request.
    async fn pull(&mut self) -> Result<(), BackendError> {
        let count = u32::try_from(self.together).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(count).await;
        let mut room = room.map_err(|_| unavailable("no room"))?;
        self.connected.mark_unchanged();
        let request = self.consumer.batch().max_messages(self.together);
        let batch = request.expires(EXPIRES).messages().await;
        let mut batch = batch.map_err(|error| unavailable(error.to_string()))?;
        loop {
            let message = tokio::select! {
                biased;
                message = batch.next() => message,
                // The server has forgotten the request.
                _ = self.connected.changed() => return Ok(()),
            };
            match message {
                None => return Ok(()),
                Some(Err(error)) => return Err(unavailable(error.to_string())),
                Some(Ok(message)) => {
                    let Some(permit) = room.split(1) else {
                        return Err(unavailable("more messages than were asked for"));
                    };
                    let ready = Ok(self.hold(message, permit));
                    if self.sender.send(ready).await.is_err() {
                        return Err(unavailable("the intake is closed"));
                    }
                }
            }
        }
    }

    fn hold(&self, message: jetstream::Message, permit: OwnedSemaphorePermit) -> Ready {
        let delivered = message.info().map_or(1, |info| info.delivered);
        let delivered = u32::try_from(delivered).unwrap_or(1);
        let unsettled = self
            .held
            .hold(message.message.reply.clone(), delivered, permit);
        Ready { message, unsettled }
    }
}

fn unavailable(text: impl Into<String>) -> BackendError {
    BackendError::Unavailable(text.into())
}
