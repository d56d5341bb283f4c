//! The types of configuration stores.

use std::sync::Arc;

use super::{Host, contains, listed, named};
use crate::components::configuration::ConfigurationStore;
use crate::components::{Error, ResolvedComponent};

#[derive(Clone, Copy)]
enum ConfigurationType {}

#[rustfmt::skip] // One row a type.
const CONFIGURATION_TYPES: &[(&str, ConfigurationType)] = &[
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
    match named(CONFIGURATION_TYPES, component) {
        None => Err(Error::unknown("configuration store", component, types())),
        Some(found) => match found {},
    }
}
