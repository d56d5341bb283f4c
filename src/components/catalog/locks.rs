//! The types of lock stores.

use std::sync::Arc;

use super::{Host, contains, listed, named};
use crate::components::lock::LockStore;
use crate::components::{Error, ResolvedComponent};

#[derive(Clone, Copy)]
enum LockType {}

#[rustfmt::skip] // One row a type.
const LOCK_TYPES: &[(&str, LockType)] = &[
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
    _host: Host<'_>,
) -> Result<Arc<dyn LockStore>, Error> {
    match named(LOCK_TYPES, component) {
        None => Err(Error::unknown("lock store", component, types())),
        Some(found) => match found {},
    }
}
