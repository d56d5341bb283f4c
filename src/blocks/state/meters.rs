//! The metrics of reads and writes of state, in the names and labels of daprd.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

use super::failure::Call;

/// Handles that are looked up once for each store.
pub(super) struct Meters {
    namespace: String,
    /// By component. Only stores that run are counted.
    known: RwLock<HashMap<String, Arc<Series>>>,
}

/// The metrics of one store, registered when they are first used: of each call, failed and
/// succeeded.
#[derive(Default)]
struct Series([[OnceLock<(Counter, Histogram)>; 2]; Call::COUNT]);

impl Meters {
    pub(super) fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            known: RwLock::default(),
        }
    }

    /// Counts a call of a store.
    pub(super) fn count(&self, component: &str, call: Call, success: bool, elapsed: Duration) {
        let series = self.of(component);
        let (count, latency) = series.0[call as usize][usize::from(success)].get_or_init(|| {
            let labels = [
                ("component", component.to_owned()),
                ("namespace", self.namespace.clone()),
                ("operation", call.name().to_owned()),
                ("success", success.to_string()),
            ];
            (
                counter!("dapr_component_state_count", &labels),
                histogram!("dapr_component_state_latencies", &labels),
            )
        });
        count.increment(1);
        latency.record(elapsed.as_secs_f64() * 1000.0);
    }

    fn of(&self, component: &str) -> Arc<Series> {
        let known = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            known.get(component).cloned()
        };
        known.unwrap_or_else(|| {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            known.entry(component.to_owned()).or_default().clone()
        })
    }
}
