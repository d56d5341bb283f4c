//! The types of state stores.

use std::sync::Arc;

use super::{Host, is_first, listed_with_versions};
use crate::components::metadata::Reader;
use crate::components::state::in_memory::InMemory;
use crate::components::state::key_prefix::KeyPrefix;
#[cfg(feature = "postgres")]
use crate::components::state::postgres::{Postgres, Version};
use crate::components::state::{StateComponent, StateStore, unserved};
use crate::components::{Error, ResolvedComponent};

#[derive(Clone, Copy)]
enum StateType {
    InMemory,
    Redis,
    PostgresV1,
    PostgresV2,
}

/// Types with their versions, of which the first may be left out.
#[rustfmt::skip] // One row a type.
const STATE_TYPES: &[((&str, &str), StateType)] = &[
    (("state.in-memory", "v1"), StateType::InMemory),
    (("state.redis", "v1"), StateType::Redis),
    (("state.postgres", "v1"), StateType::PostgresV1),
    (("state.postgresql", "v1"), StateType::PostgresV1),
    (("state.postgres", "v2"), StateType::PostgresV2),
    (("state.postgresql", "v2"), StateType::PostgresV2),
];

/// The types, for error texts.
pub(in crate::components) fn types() -> String {
    listed_with_versions(STATE_TYPES)
}

/// Whether there is a type of this name.
pub(super) fn has(component_type: &str) -> bool {
    let mut types = STATE_TYPES.iter();
    types.any(|((name, _), _)| *name == component_type)
}

fn of(component: &ResolvedComponent) -> Option<StateType> {
    let wanted = component.component_type.to_lowercase();
    let version = component.version.to_lowercase();
    let is_wanted = |((name, of), _): &&((&str, &str), StateType)| {
        *name == wanted && (*of == version || *of == "v1" && is_first(&version))
    };
    STATE_TYPES.iter().find(is_wanted).map(|(_, found)| *found)
}

pub(super) async fn build(
    component: &ResolvedComponent,
    _host: Host<'_>,
) -> Result<StateComponent, Error> {
    let Some(state_type) = of(component) else {
        return Err(Error::unknown("state store", component, types()));
    };
    let mut reader = Reader::new(component)?;
    let key_prefix = KeyPrefix::read(&mut reader)?;
    let store: Arc<dyn StateStore> = match state_type {
        StateType::InMemory => Arc::new(InMemory::default()),
        StateType::Redis => redis(component, &mut reader).await?,
        StateType::PostgresV1 => postgres(component, &mut reader, "v1").await?,
        StateType::PostgresV2 => postgres(component, &mut reader, "v2").await?,
    };
    unserved::name(component, &mut reader)?;
    reader.warn_unknown();
    Ok(StateComponent { store, key_prefix })
}

#[cfg(feature = "redis")]
async fn redis(
    component: &ResolvedComponent,
    reader: &mut Reader<'_>,
) -> Result<Arc<dyn StateStore>, Error> {
    use crate::components::state::redis::RedisHashes;

    Ok(Arc::new(RedisHashes::start(component, reader).await?))
}

#[cfg(not(feature = "redis"))]
async fn redis(_: &ResolvedComponent, _: &mut Reader<'_>) -> Result<Arc<dyn StateStore>, Error> {
    Err(Error::lacks("speak to Redis", "redis"))
}

#[cfg(feature = "postgres")]
async fn postgres(
    component: &ResolvedComponent,
    reader: &mut Reader<'_>,
    version: &str,
) -> Result<Arc<dyn StateStore>, Error> {
    let version = match version {
        "v2" => Version::V2,
        _ => Version::V1,
    };
    let store = Postgres::start(component, reader, version).await?;
    Ok(Arc::new(store))
}

#[cfg(not(feature = "postgres"))]
async fn postgres(
    _: &ResolvedComponent,
    _: &mut Reader<'_>,
    _: &str,
) -> Result<Arc<dyn StateStore>, Error> {
    Err(Error::lacks("speak to PostgreSQL", "postgres"))
}
