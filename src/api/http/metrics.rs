//! The metrics of the HTTP server, in the names and labels of daprd.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use http::{Method, StatusCode};
use metrics::{Counter, Histogram, counter, histogram};

use crate::api::routes::ROUTES;
use crate::api::status;
use crate::blocks::error::Error;

/// The methods that are a label of their own; others, which a caller can invent, share one.
const METHODS: [Method; 9] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::PATCH,
    Method::HEAD,
    Method::OPTIONS,
    Method::TRACE,
    Method::CONNECT,
];

/// One call, as the metrics see it. Every field has few values.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Labels {
    route: usize,
    method: usize,
    status: StatusCode,
}

/// Metrics whose handles are looked up once for each combination of labels.
pub(super) struct HttpMetrics {
    series: RwLock<HashMap<Labels, Series>>,
    request_bytes: Histogram,
    response_bytes: Histogram,
}

struct Series {
    requests: Counter,
    responses: Counter,
    latency: Histogram,
}

/// What one call was.
pub(super) struct Call<'a> {
    /// The row of the table of routes; its pattern is the label `path`.
    pub(super) route: usize,
    pub(super) method: &'a Method,
    pub(super) status: StatusCode,
    pub(super) elapsed: Duration,
    /// Bytes of the bodies, where they are known.
    pub(super) request_bytes: Option<u64>,
    pub(super) response_bytes: Option<u64>,
}

impl HttpMetrics {
    pub(super) fn new() -> Self {
        Self {
            series: RwLock::default(),
            request_bytes: histogram!("dapr_http_server_request_bytes"),
            response_bytes: histogram!("dapr_http_server_response_bytes"),
        }
    }

    pub(super) fn record(&self, call: &Call<'_>) {
        if let Some(bytes) = call.request_bytes {
            self.request_bytes.record(bytes as f64);
        }
        if let Some(bytes) = call.response_bytes {
            self.response_bytes.record(bytes as f64);
        }
        let found = METHODS.iter().position(|method| method == call.method);
        let labels = Labels {
            route: call.route,
            method: found.unwrap_or(METHODS.len()),
            status: call.status,
        };
        let known = self.series.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = known.get(&labels) {
            return series.record(call.elapsed);
        }
        drop(known);
        let mut series = self.series.write().unwrap_or_else(PoisonError::into_inner);
        let new = series.entry(labels).or_insert_with(|| Series::new(labels));
        new.record(call.elapsed);
    }
}

/// Counts a failure by its code. The codes are this program's own, so that they are few.
pub(super) fn count_failure(error: &Error) {
    let row = status::of(error.reason());
    counter!("dapr_error_code_total", "category" => row.category(), "error_code" => row.code)
        .increment(1);
}

impl Series {
    fn new(labels: Labels) -> Self {
        let method = METHODS.get(labels.method);
        let labels = [
            ("method", method.map_or("OTHER", Method::as_str).to_owned()),
            ("path", ROUTES[labels.route].pattern.to_owned()),
            ("status", labels.status.as_u16().to_string()),
        ];
        Self {
            requests: counter!("dapr_http_server_request_count", &labels),
            responses: counter!("dapr_http_server_response_count", &labels),
            latency: histogram!("dapr_http_server_latency", &labels),
        }
    }

    fn record(&self, elapsed: Duration) {
        self.requests.increment(1);
        self.responses.increment(1);
        self.latency.record(elapsed.as_secs_f64() * 1000.0);
    }
}
