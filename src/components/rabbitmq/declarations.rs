//! Exchanges and queues, made where they are not there.

use std::collections::BTreeMap;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{ErrorKind, ExchangeKind};
use tracing::warn;

use super::link::{Link, Open};
use super::{broker_error, short};
use crate::components::BackendError;

/// The code of a declaration that does not fit what is there.
pub(super) const PRECONDITION_FAILED: u16 = 406;

/// How long exchanges and queues last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::components) struct Lifetime {
    /// Over a restart of the broker.
    pub(in crate::components) is_durable: bool,
    /// No longer than somebody uses it.
    pub(in crate::components) is_auto_deleted: bool,
    /// Whether the user chose it. Otherwise one that lasts for another time is taken as it is:
    /// others, whose defaults differ, may have made it.
    pub(in crate::components) is_chosen: bool,
}

/// An exchange.
#[derive(Clone, Debug)]
pub(in crate::components) struct Exchange {
    /// Its name.
    pub(in crate::components) name: String,
    /// How it finds queues.
    pub(in crate::components) kind: ExchangeKind,
    /// How long it lasts.
    pub(in crate::components) lifetime: Lifetime,
}

/// A queue.
#[derive(Clone, Debug)]
pub(in crate::components) struct Queue {
    /// Its name.
    pub(in crate::components) name: String,
    /// How long it lasts.
    pub(in crate::components) lifetime: Lifetime,
    /// Whether it is for one connection.
    pub(in crate::components) is_exclusive: bool,
    /// Its arguments, such as `x-max-length`.
    pub(in crate::components) arguments: BTreeMap<&'static str, AMQPValue>,
}

/// Declares on one channel, and on another after a refusal, which closes a channel.
pub(in crate::components) struct Declarations<'a> {
    link: &'a Link,
    open: Open,
}

impl<'a> Declarations<'a> {
    /// On a new channel.
    pub(in crate::components) async fn new(link: &'a Link) -> Result<Self, BackendError> {
        let open = link.open().await?;
        Ok(Self { link, open })
    }

    /// The channel, to go on with.
    pub(super) fn into_channel(self) -> Open {
        self.open
    }

    /// Declares an exchange.
    pub(in crate::components) async fn exchange(
        &mut self,
        exchange: &Exchange,
    ) -> Result<(), BackendError> {
        let options = ExchangeDeclareOptions {
            durable: exchange.lifetime.is_durable,
            auto_delete: exchange.lifetime.is_auto_deleted,
            ..ExchangeDeclareOptions::default()
        };
        let name = short("exchange", &exchange.name)?;
        let declared = self.open.channel.exchange_declare(
            name,
            exchange.kind.clone(),
            options,
            FieldTable::default(),
        );
        let declared = declared.await;
        self.check("exchange", &exchange.name, exchange.lifetime, declared)
            .await
    }

    /// Declares a queue.
    pub(in crate::components) async fn queue(&mut self, queue: &Queue) -> Result<(), BackendError> {
        let options = QueueDeclareOptions {
            durable: queue.lifetime.is_durable,
            exclusive: queue.is_exclusive,
            auto_delete: queue.lifetime.is_auto_deleted,
            ..QueueDeclareOptions::default()
        };
        let mut arguments = FieldTable::default();
        for (name, value) in &queue.arguments {
            arguments.insert((*name).into(), value.clone());
        }
        let name = short("queue", &queue.name)?;
        let declared = self.open.channel.queue_declare(name, options, arguments);
        let declared = declared.await.map(drop);
        self.check("queue", &queue.name, queue.lifetime, declared)
            .await
    }

    /// Lets what goes to an exchange under a routing key go to a queue.
    pub(in crate::components) async fn bind(
        &mut self,
        queue: &str,
        exchange: &str,
        routing_key: &str,
    ) -> Result<(), BackendError> {
        let bound = self.open.channel.queue_bind(
            short("queue", queue)?,
            short("exchange", exchange)?,
            short("routing key", routing_key)?,
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        let failed = |error| broker_error(&format!("queue {queue:?} is not bound"), &error);
        bound.await.map_err(failed)
    }

    async fn check(
        &mut self,
        what: &str,
        name: &str,
        lifetime: Lifetime,
        declared: lapin::Result<()>,
    ) -> Result<(), BackendError> {
        let Err(error) = declared else {
            return Ok(());
        };
        if lifetime.is_chosen || !is_of_another_lifetime(&error) {
            let failed = format!("{what} {name:?} is not declared");
            return Err(broker_error(&failed, &error));
        }
        warn!(
            name,
            reason = %error,
            "The broker has one that lasts for another time; it is used as it is"
        );
        self.open = self.link.open().await?;
        Ok(())
    }
}

/// Whether what is there differs in nothing that the broker names but how long it lasts.
fn is_of_another_lifetime(error: &lapin::Error) -> bool {
    let ErrorKind::ProtocolError(error) = error.kind() else {
        return false;
    };
    let text = error.get_message().as_str();
    error.get_id() == PRECONDITION_FAILED
        && ["arg 'auto_delete'", "arg 'durable'"]
            .iter()
            .any(|argument| text.contains(argument))
}
