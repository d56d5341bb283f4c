//! State of the app: reads and writes of the stores that run.

use std::sync::Arc;

use crate::registry::Registry;

/// The state stores that run.
pub struct State {
    registry: Arc<Registry>,
    app_id: String,
    namespace: String,
}

impl State {
    /// Those of a registry. The app and its namespace, which may be empty, own the keys.
    pub fn new(registry: Arc<Registry>, app_id: &str, namespace: &str) -> Self {
        Self {
            registry,
            app_id: app_id.to_owned(),
            namespace: namespace.to_owned(),
        }
    }
}
