//! Counts refused calls, and logs them at a bounded rate.

use std::fmt::Display;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use metrics::{Counter, counter};
use tracing::warn;

use super::tokens::Refusal;

/// At most one line about refused calls in this time, per listener. What is left out is counted.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// The refused calls of one listener.
pub struct Refusals {
    listener: &'static str,
    /// One entry a route, in the order of the names given to [`Refusals::new`].
    routes: Vec<RouteRefusals>,
    log: Mutex<LogState>,
}

struct RouteRefusals {
    name: &'static str,
    missing: Counter,
    mismatch: Counter,
}

#[derive(Default)]
struct LogState {
    last: Option<Instant>,
    left_out: u64,
}

impl Refusals {
    /// Counters for each route of a listener, made now so that a refused call costs next to
    /// nothing. The labels are bounded: names of this program only, nothing that a caller sent.
    pub fn new(listener: &'static str, routes: impl IntoIterator<Item = &'static str>) -> Self {
        let count = |route: &'static str, refusal: Refusal| {
            counter!("sidegate_api_refused_total",
                "listener" => listener, "route" => route, "reason" => refusal.as_str())
        };
        let routes = routes
            .into_iter()
            .map(|name| RouteRefusals {
                name,
                missing: count(name, Refusal::Missing),
                mismatch: count(name, Refusal::Mismatch),
            })
            .collect();
        Self {
            listener,
            routes,
            log: Mutex::default(),
        }
    }

    /// Counts a refused call of the route at `index`, and logs it unless another one was logged a
    /// moment ago. The value that was sent is not a parameter, so it cannot be logged.
    pub fn record(&self, index: usize, remote: impl Display, refusal: Refusal) {
        let Some(route) = self.routes.get(index) else {
            return;
        };
        match refusal {
            Refusal::Missing => route.missing.increment(1),
            Refusal::Mismatch => route.mismatch.increment(1),
        }
        if let Some(left_out) = self.log_now(Instant::now()) {
            warn!(
                listener = self.listener,
                route = route.name,
                %remote,
                token = refusal.as_str(),
                left_out,
                "Refused a call without a valid API token"
            );
        }
    }

    /// Whether to log now, and then how many calls were left out since the last line.
    fn log_now(&self, now: Instant) -> Option<u64> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log
            .last
            .is_some_and(|last| now.duration_since(last) < LOG_INTERVAL)
        {
            log.left_out += 1;
            return None;
        }
        log.last = Some(now);
        Some(std::mem::take(&mut log.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_once_in_a_while_and_counts_the_rest() {
        let refusals = Refusals::new("http", ["/v1.0/metadata"]);
        let start = Instant::now();
        assert_eq!(refusals.log_now(start), Some(0));
        for _ in 0..5 {
            assert_eq!(refusals.log_now(start + LOG_INTERVAL / 2), None);
        }
        assert_eq!(refusals.log_now(start + LOG_INTERVAL), Some(5));
        assert_eq!(refusals.log_now(start + 2 * LOG_INTERVAL), Some(0));
    }

    #[test]
    fn ignores_a_route_that_it_does_not_know() {
        Refusals::new("http", []).record(3, "unix", Refusal::Missing);
    }
}
