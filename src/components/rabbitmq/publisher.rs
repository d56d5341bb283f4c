//! Publishes with confirms: what is accepted is at the broker.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Confirmation, PublisherConfirm};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::declarations::{Declarations, Exchange};
use super::link::{Link, Open};
use super::server::Server;
use super::{broker_error, short};
use crate::components::BackendError;

/// How long a message may wait for the broker's word. A broker that is short of memory or disk
/// says none.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);
/// How many publishers wait for it at once.
const IN_FLIGHT: usize = 1024;
/// How many messages of one publisher wait for it at once.
const TOGETHER: usize = 256;
/// How many exchanges are known to be there.
const KNOWN_EXCHANGES: usize = 1000;

/// A message with where it goes.
#[derive(Clone, Debug)]
pub(in crate::components) struct Publishing {
    /// The routing key.
    pub(in crate::components) routing_key: String,
    /// What the protocol says of it.
    pub(in crate::components) properties: BasicProperties,
    /// The message.
    pub(in crate::components) data: Bytes,
    /// Whether it is an error that no queue takes it.
    pub(in crate::components) is_mandatory: bool,
}

/// Publishes over a connection of its own: what slows it down holds up no acknowledgement.
pub(in crate::components) struct Publisher {
    link: Link,
    opened: Mutex<Option<Opened>>,
    in_flight: Semaphore,
}

struct Opened {
    open: Open,
    exchanges: HashSet<String>,
}

impl Publisher {
    /// To a server, not yet connected.
    pub(in crate::components) fn new(server: Arc<Server>) -> Self {
        Self {
            link: Link::new(server),
            opened: Mutex::default(),
            in_flight: Semaphore::new(IN_FLIGHT),
        }
    }

    /// Connects, where it is not connected.
    pub(in crate::components) async fn connect(&self) -> Result<(), BackendError> {
        self.open(None).await.map(drop)
    }

    /// Publishes one message: to an exchange, or with `None` to the queue that the routing key
    /// names. `Ok` says that the broker has it.
    pub(in crate::components) async fn publish(
        &self,
        exchange: Option<&Exchange>,
        publishing: Publishing,
    ) -> Result<(), BackendError> {
        let _permit = self.in_flight.acquire().await;
        let until = Instant::now() + CONFIRM_TIMEOUT;
        let publishing = async { confirmed(self.send(exchange, publishing).await?).await };
        self.within(until, publishing).await
    }

    /// Publishes several in their order, and waits for the broker's word on many of them together.
    pub(in crate::components) async fn publish_all(
        &self,
        exchange: Option<&Exchange>,
        publishings: Vec<Result<Publishing, BackendError>>,
    ) -> Vec<Result<(), BackendError>> {
        let mut outcomes = Vec::with_capacity(publishings.len());
        let mut rest = publishings.into_iter();
        loop {
            let _permit = self.in_flight.acquire().await;
            let until = Instant::now() + CONFIRM_TIMEOUT;
            let mut sent = Vec::new();
            for publishing in rest.by_ref().take(TOGETHER) {
                sent.push(match publishing {
                    Ok(publishing) => self.within(until, self.send(exchange, publishing)).await,
                    Err(error) => Err(error),
                });
            }
            if sent.is_empty() {
                return outcomes;
            }
            for confirm in sent {
                outcomes.push(match confirm {
                    Ok(confirm) => self.within(until, confirmed(confirm)).await,
                    Err(error) => Err(error),
                });
            }
        }
    }

    /// The outcome of work that ends in time. Otherwise the channel is not used any more.
    async fn within<T>(
        &self,
        until: Instant,
        work: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        if let Ok(outcome) = timeout_at(until, work).await {
            return outcome;
        }
        if let Ok(mut opened) = self.opened.try_lock() {
            *opened = None;
        }
        let seconds = CONFIRM_TIMEOUT.as_secs();
        Err(BackendError::Unavailable(format!(
            "the broker did not confirm the message within {seconds} s"
        )))
    }

    async fn send(
        &self,
        exchange: Option<&Exchange>,
        publishing: Publishing,
    ) -> Result<PublisherConfirm, BackendError> {
        let name = short("topic", exchange.map_or("", |exchange| &exchange.name))?;
        let routing_key = short("routing key", &publishing.routing_key)?;
        let open = self.open(exchange).await?;
        let options = BasicPublishOptions {
            mandatory: publishing.is_mandatory,
            ..BasicPublishOptions::default()
        };
        let (data, properties) = (&publishing.data, publishing.properties);
        let sent = open
            .channel
            .basic_publish(name, routing_key, options, data, properties);
        sent.await.map_err(|error| broker_error("not sent", &error))
    }

    /// A channel with confirms, on which the exchange is known to be there.
    async fn open(&self, exchange: Option<&Exchange>) -> Result<Open, BackendError> {
        let mut opened = self.opened.lock().await;
        if !matches!(&*opened, Some(opened) if opened.open.channel.status().connected()) {
            *opened = Some(self.reopen().await?);
        }
        let Some(state) = opened.as_mut() else {
            return Err(BackendError::Unavailable("no channel".to_owned()));
        };
        if let Some(exchange) = exchange
            && !state.exchanges.contains(&exchange.name)
        {
            // On a channel of its own: a refusal closes it.
            let mut declarations = Declarations::new(&self.link).await?;
            declarations.exchange(exchange).await?;
            if state.exchanges.len() >= KNOWN_EXCHANGES {
                state.exchanges.clear();
            }
            state.exchanges.insert(exchange.name.clone());
        }
        Ok(state.open.clone())
    }

    async fn reopen(&self) -> Result<Opened, BackendError> {
        let open = self.link.open().await?;
        let selected = open.channel.confirm_select(ConfirmSelectOptions::default());
        let selected = selected.await;
        selected.map_err(|error| broker_error("no confirms", &error))?;
        Ok(Opened {
            open,
            exchanges: HashSet::new(),
        })
    }
}

async fn confirmed(confirm: PublisherConfirm) -> Result<(), BackendError> {
    match confirm.await {
        Ok(Confirmation::Ack(None)) => Ok(()),
        Ok(Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned))) => {
            let reason = &returned.reply_text;
            Err(BackendError::Refused(format!(
                "no queue takes it: {reason}"
            )))
        }
        Ok(Confirmation::Nack(None)) => Err(BackendError::Unavailable(
            "the broker did not take the message".to_owned(),
        )),
        Ok(Confirmation::NotRequested) => Err(BackendError::Unavailable(
            "the broker confirms nothing".to_owned(),
        )),
        // It may be another message for which the channel was closed.
        Err(error) => Err(BackendError::Unavailable(format!("not confirmed: {error}"))),
    }
}
