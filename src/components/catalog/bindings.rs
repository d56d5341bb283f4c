//! The types of bindings.

use super::{Host, listed, named};
use crate::components::binding::{BindingComponent, BindingSettings};
use crate::components::metadata::Reader;
use crate::components::{Error, ResolvedComponent};

#[derive(Clone, Copy)]
enum BindingType {}

#[rustfmt::skip] // One row a type.
const BINDING_TYPES: &[(&str, BindingType)] = &[
];

/// The types, for error texts.
pub(in crate::components) fn types() -> String {
    listed(BINDING_TYPES)
}

pub(super) async fn build(
    component: &ResolvedComponent,
    _host: Host<'_>,
) -> Result<BindingComponent, Error> {
    let Some(binding_type) = named(BINDING_TYPES, component) else {
        return Err(Error::unknown("binding", component, types()));
    };
    let mut reader = Reader::new(component)?;
    let _settings = BindingSettings {
        direction: reader.text(&["direction"])?.map(str::to_owned),
        route: reader.text(&["route"])?.map(str::to_owned),
    };
    reader.warn_unknown();
    match binding_type {}
}
