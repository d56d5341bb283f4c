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
        ("path", SharedString::const_str(road.row().name)),
        ("status", status),
    ];
    counter!("dapr_http_client_completed_count", &labels).increment(1);
    histogram!("dapr_http_client_roundtrip_latency", &labels).record(millis);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::metrics::Metrics;

    #[test]
    fn labels_hold_nothing_that_a_caller_makes_up() {
        let recorder = Metrics::new(None);
        let made_up = Method::from_bytes(b"MADE-UP").unwrap();
        metrics::with_local_recorder(&recorder, || {
            let now = Instant::now();
            call(
                Road::InvokeHttp,
                method_label(&made_up),
                now,
                Some(StatusCode::OK),
            );
            call(Road::InvokeHttp, method_label(&Method::GET), now, None);
            call(
                Road::HealthProbeHttp,
                "GET",
                now,
                Some(StatusCode::NO_CONTENT),
            );
        });
        let text = recorder.render();
        for line in [
            r#"dapr_http_client_completed_count{method="OTHER",path="invoke",status="200"} 1"#,
            r#"dapr_http_client_completed_count{method="GET",path="invoke",status="0"} 1"#,
            r#"dapr_http_healthprobes_completed_count{status="204"} 1"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        for name in [
            "dapr_http_client_roundtrip_latency",
            "dapr_http_healthprobes_roundtrip_latency",
        ] {
            assert!(text.contains(name), "{name}\n{text}");
        }
    }
}
