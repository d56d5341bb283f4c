//! What is counted of messages that come in, under Dapr's names.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use metrics::{Counter, Histogram};

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Label {
    /// What its subscriber, or its route, says of it.
    pub(super) process_status: &'static str,
    /// What the broker was told of it.
    pub(super) status: &'static str,
}

/// The metrics of a subscription.
pub(super) struct Meters {
    component: String,
    namespace: String,
    /// The topic of the subscription: that of a message may be one of any number.
    topic: String,
    single: Mutex<BTreeMap<Label, (Counter, Histogram)>>,
}

impl Meters {
    pub(super) fn new(component: &str, namespace: &str, topic: &str) -> Self {
        Self {
            component: component.to_owned(),
            namespace: namespace.to_owned(),
            topic: topic.to_owned(),
            single: Mutex::default(),
        }
    }

    /// Counts a message that came by itself.
    pub(super) fn one(&self, label: Label, start: Instant) {
        let mut single = self.single.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, latency) = single.entry(label).or_insert_with(|| {
            let labels = self.labels(label);
            (
                metrics::counter!("dapr_component_pubsub_ingress_count", &labels),
                metrics::histogram!("dapr_component_pubsub_ingress_latencies", &labels),
            )
        });
        count.increment(1);
        latency.record(millis(start));
    }

    /// Counts a message that came together with others.
    pub(super) fn one_of_several(&self, label: Label) {
        let labels = self.labels(label);
        metrics::counter!("dapr_component_pubsub_ingress_bulk_event_count", &labels).increment(1);
    }

    /// Counts messages that were delivered together.
    pub(super) fn together(&self, process_status: &'static str, start: Instant) {
        let [component, namespace, topic, status, _] = self.labels(Label {
            process_status,
            status: "",
        });
        let labels = [component, namespace, topic, status];
        metrics::counter!("dapr_component_pubsub_ingress_bulk_count", &labels).increment(1);
        metrics::histogram!("dapr_component_pubsub_ingress_bulk_latencies", &labels)
            .record(millis(start));
    }

    fn labels(&self, label: Label) -> [(&'static str, String); 5] {
        [
            ("component", self.component.clone()),
            ("namespace", self.namespace.clone()),
            ("topic", self.topic.clone()),
            ("process_status", label.process_status.to_owned()),
            ("status", label.status.to_owned()),
        ]
    }
}

fn millis(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}
