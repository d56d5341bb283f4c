//! Metrics of calls to services.

use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use metrics::{SharedString, counter, histogram};

/// Counts one call. `endpoint` is a name that an operator wrote, or empty for URLs; `status` is
/// `None` where no answer came.
pub(super) fn call(endpoint: &Arc<str>, start: Instant, status: Option<StatusCode>) {
    let status = match status {
        Some(status) => SharedString::from(status.as_str().to_owned()),
        None => SharedString::const_str("0"),
    };
    let endpoint = SharedString::from_shared(Arc::clone(endpoint));
    let labels = [("endpoint", endpoint), ("status", status)];
    counter!("sidegate_http_endpoint_calls_total", &labels).increment(1);
    histogram!("sidegate_http_endpoint_latency", &labels)
        .record(start.elapsed().as_secs_f64() * 1000.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::metrics::Metrics;

    #[test]
    fn counts_by_endpoint_and_status() {
        let recorder = Metrics::new(None);
        metrics::with_local_recorder(&recorder, || {
            call(&"crm".into(), Instant::now(), Some(StatusCode::OK));
            call(&"".into(), Instant::now(), None);
        });
        let text = recorder.render();
        for line in [
            r#"sidegate_http_endpoint_calls_total{endpoint="crm",status="200"} 1"#,
            r#"sidegate_http_endpoint_calls_total{endpoint="",status="0"} 1"#,
            r#"sidegate_http_endpoint_latency_count{endpoint="crm",status="200"} 1"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
