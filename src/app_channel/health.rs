//! Health checks of the app.

use http::{Request, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{AppChannel, HealthConfig, RequestBody, Road, grpc};
use crate::process::tasks::BoxError;

/// The most bytes that are read of the answer to a probe, so that its connection can be used again.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The task that asks the app how it is.
#[derive(Debug)]
pub struct HealthProbe {
    channel: AppChannel,
    config: HealthConfig,
}

impl HealthProbe {
    pub(super) fn new(channel: AppChannel, config: HealthConfig) -> Self {
        Self { channel, config }
    }

    /// Probes until shutdown. The app counts as unhealthy until its first success; from then on
    /// so many failures in a row make it unhealthy, and one success healthy again.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), BoxError> {
        let mut ticks = interval(self.config.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failures: u32 = 0;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            let outcome = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                outcome = timeout(self.config.timeout, self.probe()) => outcome,
            };
            let outcome = outcome.unwrap_or_else(|_| Err("no answer in time".to_owned()));
            match outcome {
                Ok(()) => {
                    failures = 0;
                    if self.channel.set_healthy(true) {
                        info!("App entered healthy status");
                    }
                }
                Err(reason) => {
                    failures = failures.saturating_add(1);
                    if failures == self.config.threshold.max(1) {
                        self.channel.set_healthy(false);
                        warn!("App entered un-healthy status: Health check failed with {reason}");
                    }
                }
            }
        }
    }

    async fn probe(&self) -> Result<(), String> {
        if self.channel.config().protocol.is_grpc() {
            return grpc::probe(&self.channel).await;
        }
        let path = format!("/{}", self.config.path.trim_start_matches('/'));
        let mut request = Request::new(RequestBody::new(Empty::new().map_err(Into::into)));
        *request.uri_mut() = path.parse::<Uri>().map_err(|error| error.to_string())?;
        let answer = self.channel.send(Road::HealthProbeHttp, request).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES);
        // The status alone counts; an answer too long only costs its connection.
        let _ = body.collect().await;
        if status.is_success() {
            Ok(())
        } else {
            Err(format!("status code: {}", status.as_u16()))
        }
    }
}
