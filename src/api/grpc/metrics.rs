//! The metrics of the gRPC server, in the names and labels of daprd.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use http::Response;
use metrics::{Counter, Histogram, counter, histogram};
use tonic::Code;
use tonic::body::Body;

use super::name;

/// Metrics whose handles are looked up once for each method and status.
pub(super) struct GrpcMetrics(RwLock<HashMap<(usize, i32), Series>>);

struct Series {
    completed: Counter,
    latency: Histogram,
}

impl GrpcMetrics {
    pub(super) fn new() -> Self {
        Self(RwLock::default())
    }

    /// Counts a call of a row.
    pub(super) fn record(&self, row: usize, answer: &Response<Body>, elapsed: Duration) {
        let code = code(answer);
        let labels = (row, code as i32);
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = known.get(&labels) {
            return series.record(elapsed);
        }
        drop(known);
        let mut series = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let new = series
            .entry(labels)
            .or_insert_with(|| Series::new(row, code));
        new.record(elapsed);
    }
}

impl Series {
    fn new(row: usize, code: Code) -> Self {
        let labels = [
            ("grpc_server_method", name(row).to_owned()),
            ("grpc_server_status", format!("{code:?}")),
        ];
        Self {
            completed: counter!("dapr_grpc_io_server_completed_rpcs", &labels),
            latency: histogram!("dapr_grpc_io_server_server_latency", &labels),
        }
    }

    fn record(&self, elapsed: Duration) {
        self.completed.increment(1);
        self.latency.record(elapsed.as_secs_f64() * 1000.0);
    }
}

/// The status of an answer. A failure says it in the headers; success says it after the message.
pub(super) fn code(answer: &Response<Body>) -> Code {
    let status = answer.headers().get("grpc-status");
    status.map_or(Code::Ok, |status| Code::from_bytes(status.as_bytes()))
}
