//! The small HTTP servers that operators use: health and metrics.

use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper_util::service::TowerToHyperService;
use tokio_util::sync::CancellationToken;

use super::listener::Listener;
use super::metrics::Metrics;
use super::readiness::Readiness;
use super::serve::{Limits, Plain, serve};
use super::tasks::BoxError;

/// The content type of Prometheus' text format.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Their callers are a kubelet and a few scrapers.
const LIMITS: Limits = Limits {
    header_bytes: 8 * 1024,
    header_timeout: Duration::from_secs(30),
    handshake_timeout: Duration::from_secs(5),
    connections: 64,
    streams: 16,
    drain: Duration::from_secs(5),
};

/// Serves routes in clear text until shutdown.
pub async fn run(
    listener: Listener,
    routes: Router,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let service = TowerToHyperService::new(routes);
    serve(listener, Plain, service, LIMITS, shutdown).await
}

/// `GET /healthz`: 200 with no body when ready, else 503 with the names of what is not.
/// `GET /livez`: always 200, since a restart makes nothing ready that the process waits for.
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
    Router::new()
        .route("/healthz", get(answer))
        .route("/livez", get(StatusCode::OK))
}

/// Prometheus text on every path, as Dapr does (scrape configurations use `/` and `/metrics`).
pub fn metrics_routes(metrics: Metrics) -> Router {
    let answer = move || {
        let text = metrics.render();
        async move { ([(header::CONTENT_TYPE, PROMETHEUS_TEXT)], text) }
    };
    Router::new().fallback(get(answer))
}
