//! The types of pub/sub.

use std::sync::Arc;

use super::{Host, contains, listed, named};
use crate::components::metadata::Reader;
use crate::components::pubsub::in_memory::InMemory;
#[cfg(feature = "nats")]
use crate::components::pubsub::jetstream::JetStream;
#[cfg(feature = "rabbitmq")]
use crate::components::pubsub::rabbitmq::RabbitMq;
#[cfg(feature = "redis")]
use crate::components::pubsub::redis::RedisStreams;
use crate::components::pubsub::scopes::TopicScopes;
use crate::components::pubsub::{PubSub, PubSubComponent};
use crate::components::{Error, ResolvedComponent, pluggable};

#[derive(Clone, Copy)]
enum PubSubType {
    InMemory,
    JetStream,
    RabbitMq,
    Redis,
}

#[rustfmt::skip] // One row a type.
const PUBSUB_TYPES: &[(&str, PubSubType)] = &[
    ("pubsub.in-memory", PubSubType::InMemory),
    ("pubsub.jetstream", PubSubType::JetStream),
    ("pubsub.rabbitmq", PubSubType::RabbitMq),
    ("pubsub.redis", PubSubType::Redis),
];

/// The types, for error texts.
pub(in crate::components) fn types() -> String {
    listed(PUBSUB_TYPES)
}

/// Whether there is a type of this name.
pub(super) fn has(component_type: &str) -> bool {
    contains(PUBSUB_TYPES, component_type)
}

pub(super) async fn build(
    component: &ResolvedComponent,
    host: Host<'_>,
) -> Result<PubSubComponent, Error> {
    let Some(pubsub_type) = named(PUBSUB_TYPES, component) else {
        let unknown = Error::unknown("pub/sub", component, types());
        return pluggable::pubsub(component, host, unknown).await;
    };
    let mut reader = Reader::new(component)?;
    let scopes = Arc::new(TopicScopes::read(&mut reader)?);
    let broker: Arc<dyn PubSub> = match pubsub_type {
        PubSubType::InMemory => Arc::new(InMemory::default()),
        PubSubType::JetStream => jetstream(&mut reader, host).await?,
        PubSubType::RabbitMq => rabbitmq(&mut reader, host).await?,
        PubSubType::Redis => redis(component, &mut reader, host).await?,
    };
    reader.warn_unknown();
    Ok(PubSubComponent { broker, scopes })
}

#[cfg(feature = "nats")]
pub(super) async fn jetstream(
    reader: &mut Reader<'_>,
    host: Host<'_>,
) -> Result<Arc<dyn PubSub>, Error> {
    let broker = JetStream::start(reader, host.app_id).await?;
    Ok(Arc::new(broker))
}

#[cfg(not(feature = "nats"))]
pub(super) async fn jetstream(_: &mut Reader<'_>, _: Host<'_>) -> Result<Arc<dyn PubSub>, Error> {
    Err(Error::lacks("speak to NATS", "nats"))
}

#[cfg(feature = "rabbitmq")]
async fn rabbitmq(reader: &mut Reader<'_>, host: Host<'_>) -> Result<Arc<dyn PubSub>, Error> {
    let broker = RabbitMq::start(reader, host.app_id).await?;
    Ok(Arc::new(broker))
}

#[cfg(not(feature = "rabbitmq"))]
async fn rabbitmq(_: &mut Reader<'_>, _: Host<'_>) -> Result<Arc<dyn PubSub>, Error> {
    Err(Error::lacks("speak to RabbitMQ", "rabbitmq"))
}

#[cfg(feature = "redis")]
pub(super) async fn redis(
    component: &ResolvedComponent,
    reader: &mut Reader<'_>,
    host: Host<'_>,
) -> Result<Arc<dyn PubSub>, Error> {
    let broker = RedisStreams::start(component, reader, host.environment, host.app_id).await?;
    Ok(Arc::new(broker))
}

#[cfg(not(feature = "redis"))]
pub(super) async fn redis(
    _: &ResolvedComponent,
    _: &mut Reader<'_>,
    _: Host<'_>,
) -> Result<Arc<dyn PubSub>, Error> {
    Err(Error::lacks("speak to Redis", "redis"))
}
