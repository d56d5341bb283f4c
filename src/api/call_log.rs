//! The log of API calls, in the words of daprd. Off unless asked for.

use std::time::Duration;

use tracing::info;

/// How calls are logged (`spec.logging.apiLogging` of a Configuration).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallLog {
    /// The route in place of the path, which may hold names of secrets.
    pub obfuscate_urls: bool,
    /// No lines for health checks.
    pub omit_health_checks: bool,
}

/// One call over HTTP.
pub(super) struct HttpCall<'a> {
    /// For example `GET /v1.0/metadata`.
    pub(super) method: &'a str,
    pub(super) user_agent: &'a str,
    pub(super) code: u16,
    /// Bytes of the answer's body, 0 where they are not known beforehand.
    pub(super) size: u64,
    pub(super) duration: Duration,
}

impl HttpCall<'_> {
    pub(super) fn log(&self) {
        info!(
            target: "dapr.runtime.http-info",
            method = self.method,
            useragent = self.user_agent,
            code = self.code,
            size = self.size,
            duration = millis(self.duration),
            "HTTP API Called"
        );
    }
}

/// One call over gRPC, with the number of its status.
pub(super) fn log_grpc(method: &str, user_agent: &str, code: i32, duration: Duration) {
    info!(
        target: "dapr.runtime.grpc.api-info",
        method,
        useragent = user_agent,
        code,
        duration = millis(duration),
        "gRPC API Called"
    );
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
