//! The types of lock stores.

use std::sync::Arc;

use super::{Host, contains, listed, named};
use crate::components::lock::LockStore;
use crate::components::lock::names::Names;
#[cfg(feature = "redis")]
use crate::components::lock::redis::RedisLocks;
use crate::components::metadata::Reader;
use crate::components::{Error, ResolvedComponent};

#[derive(Clone, Copy)]
enum LockType {
    Redis,
}

#[rustfmt::skip] // One row a type.
const LOCK_TYPES: &[(&str, LockType)] = &[
    ("lock.redis", LockType::Redis),
];

/// The types, for error texts.
pub(in crate::components) fn types() -> String {
    listed(LOCK_TYPES)
}

/// Whether there is a type of this name.
pub(super) fn has(component_type: &str) -> bool {
    contains(LOCK_TYPES, component_type)
}

pub(super) async fn build(
    component: &ResolvedComponent,
    host: Host<'_>,
) -> Result<Arc<dyn LockStore>, Error> {
    let Some(lock_type) = named(LOCK_TYPES, component) else {
        return Err(Error::unknown("lock store", component, types()));
    };
    let mut reader = Reader::new(component)?;
    let names = Names::read(&mut reader, &component.name, host.app_id)?;
    let store = match lock_type {
        LockType::Redis => redis(component, &mut reader, names).await?,
    };
    reader.warn_unknown();
    Ok(store)
}

#[cfg(feature = "redis")]
async fn redis(
    component: &ResolvedComponent,
    reader: &mut Reader<'_>,
    names: Names,
) -> Result<Arc<dyn LockStore>, Error> {
    let store = RedisLocks::start(component, reader, names).await?;
    Ok(Arc::new(store))
}

#[cfg(not(feature = "redis"))]
async fn redis(
    _: &ResolvedComponent,
    _: &mut Reader<'_>,
    _: Names,
) -> Result<Arc<dyn LockStore>, Error> {
    Err(Error::lacks("speak to Redis", "redis"))
}
