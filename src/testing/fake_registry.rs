//! A registry with the stores that a test hands to it.

use std::sync::Arc;

use tokio::sync::watch;

use crate::components::configuration::ConfigurationStore;
use crate::components::lock::LockStore;
use crate::registry::Registry;
use crate::registry::snapshot::{FailedComponent, Snapshot};

/// Stores that run, by name, and components that do not.
#[derive(Clone, Default)]
pub struct Stores {
    /// Configuration stores.
    pub configurations: Vec<(&'static str, Arc<dyn ConfigurationStore>)>,
    /// Lock stores.
    pub locks: Vec<(&'static str, Arc<dyn LockStore>)>,
    /// Names and types of components that are defined and do not run.
    pub failed: Vec<(&'static str, &'static str)>,
}

impl Stores {
    fn snapshot(&self) -> Snapshot {
        let name = |name: &&'static str| (*name).to_owned();
        let configurations = self.configurations.iter();
        let locks = self.locks.iter();
        let failed = self
            .failed
            .iter()
            .map(|(of, component_type)| FailedComponent {
                name: name(of),
                component_type: (*component_type).to_owned(),
                version: "v1".to_owned(),
                reason: "on purpose".to_owned(),
                keeps_running: false,
            });
        Snapshot {
            configurations: configurations
                .map(|(of, store)| (name(of), Arc::clone(store)))
                .collect(),
            locks: locks
                .map(|(of, store)| (name(of), Arc::clone(store)))
                .collect(),
            failed: failed.collect(),
            ..Snapshot::default()
        }
    }
}

/// A registry that a test changes.
pub struct FakeRegistry {
    registry: Arc<Registry>,
    changes: watch::Sender<()>,
}

impl FakeRegistry {
    /// One that holds these stores.
    pub fn of(stores: &Stores) -> Self {
        let (changes, changed) = watch::channel(());
        Self {
            registry: Registry::with_changes(stores.snapshot(), changed),
            changes,
        }
    }

    /// The registry.
    pub fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry)
    }

    /// Holds these stores from now on, and tells so.
    pub fn replace(&self, stores: &Stores) {
        self.registry.replace(stores.snapshot());
        self.changes.send_replace(());
    }
}
