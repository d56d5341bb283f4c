//! Messages that a component sends down a stream, up which it is told what became of each.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::Status;
use tonic::codec::Streaming;

use super::connection::{Connection, Failure};
use crate::components::BackendError;
use crate::components::message::{Acknowledge, Delivery, Intake, Metadata, Settlement};

/// How many answers wait to be sent.
const WAITING: usize = 64;
/// How long a component may take to end a stream after the last answer.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// How the messages of a service look.
pub(super) trait Protocol: Send + Sync + 'static {
    /// What goes up.
    type Reply: prost::Message + Default + 'static;
    /// What comes down.
    type Event: prost::Message + Default + 'static;
    /// The name of the call.
    const METHOD: &'static str;

    /// A message, and by what it is told from the others.
    fn read(event: Self::Event) -> (String, Message);

    /// What became of it.
    fn reply(id: String, settlement: Settlement) -> Self::Reply;
}

/// A message of a component.
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) data: bytes::Bytes,
    pub(super) content_type: String,
    pub(super) metadata: Metadata,
}

/// An open stream of messages.
pub(super) struct Pull<P: Protocol> {
    /// Of messages that do not say theirs.
    topic: String,
    concurrency: usize,
    coming: Coming<P::Event>,
    up: Arc<Up<P>>,
}

enum Coming<E> {
    /// The answer begins with the first message, whenever that comes.
    Opening(BoxFuture<'static, Result<Streaming<E>, Status>>),
    Open(Box<Streaming<E>>),
}

/// The way up, which is there for as long as messages are not settled.
struct Up<P: Protocol> {
    connection: Arc<Connection>,
    replies: mpsc::Sender<P::Reply>,
    /// The stream once nobody takes messages any more: dropping it would cancel the call.
    parked: Mutex<Option<Streaming<P::Event>>>,
}

impl<P: Protocol> Pull<P> {
    /// Opens a stream, which begins with `first` where there is one.
    pub(super) async fn open(
        connection: &Arc<Connection>,
        topic: String,
        first: Option<P::Reply>,
        concurrency: usize,
    ) -> Result<Box<dyn Intake>, BackendError> {
        let wire = connection.wire().await?;
        let (replies, receiver) = mpsc::channel(WAITING);
        let path = connection.target.service.path(P::METHOD);
        let messages = stream::iter(first).chain(received(receiver));
        let opening = async move { wire.streaming(path, messages).await };
        Ok(Box::new(Self {
            topic,
            concurrency,
            coming: Coming::Opening(Box::pin(opening)),
            up: Arc::new(Up::<P> {
                connection: Arc::clone(connection),
                replies,
                parked: Mutex::new(None),
            }),
        }))
    }

    fn broken(&self, status: &Status) -> BackendError {
        self.up.connection.target.failure(status).into()
    }
}

#[async_trait]
impl<P: Protocol> Intake for Pull<P> {
    async fn next(&mut self) -> Result<Delivery, BackendError> {
        let event = loop {
            match &mut self.coming {
                Coming::Opening(opening) => {
                    let opened = opening.await;
                    let opened = opened.map_err(|status| self.broken(&status))?;
                    self.coming = Coming::Open(Box::new(opened));
                }
                Coming::Open(events) => {
                    let event = events.message().await;
                    break event.map_err(|status| self.broken(&status))?;
                }
            }
        };
        let ended = || BackendError::Unavailable("the component ended the stream".to_owned());
        let (id, message) = P::read(event.ok_or_else(ended)?);
        let content_type = message.content_type;
        Ok(Delivery {
            topic: if message.topic.is_empty() {
                self.topic.clone()
            } else {
                message.topic
            },
            data: message.data,
            content_type: (!content_type.is_empty()).then_some(content_type),
            metadata: message.metadata,
            acknowledge: Box::new(Reply {
                id,
                up: Arc::clone(&self.up),
                protocol: PhantomData::<P>,
            }),
        })
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }

    async fn close(self: Box<Self>) {
        let Self { coming, up, .. } = *self;
        if let Coming::Open(events) = coming {
            up.park(*events);
        }
        Up::end(up).await;
    }
}

/// What became of one message.
struct Reply<P: Protocol> {
    id: String,
    up: Arc<Up<P>>,
    protocol: PhantomData<P>,
}

#[async_trait]
impl<P: Protocol> Acknowledge for Reply<P> {
    async fn settle(self: Box<Self>, settlement: Settlement) -> Result<(), BackendError> {
        let Self { id, up, .. } = *self;
        let reply = P::reply(id, settlement);
        let sent = up.replies.send(reply).await;
        Up::end(up).await;
        sent.map_err(|_| BackendError::Unavailable("the stream of the message broke".to_owned()))
    }
}

impl<P: Protocol> Up<P> {
    fn park(&self, events: Streaming<P::Event>) {
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        *parked = Some(events);
    }

    /// Where nobody else has the stream any more: ends it, and waits until the component has read
    /// the last answers. What it still sends is not taken, so that it hands it out again.
    async fn end(self: Arc<Self>) {
        let Some(last) = Arc::into_inner(self) else {
            return;
        };
        let Self {
            connection,
            replies,
            parked,
        } = last;
        drop(replies);
        let parked = parked.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut events) = parked {
            let ending = async { while let Ok(Some(_)) = events.message().await {} };
            // Late or not, it is over.
            let _ = timeout(END_TIMEOUT, ending).await;
        }
        drop(connection);
    }
}

/// What comes out of a channel.
fn received<T>(mut receiver: mpsc::Receiver<T>) -> impl Stream<Item = T> {
    stream::poll_fn(move |context| receiver.poll_recv(context))
}

impl From<Failure> for BackendError {
    fn from(failure: Failure) -> Self {
        if failure.is_final() {
            Self::Refused(failure.to_string())
        } else {
            Self::Unavailable(failure.to_string())
        }
    }
}
