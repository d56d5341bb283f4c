//! The types of configuration stores.

use std::sync::Arc;

use super::{Host, contains, listed, named};
use crate::components::configuration::ConfigurationStore;
#[cfg(feature = "postgres")]
use crate::components::configuration::postgres::Postgres;
#[cfg(feature = "redis")]
use crate::components::configuration::redis::RedisItems;
use crate::components::metadata::Reader;
use crate::components::{Error, ResolvedComponent};

#[derive(Clone, Copy)]
enum ConfigurationType {
    Postgres,
    Redis,
}

#[rustfmt::skip] // One row a type.
const CONFIGURATION_TYPES: &[(&str, ConfigurationType)] = &[
    ("configuration.postgres", ConfigurationType::Postgres),
    ("configuration.postgresql", ConfigurationType::Postgres),
    ("configuration.redis", ConfigurationType::Redis),
];

/// The types, for error texts.
pub(in crate::components) fn types() -> String {
    listed(CONFIGURATION_TYPES)
}

/// Whether there is a type of this name.
pub(super) fn has(component_type: &str) -> bool {
    contains(CONFIGURATION_TYPES, component_type)
}

pub(super) async fn build(
    component: &ResolvedComponent,
    _host: Host<'_>,
) -> Result<Arc<dyn ConfigurationStore>, Error> {
    let Some(found) = named(CONFIGURATION_TYPES, component) else {
        return Err(Error::unknown("configuration store", component, types()));
    };
    let mut reader = Reader::new(component)?;
    let store = match found {
        ConfigurationType::Postgres => postgres(component, &mut reader).await?,
        ConfigurationType::Redis => redis(component, &mut reader).await?,
    };
    reader.warn_unknown();
    Ok(store)
}

#[cfg(feature = "postgres")]
async fn postgres(
    component: &ResolvedComponent,
    reader: &mut Reader<'_>,
) -> Result<Arc<dyn ConfigurationStore>, Error> {
    let store = Postgres::start(component, reader).await?;
    Ok(Arc::new(store))
}

#[cfg(not(feature = "postgres"))]
async fn postgres(
    _: &ResolvedComponent,
    _: &mut Reader<'_>,
) -> Result<Arc<dyn ConfigurationStore>, Error> {
    Err(Error::lacks("speak to PostgreSQL", "postgres"))
}

#[cfg(feature = "redis")]
async fn redis(
    component: &ResolvedComponent,
    reader: &mut Reader<'_>,
) -> Result<Arc<dyn ConfigurationStore>, Error> {
    Ok(Arc::new(RedisItems::start(component, reader).await?))
}

#[cfg(not(feature = "redis"))]
async fn redis(
    _: &ResolvedComponent,
    _: &mut Reader<'_>,
) -> Result<Arc<dyn ConfigurationStore>, Error> {
    Err(Error::lacks("speak to Redis", "redis"))
}
