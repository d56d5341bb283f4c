//! The metrics of the process, in Prometheus' text format.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

use super::tasks::BoxError;

/// Dapr's default buckets for latencies, in milliseconds (reference: daprd's metrics).
pub const LATENCY_MS: [f64; 34] = [
    1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 13.0, 16.0, 20.0, 25.0, 30.0, 40.0, 50.0, 65.0, 80.0,
    100.0, 130.0, 160.0, 200.0, 250.0, 300.0, 400.0, 500.0, 650.0, 800.0, 1000.0, 2000.0, 5000.0,
    10_000.0, 20_000.0, 50_000.0, 100_000.0,
];

/// Buckets for latencies in seconds, for metrics whose names end in `_seconds`.
pub const LATENCY_SECONDS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// How long samples may pile up.
const UPKEEP: Duration = Duration::from_secs(5);

static INSTALLED: OnceLock<Metrics> = OnceLock::new();

/// The metrics of this process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Installs the recorder of the process. `app_id` becomes a label of every metric. A second
    /// call in one process hands back the first recorder (a process has only one).
    pub fn install(app_id: Option<&str>) -> Result<Self, BuildError> {
        if let Some(installed) = INSTALLED.get() {
            return Ok(installed.clone());
        }
        let mut builder = PrometheusBuilder::new()
            .set_buckets(&LATENCY_MS)?
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &LATENCY_SECONDS)?;
        if let Some(app_id) = app_id {
            builder = builder.add_global_label("app_id", app_id);
        }
        let recorder = builder.build_recorder();
        let installed = INSTALLED.get_or_init(|| Self(recorder.handle()));
        // Refused only where another recorder was set before, which then goes on.
        let _ = metrics::set_global_recorder(recorder);
        Ok(installed.clone())
    }

    /// Sums up the samples of latencies every few seconds, until shutdown. Without it they pile up
    /// in memory until somebody reads the metrics.
    pub async fn keep_small(self, shutdown: CancellationToken) -> Result<(), BoxError> {
        let mut ticks = tokio::time::interval(UPKEEP);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.0.run_upkeep(),
                () = shutdown.cancelled() => return Ok(()),
            }
        }
    }

    /// Every metric as text.
    pub fn render(&self) -> String {
        self.0.run_upkeep();
        self.0.render()
    }
}
