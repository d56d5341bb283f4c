//! Configuration of the app: items of the stores that run, and changes of them.

use std::sync::Arc;

use crate::registry::Registry;

/// The configuration stores that run.
pub struct Configurations {
    registry: Arc<Registry>,
}

impl Configurations {
    /// Those of a registry.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }
}
