//! The types of state stores.

use std::sync::Arc;

use super::{Host, is_first, listed_with_versions};
use crate::components::metadata::Reader;
use crate::components::state::in_memory::InMemory;
use crate::components::state::key_prefix::KeyPrefix;
use crate::components::state::{StateComponent, StateStore};
use crate::components::{Error, ResolvedComponent};

#[derive(Clone, Copy)]
enum StateType {
    InMemory,
}

/// Types with their versions, of which the first may be left out.
#[rustfmt::skip] // One row a type.
const STATE_TYPES: &[((&str, &str), StateType)] = &[
    (("state.in-memory", "v1"), StateType::InMemory),
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
    };
    reader.warn_unknown();
    Ok(StateComponent { store, key_prefix })
}
