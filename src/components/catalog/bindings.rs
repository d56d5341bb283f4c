//! The types of bindings.

use super::{Host, contains, listed, named};
use crate::components::binding::{BindingComponent, BindingSettings};
use crate::components::metadata::Reader;
use crate::components::{Error, ResolvedComponent, pluggable};

#[derive(Clone, Copy)]
enum BindingType {}

#[rustfmt::skip] // One row a type.
const BINDING_TYPES: &[(&str, BindingType)] = &[
];

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
    let _settings = BindingSettings {
        direction: reader.text(&["direction"])?.map(str::to_owned),
        route: reader.text(&["route"])?.map(str::to_owned),
    };
    reader.warn_unknown();
    match binding_type {}
}
