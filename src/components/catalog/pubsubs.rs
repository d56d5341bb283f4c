//! The types of pub/sub.

use std::sync::Arc;

use super::{Host, listed, named};
use crate::components::metadata::Reader;
use crate::components::pubsub::in_memory::InMemory;
#[cfg(feature = "redis")]
use crate::components::pubsub::redis::RedisStreams;
use crate::components::pubsub::scopes::TopicScopes;
use crate::components::pubsub::{PubSub, PubSubComponent};
use crate::components::{Error, ResolvedComponent};

#[derive(Clone, Copy)]
enum PubSubType {
    InMemory,
    #[cfg(feature = "redis")]
    Redis,
}

#[rustfmt::skip] // One row a type.
const PUBSUB_TYPES: &[(&str, PubSubType)] = &[
    ("pubsub.in-memory", PubSubType::InMemory),
    #[cfg(feature = "redis")]
    ("pubsub.redis", PubSubType::Redis),
];

/// The types, for error texts.
pub(in crate::components) fn types() -> String {
    listed(PUBSUB_TYPES)
}

pub(super) async fn build(
    component: &ResolvedComponent,
    host: Host<'_>,
) -> Result<PubSubComponent, Error> {
    let Some(pubsub_type) = named(PUBSUB_TYPES, component) else {
        return Err(Error::unknown("pub/sub", component, types()));
    };
    let mut reader = Reader::new(component)?;
    let scopes = Arc::new(TopicScopes::read(&mut reader)?);
    let broker: Arc<dyn PubSub> = match pubsub_type {
        PubSubType::InMemory => Arc::new(InMemory::default()),
        #[cfg(feature = "redis")]
        PubSubType::Redis => {
            let Host {
                environment,
                app_id,
                ..
            } = host;
            Arc::new(RedisStreams::start(component, &mut reader, environment, app_id).await?)
        }
    };
    reader.warn_unknown();
    Ok(PubSubComponent { broker, scopes })
}
