//! What is counted of policies, under Dapr's names. A series is there as soon as its target is
//! known.

use std::sync::Arc;

use metrics::{Counter, Gauge};

use super::Direction;
use super::breaker::Condition;

/// What a target is called in the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Labels {
    /// Of the document that says what counts for the target.
    pub(super) name: Arc<str>,
    /// Of the same document.
    pub(super) namespace: Arc<str>,
    pub(super) direction: Direction,
    /// For example `app_shop` or `Secretstore_vault`.
    pub(super) target: Arc<str>,
}

impl Labels {
    fn all(&self, policy: &'static str, status: &'static str) -> [(&'static str, String); 6] {
        let direction = match self.direction {
            Direction::Outbound => "outbound",
            Direction::Inbound => "inbound",
        };
        [
            ("name", self.name.to_string()),
            ("policy", policy.to_owned()),
            ("namespace", self.namespace.to_string()),
            ("flow_direction", direction.to_owned()),
            ("target", self.target.to_string()),
            ("status", status.to_owned()),
        ]
    }
}

/// The metrics of a timeout or a retry.
#[derive(Clone)]
pub(super) struct Meter {
    /// Calls that it counted for.
    pub(super) count: Counter,
    /// Calls in which it had to do something.
    pub(super) activated: Counter,
}

impl Meter {
    pub(super) fn new(labels: &Labels, policy: &'static str) -> Self {
        let labels = labels.all(policy, "");
        Self {
            count: metrics::counter!("dapr_resiliency_count", &labels),
            activated: metrics::counter!("dapr_resiliency_activations_total", &labels),
        }
    }
}

/// The metrics of the circuit breakers of a target, in the order of [`Condition::ALL`].
pub(super) struct BreakerMeter([OfCondition; 3]);

struct OfCondition {
    count: Counter,
    activated: Counter,
    state: Gauge,
}

impl BreakerMeter {
    pub(super) fn new(labels: &Labels) -> Self {
        let meter = Self(Condition::ALL.map(|condition| {
            let labels = labels.all("circuitbreaker", condition.name());
            OfCondition {
                count: metrics::counter!("dapr_resiliency_count", &labels),
                activated: metrics::counter!("dapr_resiliency_activations_total", &labels),
                state: metrics::gauge!("dapr_resiliency_cb_state", &labels),
            }
        }));
        meter.show(Condition::Closed);
        meter
    }

    /// Counts a call that came in this condition.
    pub(super) fn count(&self, condition: Condition) {
        self.0[condition as usize].count.increment(1);
    }

    /// Counts a change to a condition.
    pub(super) fn changed(&self, to: Condition) {
        self.0[to as usize].activated.increment(1);
        self.show(to);
    }

    fn show(&self, now: Condition) {
        for (condition, meter) in Condition::ALL.into_iter().zip(&self.0) {
            meter.state.set(f64::from(u8::from(condition == now)));
        }
    }
}

/// Shows whether a document counts.
pub(super) fn loaded(name: &str, namespace: &str, is_loaded: bool) {
    let labels = [
        ("name", name.to_owned()),
        ("namespace", namespace.to_owned()),
    ];
    metrics::gauge!("dapr_resiliency_loaded", &labels).set(f64::from(u8::from(is_loaded)));
}
