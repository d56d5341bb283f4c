//! State of the app: reads and writes of the stores that run.
//!
//! ```text
//! request → which store → key, condition, time to live → resiliency → store → outcome of each key
//! ```
//! Invariants: a write that was answered with success was done by the store. A write that was not
//! done because of its condition is told so only where no earlier try of it may have been done.

use std::sync::Arc;

use super::error::{Error, Reason, StateReason, Subject};
use crate::components::catalog::Category;
use crate::process::log_rate::LogRate;
use crate::registry::Registry;
use crate::registry::snapshot::Snapshot;
use crate::resiliency::{ComponentType, Direction};
use meters::Meters;

mod batch;
mod failure;
pub mod messages;
mod meters;
mod request;
mod store;
#[cfg(test)]
mod tests;
pub mod written;

pub use crate::components::message::Metadata;
pub use crate::components::state::{Consistency, Item};
pub use request::{Change, Concurrency, Options, Removal, Save, consistency};
pub use store::{Read, Store};

/// The state stores that run.
pub struct State {
    registry: Arc<Registry>,
    app_id: String,
    namespace: String,
    meters: Meters,
    failures: LogRate,
}

impl State {
    /// Those of a registry. The app and its namespace, which may be empty, own the keys.
    pub fn new(registry: Arc<Registry>, app_id: &str, namespace: &str) -> Self {
        Self {
            registry,
            app_id: app_id.to_owned(),
            namespace: namespace.to_owned(),
            meters: Meters::new(namespace),
            failures: LogRate::default(),
        }
    }

    /// A store that runs. The reasons: `StoresNotConfigured`, `StoreNotFound`.
    pub fn store(&self, name: &str) -> Result<Store<'_>, Error> {
        let snapshot = self.registry.peek();
        let Some(loaded) = snapshot.states.get(name) else {
            return Err(self.missing(&snapshot, name));
        };
        let (kind, direction) = (ComponentType::Statestore, Direction::Outbound);
        let policy = snapshot.resiliency.component(name, kind, direction);
        Ok(Store::new(self, Arc::clone(loaded), policy))
    }

    /// A store that is defined and could not start is misconfigured, which is not "no store at
    /// all".
    fn missing(&self, snapshot: &Snapshot, name: &str) -> Error {
        let mut failed = snapshot.failed_of(Category::State).peekable();
        let (reason, text) = if snapshot.states.is_empty() && failed.peek().is_none() {
            let text = format!("state store {name} is not configured");
            (StateReason::StoresNotConfigured, text)
        } else if failed.any(|store| store.name == name) {
            let text =
                format!("state store {name} is not found: it is defined, but could not be loaded");
            (StateReason::StoreNotFound, text)
        } else {
            let text = format!("state store {name} is not found");
            (StateReason::StoreNotFound, text)
        };
        Error::new(Reason::State(reason), text).about(Subject {
            facts: vec![("appID", self.app_id.clone())],
            ..Subject::default()
        })
    }
}
