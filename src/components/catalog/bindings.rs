//! The types of bindings.

use std::sync::Arc;

use super::{Host, listed, named};
use crate::components::binding::cron::Cron;
#[cfg(feature = "remote")]
use crate::components::binding::http::Http;
use crate::components::binding::{BindingComponent, BindingSettings, InputBinding, OutputBinding};
use crate::components::metadata::Reader;
use crate::components::{Error, ResolvedComponent};

#[derive(Clone, Copy)]
enum BindingType {
    Cron,
    #[cfg(feature = "remote")]
    Http,
}

#[rustfmt::skip] // One row a type.
const BINDING_TYPES: &[(&str, BindingType)] = &[
    ("bindings.cron", BindingType::Cron),
    #[cfg(feature = "remote")]
    ("bindings.http", BindingType::Http),
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

pub(super) async fn build(
    component: &ResolvedComponent,
    _host: Host<'_>,
) -> Result<BindingComponent, Error> {
    let Some(binding_type) = named(BINDING_TYPES, component) else {
        return Err(Error::unknown("binding", component, types()));
    };
    let mut reader = Reader::new(component)?;
    let settings = BindingSettings::read(&mut reader)?;
    let (input, output): Ways = match binding_type {
        BindingType::Cron => (Some(Arc::new(Cron::start(&mut reader)?)), None),
        #[cfg(feature = "remote")]
        BindingType::Http => (None, Some(Arc::new(Http::start(&mut reader).await?))),
    };
    reader.warn_unknown();
    Ok(BindingComponent::new(input, output, settings))
}
