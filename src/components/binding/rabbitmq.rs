//! `bindings.rabbitmq`: one queue, as Dapr 1.18 has it.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

use super::queue::Queue;
use crate::base::truthy::is_truthy;
use crate::components::message::{Intake, Metadata};
use crate::components::metadata::Reader;
use crate::components::pubsub::{Feature, Interest, Outgoing, PubSub};
use crate::components::rabbitmq::declarations::{self, Declarations, Lifetime};
use crate::components::rabbitmq::intake::{Consumption, take};
use crate::components::rabbitmq::link::Link;
use crate::components::rabbitmq::properties::{headers, lasting, property};
use crate::components::rabbitmq::publisher::{Publisher, Publishing};
use crate::components::rabbitmq::server::Server;
use crate::components::rabbitmq::short;
use crate::components::{BackendError, Error};

/// How many messages the broker hands out where nothing else is said. Dapr sets no limit.
const PREFETCH: u16 = 100;
/// The delivery mode of a message that is kept over a restart of the broker.
const PERSISTENT: u8 = 2;

/// The queue as a broker with one topic, its name.
struct RabbitMqQueue {
    queue: declarations::Queue,
    prefetch: u16,
    content_type: String,
    publisher: Publisher,
    link: Link,
}

/// Reads the settings, connects and makes the queue where there is none.
///
/// # Errors
///
/// Settings that cannot be used, and a broker that is not there or lets nobody in.
pub(in crate::components) async fn start(reader: &mut Reader<'_>) -> Result<Queue, Error> {
    let server = Arc::new(Server::of_binding(reader).await?);
    let queue = read(reader)?;
    let prefetch = reader.number(&["prefetchCount"], 0..=u16::MAX.into())?;
    let prefetch = prefetch.and_then(|count| u16::try_from(count).ok());
    let broker = RabbitMqQueue {
        prefetch: prefetch.filter(|count| *count > 0).unwrap_or(PREFETCH),
        content_type: reader
            .text(&["contentType"])?
            .unwrap_or("text/plain")
            .to_owned(),
        publisher: Publisher::new(Arc::clone(&server)),
        link: Link::new(server),
        queue,
    };
    let declared = broker.declare().await;
    declared.map_err(|error| Error::Init(error.to_string()))?;
    let name = broker.queue.name.clone();
    Ok(Queue::new(Arc::new(broker), name, Metadata::new()))
}

fn read(reader: &mut Reader<'_>) -> Result<declarations::Queue, Error> {
    let name = reader.required(&["queueName"], "missing queue Name")?;
    let mut flag = |names| -> Result<Option<bool>, Error> {
        let text = reader.text(names)?.filter(|text| !text.is_empty());
        Ok(text.map(is_truthy))
    };
    let durable = flag(&["durable"])?;
    let auto_deleted = flag(&["deleteWhenUnused"])?;
    let is_exclusive = flag(&["exclusive"])?.unwrap_or(false);
    let mut arguments = BTreeMap::new();
    if let Some(seconds) = reader.number(&["ttlInSeconds"], 1..=u32::MAX)? {
        let milliseconds = AMQPValue::LongLongInt(i64::from(seconds) * 1000);
        arguments.insert("x-message-ttl", milliseconds);
    }
    if let Some(most) = reader.number(&["maxPriority"], 0..=u32::MAX)? {
        // As in Dapr 1.18, more than there is means the most.
        let most = u8::try_from(most).unwrap_or(u8::MAX);
        arguments.insert("x-max-priority", AMQPValue::ShortShortUInt(most));
    }
    Ok(declarations::Queue {
        name: name.to_owned(),
        lifetime: Lifetime {
            is_durable: durable.unwrap_or(true),
            is_auto_deleted: auto_deleted.unwrap_or(false),
            is_chosen: durable.is_some() || auto_deleted.is_some(),
        },
        is_exclusive,
        arguments,
    })
}

impl RabbitMqQueue {
    /// Over the connection of the intake: an exclusive queue belongs to its connection.
    async fn declare(&self) -> Result<Declarations<'_>, BackendError> {
        let mut declarations = Declarations::new(&self.link).await?;
        declarations.queue(&self.queue).await?;
        Ok(declarations)
    }

    fn publishing(&self, message: &Outgoing) -> Result<Publishing, BackendError> {
        let mut table = FieldTable::default();
        for (name, value) in &message.metadata {
            let value = AMQPValue::LongString(value.as_str().into());
            table.insert(short("metadata key", name)?, value);
        }
        let content_type = property(&message.metadata, "contentType").unwrap_or(&self.content_type);
        let properties = BasicProperties::default()
            .with_headers(table)
            .with_content_type(short("contentType", content_type)?)
            .with_delivery_mode(PERSISTENT);
        Ok(Publishing {
            routing_key: self.queue.name.clone(),
            properties: lasting(properties, &message.metadata)?,
            data: message.data.clone(),
            // Otherwise a queue that is gone would swallow it.
            is_mandatory: true,
        })
    }
}

#[async_trait]
impl PubSub for RabbitMqQueue {
    fn features(&self) -> &[Feature] {
        &[Feature::MessageTtl]
    }

    async fn publish(&self, _: &str, message: Outgoing) -> Result<(), BackendError> {
        let publishing = self.publishing(&message)?;
        match self.publisher.publish(None, publishing.clone()).await {
            // Perhaps the queue did not outlast a restart of the broker.
            Err(BackendError::Refused(_)) => {
                self.declare().await?;
                self.publisher.publish(None, publishing).await
            }
            outcome => outcome,
        }
    }

    async fn subscribe(&self, interest: &Interest) -> Result<Box<dyn Intake>, BackendError> {
        let consumption = Consumption {
            queue: self.queue.name.clone(),
            topic: interest.topic.clone(),
            concurrency: self.prefetch,
            prefetch: self.prefetch,
            settles_at_once: false,
            requeues: true,
            metadata: of_message,
        };
        take(self.declare().await?, consumption).await
    }
}

/// The headers of a message, escaped as in Dapr 1.18 so that all of them can be HTTP headers.
fn of_message(properties: &BasicProperties) -> Metadata {
    let escaped =
        |text: &str| -> String { form_urlencoded::byte_serialize(text.as_bytes()).collect() };
    let headers = headers(properties);
    headers
        .map(|(name, value)| (escaped(name), escaped(&value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::contract;

    fn read_from(properties: &[(&str, &str)]) -> Result<declarations::Queue, String> {
        let component = contract::component("bindings.rabbitmq", properties);
        let mut reader = Reader::new(&component).unwrap();
        read(&mut reader).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_a_queue() {
        let plain = read_from(&[("queueName", "q")]).unwrap();
        assert_eq!(plain.name, "q");
        assert!(plain.lifetime.is_durable && !plain.lifetime.is_chosen && !plain.is_exclusive);
        let rich = read_from(&[
            ("queueName", "q"),
            ("durable", "false"),
            ("exclusive", "true"),
            ("ttlInSeconds", "60"),
            ("maxPriority", "1000"),
        ])
        .unwrap();
        assert!(!rich.lifetime.is_durable && rich.lifetime.is_chosen && rich.is_exclusive);
        let argument = |name| rich.arguments.get(name).cloned();
        assert_eq!(
            argument("x-message-ttl"),
            Some(AMQPValue::LongLongInt(60_000))
        );
        assert_eq!(
            argument("x-max-priority"),
            Some(AMQPValue::ShortShortUInt(255))
        );
        assert_eq!(read_from(&[]).err().unwrap(), "missing queue Name");
    }

    #[test]
    fn headers_cannot_be_more_than_headers() {
        let mut table = FieldTable::default();
        let value = AMQPValue::LongString("v\r\nx: y".into());
        table.insert("a b".into(), value);
        let properties = BasicProperties::default().with_headers(table);
        let metadata = of_message(&properties);
        assert_eq!(metadata["a+b"], "v%0D%0Ax%3A+y");
    }
}
