//! Locks that processes share.

use std::sync::Arc;

use crate::registry::Registry;

/// The lock stores that run.
pub struct Locks {
    registry: Arc<Registry>,
    app_id: String,
}

impl Locks {
    /// Those of a registry. The app's id is in front of the names of its locks.
    pub fn new(registry: Arc<Registry>, app_id: &str) -> Self {
        Self {
            registry,
            app_id: app_id.to_owned(),
        }
    }
}
