//! `pubsub.rabbitmq`: an exchange a topic, a queue a consumer and topic, laid out as by Dapr 1.18.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use lapin::types::AMQPValue;
use lapin::{BasicProperties, ExchangeKind};
use tracing::warn;

use super::{Feature, Interest, Outgoing, PubSub};
use crate::components::message::{Intake, Metadata};
use crate::components::metadata::Reader;
use crate::components::rabbitmq::declarations::{Declarations, Exchange, Lifetime, Queue};
use crate::components::rabbitmq::intake::{Consumption, take};
use crate::components::rabbitmq::link::Link;
use crate::components::rabbitmq::properties::{headers, lasting, property};
use crate::components::rabbitmq::publisher::{Publisher, Publishing};
use crate::components::rabbitmq::server::Server;
use crate::components::rabbitmq::short;
use crate::components::{BackendError, Error};
use settings::Settings;

mod settings;
mod subscription;

use subscription::Subscription;

/// The delivery mode of a message that is kept over a restart of the broker.
const PERSISTENT: u8 = 2;

/// The broker.
pub struct RabbitMq {
    settings: Settings,
    publisher: Publisher,
    link: Link,
}

impl RabbitMq {
    /// Reads the settings and connects.
    ///
    /// # Errors
    ///
    /// Settings that cannot be used, and a broker that is not there or lets nobody in.
    pub async fn start(reader: &mut Reader<'_>, app_id: &str) -> Result<Self, Error> {
        let server = Arc::new(Server::of_pubsub(reader).await?);
        let settings = Settings::read(reader, app_id)?;
        if settings.drops_failed() {
            warn!(
                "requeueInFailure is false and there is no dead letter exchange: messages that \
                 fail are dropped"
            );
        }
        let publisher = Publisher::new(Arc::clone(&server));
        let connected = publisher.connect().await;
        connected.map_err(|error| Error::Init(error.to_string()))?;
        Ok(Self {
            settings,
            publisher,
            link: Link::new(server),
        })
    }

    fn exchange(&self, topic: &str) -> Exchange {
        Exchange {
            name: topic.to_owned(),
            kind: self.settings.exchange_kind.clone(),
            lifetime: self.settings.lifetime,
        }
    }

    /// The exchange and the queue of what failed, which the queue itself names.
    async fn declare_dead_letters(
        &self,
        declarations: &mut Declarations<'_>,
        queue: &str,
    ) -> Result<String, BackendError> {
        let lifetime = Lifetime {
            // As in Dapr 1.18, whatever the other queues are.
            is_durable: true,
            ..self.settings.lifetime
        };
        let exchange = Exchange {
            name: format!("dlx-{queue}"),
            kind: ExchangeKind::Fanout,
            lifetime,
        };
        declarations.exchange(&exchange).await?;
        let mut arguments = self.settings.length_limits();
        arguments.insert("x-queue-mode", AMQPValue::LongString("lazy".into()));
        let dead_letters = Queue {
            name: format!("dlq-{queue}"),
            lifetime,
            is_exclusive: false,
            arguments,
        };
        declarations.queue(&dead_letters).await?;
        let (queue, exchange) = (dead_letters.name, exchange.name);
        declarations.bind(&queue, &exchange, "").await?;
        Ok(exchange)
    }

    fn publishing(&self, message: Outgoing) -> Result<Publishing, BackendError> {
        let mut properties = of_publisher(&message.metadata)?;
        if properties.expiration().is_none()
            && let Some(ttl) = self.settings.ttl
        {
            properties = properties.with_expiration(ttl.as_millis().to_string().into());
        }
        Ok(Publishing {
            routing_key: property(&message.metadata, "routingKey")
                .unwrap_or_default()
                .to_owned(),
            properties: properties.with_delivery_mode(self.settings.delivery_mode),
            data: message.data,
            // A topic without subscribers is no error.
            is_mandatory: false,
        })
    }
}

#[async_trait]
impl PubSub for RabbitMq {
    fn features(&self) -> &[Feature] {
        &[Feature::MessageTtl]
    }

    async fn publish(&self, topic: &str, message: Outgoing) -> Result<(), BackendError> {
        let publishing = self.publishing(message)?;
        self.publisher
            .publish(Some(&self.exchange(topic)), publishing)
            .await
    }

    async fn publish_all(
        &self,
        topic: &str,
        messages: Vec<Outgoing>,
    ) -> Vec<Result<(), BackendError>> {
        let publishings = messages.into_iter().map(|one| self.publishing(one));
        let publishings = publishings.collect();
        self.publisher
            .publish_all(Some(&self.exchange(topic)), publishings)
            .await
    }

    async fn subscribe(&self, interest: &Interest) -> Result<Box<dyn Intake>, BackendError> {
        let subscription = Subscription::read(interest, &self.settings)?;
        let mut declarations = Declarations::new(&self.link).await?;
        declarations
            .exchange(&self.exchange(&interest.topic))
            .await?;
        let mut arguments = subscription.arguments;
        if self.settings.has_dead_letters {
            let exchange = self
                .declare_dead_letters(&mut declarations, &subscription.queue)
                .await?;
            let exchange = AMQPValue::LongString(exchange.into());
            arguments.insert("x-dead-letter-exchange", exchange);
        }
        let queue = Queue {
            name: subscription.queue,
            lifetime: self.settings.lifetime,
            is_exclusive: false,
            arguments,
        };
        declarations.queue(&queue).await?;
        for routing_key in &subscription.routing_keys {
            declarations
                .bind(&queue.name, &interest.topic, routing_key)
                .await?;
        }
        let consumption = Consumption {
            queue: queue.name,
            topic: interest.topic.clone(),
            concurrency: self.settings.concurrency,
            prefetch: self.settings.prefetch,
            settles_at_once: self.settings.settles_at_once,
            requeues: self.settings.requeues,
            metadata: of_message,
        };
        take(declarations, consumption).await
    }
}

/// The properties that the metadata of a message give it.
fn of_publisher(metadata: &Metadata) -> Result<BasicProperties, BackendError> {
    let text = |name| {
        property(metadata, name)
            .map(|value| short(name, value))
            .transpose()
    };
    let content_type = text("contentType")?.unwrap_or_else(|| "text/plain".into());
    let mut properties = BasicProperties::default().with_content_type(content_type);
    if let Some(id) = text("messageID")? {
        properties = properties.with_message_id(id);
    }
    if let Some(id) = text("correlationID")? {
        properties = properties.with_correlation_id(id);
    }
    if let Some(kind) = text("type")? {
        properties = properties.with_type(kind);
    }
    lasting(properties, metadata)
}

/// What is told of a message, under the names of Dapr 1.18.
fn of_message(properties: &BasicProperties) -> Metadata {
    let named = [
        ("messageid", properties.message_id()),
        ("correlationid", properties.correlation_id()),
        ("type", properties.kind()),
        ("contenttype", properties.content_type()),
    ];
    let mut metadata = BTreeMap::new();
    for (name, value) in named {
        if let Some(value) = value.as_ref().filter(|value| !value.as_str().is_empty()) {
            metadata.insert(name.to_owned(), value.as_str().to_owned());
        }
    }
    for (name, value) in headers(properties) {
        metadata.insert(name.to_owned(), value);
    }
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(pairs: &[(&str, &str)]) -> Metadata {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn messages_carry_what_their_publisher_says() {
        let given = metadata(&[
            ("MessageId", "m"),
            ("correlationID", "c"),
            ("type", "t"),
            ("contentType", "application/json"),
            ("ttlInSeconds", "5"),
            ("priority", "300"),
            ("other", "o"),
        ]);
        let properties = of_publisher(&given).unwrap();
        assert_eq!(properties.expiration().as_ref().unwrap().as_str(), "5000");
        assert_eq!(*properties.priority(), Some(255));
        let told = of_message(&properties);
        let expected = metadata(&[
            ("messageid", "m"),
            ("correlationid", "c"),
            ("type", "t"),
            ("contenttype", "application/json"),
        ]);
        assert_eq!(told, expected);
        let plain = of_publisher(&Metadata::new()).unwrap();
        assert_eq!(
            plain.content_type().as_ref().unwrap().as_str(),
            "text/plain"
        );
    }
}
