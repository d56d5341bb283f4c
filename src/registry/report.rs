//! What the log and the metrics say of components that do not start.

use std::collections::BTreeMap;

use tracing::{error, warn};

use super::plan::Plan;
use super::snapshot::{FailedComponent, Snapshot};
use crate::resources::component::Component;
use crate::resources::decode::Resources;

/// Why a component does not start.
pub(super) struct Failure {
    pub(super) reason: String,
    /// Whether the sidecar may not start without it.
    pub(super) is_fatal: bool,
}

/// What was logged and is still so: each problem is logged once while it stays the same.
#[derive(Default)]
pub(super) struct Report {
    /// Reasons by the name of the component.
    failures: BTreeMap<String, String>,
    /// Problems by the path of the file or folder.
    problems: BTreeMap<String, String>,
}

impl Report {
    /// Tells of a component that does not start.
    pub(super) fn failure(&mut self, component: &Component, failure: &Failure, keeps_old: bool) {
        set_failed(&component.name, true);
        let reason = &failure.reason;
        if self.failures.get(&component.name) == Some(reason) {
            return;
        }
        let label = component.label();
        if keeps_old {
            error!(
                component = label,
                error = reason,
                "Kept the running version of a component"
            );
        } else if failure.is_fatal {
            error!("Failed to init component {label}: {reason}");
        } else if component.ignore_errors {
            error!("Ignoring error processing component: {reason}");
        } else {
            error!(
                component = label,
                error = reason,
                "Component waits; it is not loaded"
            );
        }
        let name = component.name.clone();
        self.failures.insert(name, reason.clone());
    }

    /// Forgets every component but those that still fail.
    pub(super) fn keep(&mut self, failed: &[FailedComponent]) {
        self.failures.retain(|name, _| {
            let still = failed.iter().any(|component| component.name == *name);
            if !still {
                set_failed(name, false);
            }
            still
        });
    }

    /// Tells of everything that cannot be read now.
    pub(super) fn problems(&mut self, problems: BTreeMap<String, String>) {
        metrics::gauge!("sidegate_resource_problems")
            .set(u32::try_from(problems.len()).unwrap_or(u32::MAX));
        for (place, problem) in &problems {
            if self.problems.get(place) != Some(problem) {
                error!(error = problem, "Kept the last good version of resources");
            }
        }
        self.problems = problems;
    }
}

fn set_failed(component: &str, failed: bool) {
    metrics::gauge!("sidegate_component_failed", "component" => component.to_owned())
        .set(f64::from(u8::from(failed)));
}

pub(super) fn warn_without_effect(resources: &Resources) {
    for file in &resources.skipped {
        warn!(file = %file.display(), "A file that is not named .yaml or .yml is not loaded");
    }
    for resource in &resources.unserved {
        warn!(kind = resource.kind, name = resource.name, origin = %resource.origin,
            "A resource has no effect in this build");
    }
}

pub(super) fn warn_left_out(plan: &Plan) {
    for component in &plan.denied {
        warn!(
            "component '{}' cannot be loaded because components of type '{}' are not allowed",
            component.name, component.component_type
        );
    }
    for component in &plan.unserved {
        warn!(
            component = component.label(),
            "This build does not serve components of this type"
        );
    }
}

pub(super) fn warn_scopes_without_store(snapshot: &Snapshot) {
    for scope in &snapshot.configuration.secret_scopes {
        if snapshot.secret_store(&scope.store).is_none() {
            warn!(
                "Secrets configuration added for '{}', but no matching secret store was found",
                scope.store
            );
        }
    }
}
