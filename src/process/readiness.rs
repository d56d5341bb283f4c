//! What still has to happen before the process is ready.

use std::sync::{Arc, Mutex, PoisonError};

/// The set of things that a process waits for. Cheap to clone; all clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<Vec<&'static str>>>);

/// One thing that is not ready yet. Dropping it says that it is.
#[derive(Debug)]
pub struct ReadinessGuard {
    readiness: Readiness,
    name: &'static str,
}

impl Readiness {
    /// Nothing to wait for.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds something to wait for, until the guard is dropped.
    #[must_use = "dropping the guard at once says that it is ready"]
    pub fn wait_for(&self, name: &'static str) -> ReadinessGuard {
        self.lock().push(name);
        ReadinessGuard {
            readiness: self.clone(),
            name,
        }
    }

    /// Whether nothing is left to wait for.
    pub fn is_ready(&self) -> bool {
        self.lock().is_empty()
    }

    /// The names of what is not ready.
    pub fn pending(&self) -> Vec<&'static str> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<&'static str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ReadinessGuard {
    fn drop(&mut self) {
        let mut pending = self.readiness.lock();
        if let Some(at) = pending.iter().position(|name| *name == self.name) {
            pending.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_ready_when_the_last_guard_is_dropped() {
        let readiness = Readiness::new();
        assert!(readiness.is_ready());
        let runtime = readiness.wait_for("runtime");
        let http = readiness.wait_for("http");
        drop(runtime);
        assert_eq!(readiness.pending(), ["http"]);
        drop(http);
        assert!(readiness.is_ready());
    }
}
