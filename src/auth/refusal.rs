//! Counts refused calls, and logs them at a bounded rate.

use std::fmt::Display;

use metrics::{Counter, counter};
use tracing::warn;

use super::tokens::Refusal;
use crate::process::log_rate::LogRate;

/// The refused calls of one listener.
pub struct Refusals {
    listener: &'static str,
    /// One entry a route, in the order of the names given to [`Refusals::new`].
    routes: Vec<RouteRefusals>,
    log: LogRate,
}

struct RouteRefusals {
    name: &'static str,
    missing: Counter,
    mismatch: Counter,
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
            log: LogRate::default(),
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
        if let Some(left_out) = self.log.pass() {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignores_a_route_that_it_does_not_know() {
        Refusals::new("http", []).record(3, "unix", Refusal::Missing);
    }
}
