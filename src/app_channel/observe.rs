//! Metrics of calls to the app, with Dapr's names.

use std::time::Instant;

use http::{Method, StatusCode};
use metrics::{SharedString, counter, histogram};

use super::roads::Road;

/// The label of a method: standard ones by name, since a client may make up any number of others.
pub(super) fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::TRACE => "TRACE",
        _ => "OTHER",
    }
}

/// Counts one call. `status` is `None` where no answer came.
pub(super) fn call(road: Road, method: &'static str, start: Instant, status: Option<StatusCode>) {
    let status = match status {
        Some(status) => SharedString::from(status.as_str().to_owned()),
        None => SharedString::const_str("0"),
    };
    let millis = start.elapsed().as_secs_f64() * 1000.0;
    if road.is_probe() {
        let labels = [("status", status)];
        counter!("dapr_http_healthprobes_completed_count", &labels).increment(1);
        histogram!("dapr_http_healthprobes_roundtrip_latency", &labels).record(millis);
        return;
    }
    let labels = [
        ("method", SharedString::const_str(method)),
        ("path", SharedString::const_str(road.name())),
        ("status", status),
    ];
    counter!("dapr_http_client_completed_count", &labels).increment(1);
    histogram!("dapr_http_client_roundtrip_latency", &labels).record(millis);
}
