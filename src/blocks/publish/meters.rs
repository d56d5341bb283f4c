//! The metrics of what is published, in the names and labels of daprd.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

/// The most topics that are a label of their own; others, which callers can invent, share one.
const MAX_TOPICS: usize = 200;
/// The label that they share.
const OTHER: &str = "OTHER";

/// Handles that are looked up once for each topic.
pub(super) struct Meters {
    namespace: String,
    /// By component and topic.
    known: RwLock<HashMap<(String, String), Arc<Series>>>,
}

/// How messages were published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One by one.
    Single,
    /// Several in one call.
    Bulk,
}

/// The metrics of one topic, registered when they are first used.
pub(super) struct Series {
    labels: [(&'static str, String); 3],
    /// Single and bulk, each failed and succeeded.
    calls: [[OnceLock<(Counter, Histogram)>; 2]; 2],
    events: [OnceLock<Counter>; 2],
}

impl Meters {
    pub(super) fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            known: RwLock::default(),
        }
    }

    /// The metrics of a topic.
    pub(super) fn of(&self, component: &str, topic: &str) -> Arc<Series> {
        let key = (component.to_owned(), topic.to_owned());
        let (found, count) = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            (known.get(&key).cloned(), known.len())
        };
        if let Some(found) = found {
            return found;
        }
        if count >= MAX_TOPICS && topic != OTHER {
            return self.of(component, OTHER);
        }
        let series = Arc::new(Series::new(&self.namespace, component, topic));
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.entry(key).or_insert(series).clone()
    }
}

impl Series {
    fn new(namespace: &str, component: &str, topic: &str) -> Self {
        Self {
            labels: [
                ("component", component.to_owned()),
                ("namespace", namespace.to_owned()),
                ("topic", topic.to_owned()),
            ],
            calls: Default::default(),
            events: Default::default(),
        }
    }

    /// Counts a call.
    pub(super) fn count(&self, kind: Kind, success: bool, elapsed: Duration) {
        let meters = &self.calls[usize::from(kind == Kind::Bulk)][usize::from(success)];
        let (count, latency) = meters.get_or_init(|| {
            let labels = self.labels(success);
            match kind {
                Kind::Single => (
                    counter!("dapr_component_pubsub_egress_count", &labels),
                    histogram!("dapr_component_pubsub_egress_latencies", &labels),
                ),
                Kind::Bulk => (
                    counter!("dapr_component_pubsub_egress_bulk_count", &labels),
                    histogram!("dapr_component_pubsub_egress_bulk_latencies", &labels),
                ),
            }
        });
        count.increment(1);
        latency.record(elapsed.as_secs_f64() * 1000.0);
    }

    /// Counts the messages of a call with several.
    pub(super) fn count_events(&self, succeeded: usize, failed: usize) {
        for (success, count) in [(false, failed), (true, succeeded)] {
            if count > 0 {
                let meter = self.events[usize::from(success)].get_or_init(|| {
                    let labels = self.labels(success);
                    counter!("dapr_component_pubsub_egress_bulk_event_count", &labels)
                });
                meter.increment(count as u64);
            }
        }
    }

    fn labels(&self, success: bool) -> Vec<(&'static str, String)> {
        let success = ("success", success.to_string());
        self.labels.iter().cloned().chain([success]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_that_callers_invent_share_a_series() {
        let meters = Meters::new("ns");
        for at in 0..MAX_TOPICS + 5 {
            let series = meters.of("p", &format!("t{at}"));
            let expected = if at < MAX_TOPICS {
                format!("t{at}")
            } else {
                OTHER.to_owned()
            };
            assert_eq!(series.labels[2].1, expected);
        }
        assert_eq!(meters.known.read().unwrap().len(), MAX_TOPICS + 1);
        assert_eq!(meters.of("p", "t0").labels[2].1, "t0");
    }
}
