//! Stores that run, under their names.

use std::sync::Arc;

use crate::components::state::key_prefix::{KeyPrefix, Owner};
use crate::components::state::{StateComponent, StateStore};

/// A state store that runs.
pub struct LoadedState {
    /// Its name.
    pub name: String,
    /// The store.
    pub store: Arc<dyn StateStore>,
    key_prefix: KeyPrefix,
}

impl LoadedState {
    pub(crate) fn new(name: &str, component: &StateComponent) -> Self {
        Self {
            name: name.to_owned(),
            store: Arc::clone(&component.store),
            key_prefix: component.key_prefix.clone(),
        }
    }

    /// A key of an app as it is in the store. The namespace may be empty.
    pub fn stored_key(&self, app_id: &str, namespace: &str, key: &str) -> String {
        let owner = Owner {
            app_id,
            namespace,
            component: &self.name,
        };
        self.key_prefix.stored(owner, key)
    }
}
