//! The types of pub/sub.

use std::sync::Arc;

use super::{Host, contains, listed, named};
use crate::components::metadata::Reader;
use crate::components::pubsub::in_memory::InMemory;
use crate::components::pubsub::scopes::TopicScopes;
use crate::components::pubsub::{PubSub, PubSubComponent};
use crate::components::{Error, ResolvedComponent, pluggable};

#[derive(Clone, Copy)]
enum PubSubType {
    InMemory,
}

#[rustfmt::skip] // One row a type.
const PUBSUB_TYPES: &[(&str, PubSubType)] = &[
    ("pubsub.in-memory", PubSubType::InMemory),
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
    };
    reader.warn_unknown();
    Ok(PubSubComponent { broker, scopes })
}
