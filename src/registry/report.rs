//! What the log and the metrics say of components that do not start.

use std::collections::{BTreeMap, BTreeSet};

use tracing::{error, warn};

use super::plan::Plan;
use super::snapshot::{FailedComponent, Snapshot};
use crate::resources::component::Component;

/// Why a component does not start.
pub(super) struct Failure {
    pub(super) reason: String,
    /// What only operators should know: for the log.
    pub(super) detail: Option<String>,
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
    warnings: BTreeSet<String>,
}

impl Report {
    /// Tells of a component that does not start.
    pub(super) fn failure(&mut self, component: &Component, failure: &Failure, keeps_old: bool) {
        set_failed(&component.name, true);
        let reason = match &failure.detail {
            None => failure.reason.clone(),
            Some(detail) => format!("{}: {detail}", failure.reason),
        };
        if self.failures.get(&component.name) == Some(&reason) {
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
            warn!("Ignoring error processing component: {reason}");
        } else {
            error!(
                component = label,
                error = reason,
                "Component waits; it is not loaded"
            );
        }
        let name = component.name.clone();
        self.failures.insert(name, reason);
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

    /// Warns of what was not so before.
    pub(super) fn warnings(&mut self, warnings: impl Iterator<Item = String>) {
        let warnings: BTreeSet<_> = warnings.collect();
        for warning in warnings.difference(&self.warnings) {
            warn!("{warning}");
        }
        self.warnings = warnings;
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

/// Said of a changed configuration.
pub(super) const AT_NEXT_START: &str = "the Configuration changed: its scopes of secrets and its \
     denied components count at once, everything else at the next start";

/// Why a component of another category is not loaded.
pub(super) const UNSERVED: &str = "components of this type are not served by this build";

fn set_failed(component: &str, failed: bool) {
    metrics::gauge!("sidegate_component_failed", "component" => component.to_owned())
        .set(f64::from(u8::from(failed)));
}

/// What the plan left out, for the log.
pub(super) fn left_out(plan: &Plan) -> impl Iterator<Item = String> {
    let denied = plan.denied.iter().map(|component| {
        format!(
            "component '{}' cannot be loaded because components of type '{}' are not allowed",
            component.name, component.component_type
        )
    });
    let unserved = plan.unserved.iter();
    denied.chain(unserved.map(|component| format!("component {}: {UNSERVED}", component.label())))
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
