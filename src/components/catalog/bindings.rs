//! The types of bindings.

use std::sync::Arc;

use super::{Host, contains, listed, named, pubsubs};
use crate::components::binding::cron::Cron;
#[cfg(feature = "remote")]
use crate::components::binding::http::Http;
use crate::components::binding::queue::Queue;
#[cfg(feature = "redis")]
use crate::components::binding::redis::RedisKeys;
use crate::components::binding::{BindingComponent, BindingSettings, InputBinding, OutputBinding};
use crate::components::message::Metadata;
use crate::components::metadata::Reader;
use crate::components::{Error, ResolvedComponent, pluggable};

#[derive(Clone, Copy)]
enum BindingType {
    Cron,
    #[cfg(feature = "remote")]
    Http,
    JetStream,
    RabbitMq,
    Redis,
}

#[rustfmt::skip] // One row a type.
const BINDING_TYPES: &[(&str, BindingType)] = &[
    ("bindings.cron", BindingType::Cron),
    #[cfg(feature = "remote")]
    ("bindings.http", BindingType::Http),
    ("bindings.jetstream", BindingType::JetStream),
    ("bindings.rabbitmq", BindingType::RabbitMq),
    ("bindings.redis", BindingType::Redis),
];

/// What a type is made of: where its events come from, and where its operations go.
type Ways = (
    Option<Arc<dyn InputBinding>>,
    Option<Arc<dyn OutputBinding>>,
);

/// The types, for error texts.
pub(in crate::components) fn types() -> String {
    listed(BINDING_TYPES)
}

/// Whether there is a type of this name.
pub(super) fn has(component_type: &str) -> bool {
    contains(BINDING_TYPES, component_type)
}

pub(super) async fn build(
    component: &ResolvedComponent,
    host: Host<'_>,
) -> Result<BindingComponent, Error> {
    let Some(binding_type) = named(BINDING_TYPES, component) else {
        let unknown = Error::unknown("binding", component, types());
        return pluggable::binding(component, host, unknown).await;
    };
    let mut reader = Reader::new(component)?;
    let settings = BindingSettings::read(&mut reader)?;
    let (input, output): Ways = match binding_type {
        BindingType::Cron => (Some(Arc::new(Cron::start(&mut reader)?)), None),
        #[cfg(feature = "remote")]
        BindingType::Http => (None, Some(Arc::new(Http::start(&mut reader).await?))),
        BindingType::JetStream => both(jetstream(&mut reader, host).await?),
        BindingType::RabbitMq => both(rabbitmq(&mut reader).await?),
        BindingType::Redis => redis(component, &mut reader, host).await?,
    };
    reader.warn_unknown();
    Ok(BindingComponent::new(input, output, settings))
}

/// A queue is an input and an output.
fn both(queue: Queue) -> Ways {
    let queue = Arc::new(queue);
    (Some(Arc::clone(&queue) as _), Some(queue))
}

/// The settings of pub/sub over JetStream, and `topic`, the subject.
async fn jetstream(reader: &mut Reader<'_>, host: Host<'_>) -> Result<Queue, Error> {
    let topic = reader.required(&["topic"], "missing topic")?;
    let broker = pubsubs::jetstream(reader, host).await?;
    Ok(Queue::new(broker, topic, Metadata::new()))
}

#[cfg(feature = "rabbitmq")]
async fn rabbitmq(reader: &mut Reader<'_>) -> Result<Queue, Error> {
    crate::components::binding::rabbitmq::start(reader).await
}

#[cfg(not(feature = "rabbitmq"))]
async fn rabbitmq(_: &mut Reader<'_>) -> Result<Queue, Error> {
    Err(Error::lacks("speak to RabbitMQ", "rabbitmq"))
}

/// Keys are an output. With `stream` its messages are an input, with the settings of pub/sub.
#[cfg(feature = "redis")]
async fn redis(
    component: &ResolvedComponent,
    reader: &mut Reader<'_>,
    host: Host<'_>,
) -> Result<Ways, Error> {
    let keys = RedisKeys::start(component, reader).await?;
    let stream = reader
        .text(&["stream"])?
        .filter(|stream| !stream.is_empty());
    let input: Option<Arc<dyn InputBinding>> = match stream {
        Some(stream) => {
            let broker = pubsubs::redis(component, reader, host).await?;
            Some(Arc::new(Queue::new(broker, stream, Metadata::new())))
        }
        None => None,
    };
    Ok((input, Some(Arc::new(keys))))
}

#[cfg(not(feature = "redis"))]
async fn redis(_: &ResolvedComponent, _: &mut Reader<'_>, _: Host<'_>) -> Result<Ways, Error> {
    Err(Error::lacks("speak to Redis", "redis"))
}
