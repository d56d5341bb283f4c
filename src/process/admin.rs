//! The small HTTP servers that operators use: health and metrics.

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use super::metrics::Metrics;
use super::readiness::Readiness;

/// The content type of Prometheus' text format.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `GET /healthz`: 200 with no body when ready, else 503 with the names of what is not.
pub fn health_routes(readiness: Readiness) -> Router {
    let answer = move || {
        let pending = readiness.pending();
        async move {
            if pending.is_empty() {
                StatusCode::OK.into_response()
            } else {
                let text = format!("not ready: {}\n", pending.join(", "));
                (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
            }
        }
    };
    Router::new().route("/healthz", get(answer))
}

/// Prometheus text on every path, as Dapr does (scrape configurations use `/` and `/metrics`).
pub fn metrics_routes(metrics: Metrics) -> Router {
    let answer = move || {
        let text = metrics.render();
        async move { ([(header::CONTENT_TYPE, PROMETHEUS_TEXT)], text) }
    };
    Router::new().fallback(get(answer))
}
