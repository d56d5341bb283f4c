//! The sidecar as a whole: every socket bound, every part wired, then run until the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::config::Config;
use super::sockets::{Addresses, Servers, Sockets};
use super::{access, app, identity, messages, peers, resources, traces};
use crate::api::Blocks;
use crate::app_channel::AppChannel;
use crate::blocks::health::Health;
use crate::blocks::invoke::Invoke;
use crate::blocks::lock::Locks;
use crate::blocks::metadata::DAPR_VERSION;
use crate::blocks::pipeline::Pipeline;
use crate::blocks::secrets::Secrets;
use crate::blocks::shutdown::Shutdown;
use crate::process::early_stop::EarlyStop;
use crate::process::listener::ListenAddr;
use crate::process::metrics::Metrics;
use crate::process::readiness::Readiness;
use crate::process::serve::Limits;
use crate::process::tasks::Tasks;
use crate::registry::Registry;
use crate::resources::configuration::Configuration;
use crate::tls::spiffe::SpiffeHandshake;

/// How long an HTTP/1 client may take for the headers of a request, and how long a kept-alive
/// connection may be idle. Clients commonly keep one for a minute.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a handshake with another sidecar may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The most connections at once, per listener.
const CONNECTIONS: usize = 4096;
/// The most HTTP/2 streams at once, per connection: SDKs send all their calls over one.
const STREAMS: u32 = 1000;
/// The time for the answer to a forced shutdown to leave (Dapr 1.18).
const FORCED_DELAY: Duration = Duration::from_millis(100);

/// How long the servers may take beyond the graceful end to notice it themselves.
const LATENESS: Duration = Duration::from_secs(1);

/// How a sidecar ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Calls in flight were finished, or their time was up.
    Drained,
    /// A caller asked for an end at once.
    Forced,
}

/// A sidecar that serves. [`Sidecar::run`] keeps it until its end.
pub struct Sidecar {
    addresses: Addresses,
    tasks: Tasks,
    readiness: Readiness,
    /// Cancelled by the shutdown API.
    stop: CancellationToken,
    forced: CancellationToken,
    block: Option<Duration>,
    /// How long the end may take.
    grace: Duration,
    /// What takes messages in.
    intake: EarlyStop,
    app_health: Option<watch::Receiver<bool>>,
}

impl Sidecar {
    /// Opens every socket, loads the resources, and begins to serve.
    ///
    /// # Errors
    ///
    /// A socket that cannot be opened, with its address; resources that cannot be loaded.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        let started = Instant::now();
        announce(&config);
        let own = &config.registry;
        if own.is_kubernetes {
            identity::refuse_root(&own.environment)?;
        }
        // First of all, since every part registers its metrics where it is made.
        let metrics = Metrics::install(Some(&own.app_id));
        let mut sockets = Sockets::bind(&config.places).await?;
        let mut tasks = Tasks::new(CancellationToken::new());
        let (whole, outbound) = (Readiness::new(), Readiness::new());
        let starting = outbound.wait_for("runtime");
        let meeting_app = whole.wait_for("app");
        let token = config.app_token.clone();
        let app = config.app.channel(&own.app_id, token, config.max_body)?;
        let registry = Registry::start(own.clone(), &mut tasks).await?;
        let configuration = registry.snapshot().configuration.clone();
        sockets.serve_metrics(configured(metrics, &configuration), &mut tasks);
        let tracer = traces::start(&config, &configuration.tracing, &mut tasks)?;
        let door = resources::door(&config, &configuration, tracer.clone())?;
        resources::warn_if_open(&registry, &door);
        let (stop, forced) = (CancellationToken::new(), CancellationToken::new());
        let addresses = sockets.addresses();
        let internal = &addresses.internal;
        let invoke = invoke(&config, &registry, app.clone(), internal, &mut tasks);
        let (invoke, handshake) = invoke.await?;
        let intake = EarlyStop::new(&tasks.shutdown());
        let incoming = messages::Incoming {
            config: &config,
            registry: &registry,
            app: app.as_ref(),
            tracer,
        };
        let messages = messages::start(incoming, &intake, &mut tasks);
        let metadata = resources::metadata(&config, registry.clone(), messages.subscriptions);
        let blocks = Blocks {
            bindings: messages.bindings,
            configurations: messages.configurations,
            health: Health::new(&own.app_id, whole.clone(), outbound),
            invoke: Arc::new(invoke),
            locks: Arc::new(Locks::new(Arc::clone(&registry))),
            metadata: Arc::new(metadata),
            pipeline: Pipeline::http(Arc::clone(&registry)),
            publish: messages.publish,
            streaming: messages.streaming,
            state: resources::app_state(&config, &registry),
            secrets: Secrets::new(registry),
            shutdown: Shutdown::new(stop.clone(), forced.clone()),
        };
        let limits = limits(&config);
        Servers::new(limits, handshake, &mut tasks).start(sockets, &config.cors, &door, &blocks);
        drop(starting);
        let health = app.as_ref().map(AppChannel::healthy);
        let steps = [messages.app_listens, messages.subscribed];
        let meeting = app::Meeting::new(app, config.app.discover, steps, meeting_app);
        let stopping = tasks.shutdown();
        tasks.spawn("app", app::follow(meeting, started, stopping));
        Ok(Self {
            addresses,
            tasks,
            readiness: whole,
            stop,
            forced,
            block: config.block,
            grace: config.grace,
            intake,
            app_health: health,
        })
    }

    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Serves until `stop` is cancelled or a caller asks for the end, then drains.
    ///
    /// # Errors
    ///
    /// A part that ended too early; the others were drained.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<Ended> {
        let shutdown = self.tasks.shutdown();
        let ending = async {
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.stop.cancelled() => {}
            }
            let _not_ready = self.readiness.wait_for("shutdown");
            // No new messages; the APIs go on, which the app may need for those in flight.
            self.intake.stop();
            if let Some(time) = self.block {
                block(time, self.app_health).await;
            }
            let end = Instant::now() + self.grace + LATENESS;
            // It has a limit of its own.
            self.intake.done().await;
            shutdown.cancel();
            tokio::time::sleep_until(end.into()).await;
            warn!("The time for a graceful end is up");
        };
        tokio::select! {
            ended = self.tasks.finish() => ended?,
            () = self.forced.cancelled() => {
                tokio::time::sleep(FORCED_DELAY).await;
                warn!("Ending at once, as a caller asked");
                return Ok(Ended::Forced);
            }
            () = ending => return Ok(Ended::Drained),
        }
        info!("Daprd shutdown gracefully");
        Ok(Ended::Drained)
    }
}

/// The metrics as the configuration wants them; `None` where it turns them off.
fn configured(metrics: Metrics, configuration: &Configuration) -> Option<Metrics> {
    if let Some(bounds) = &configuration.metrics.latency_buckets_ms {
        metrics.set_latency_buckets(bounds);
    }
    configuration.metrics.enabled.then_some(metrics)
}

/// What calls methods, with the roads to other sidecars, and the handshake with these.
async fn invoke(
    config: &Config,
    registry: &Arc<Registry>,
    app: Option<AppChannel>,
    internal: &[ListenAddr],
    tasks: &mut Tasks,
) -> anyhow::Result<(Invoke, Option<SpiffeHandshake>)> {
    let own = &config.registry;
    let configuration = registry.snapshot().configuration.clone();
    let invoke = Invoke::new(
        app,
        &own.app_id,
        peers::namespace(own.namespace.as_deref()),
        config.max_body,
        registry.clone(),
    );
    let invoke =
        invoke.with_access_control(access::control(&configuration, config.sentry.is_some()));
    let chosen = configuration.name_resolution.as_ref();
    peers::connect(invoke, config, chosen, internal, tasks).await
}

/// Goes on serving for a while after the signal to stop, so that the app can finish its work.
async fn block(time: Duration, app_health: Option<watch::Receiver<bool>>) {
    info!("Blocking graceful shutdown for {time:?} or until app reports unhealthy...");
    let unhealthy = async {
        let Some(mut health) = app_health else {
            return std::future::pending().await;
        };
        if health.wait_for(|is_healthy| !is_healthy).await.is_err() {
            std::future::pending().await
        }
    };
    tokio::select! {
        () = tokio::time::sleep(time) => {
            info!("Block shutdown period expired, entering shutdown...");
        }
        () = unhealthy => info!("App reported unhealthy, entering shutdown..."),
    }
}

/// What the log says first, in the words that tools look for.
fn announce(config: &Config) {
    let version = env!("CARGO_PKG_VERSION");
    info!("Starting Dapr Runtime -- version {DAPR_VERSION} -- commit sidegate-{version}");
    info!("Log level set to: {}", config.log_level);
    let mode = if config.registry.is_kubernetes {
        "kubernetes"
    } else {
        "standalone"
    };
    info!("{mode} mode configured");
    info!("app id: {}", config.registry.app_id);
    for notice in &config.notices {
        warn!("{notice}");
    }
}

fn limits(config: &Config) -> Limits {
    Limits {
        header_bytes: config.header_bytes,
        header_timeout: HEADER_TIMEOUT,
        handshake_timeout: HANDSHAKE_TIMEOUT,
        connections: CONNECTIONS,
        streams: STREAMS,
        drain: config.grace,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sidecar(tasks: Tasks) -> Sidecar {
        Sidecar {
            addresses: Addresses::default(),
            tasks,
            readiness: Readiness::new(),
            stop: CancellationToken::new(),
            forced: CancellationToken::new(),
            block: None,
            grace: Duration::from_secs(5),
            intake: EarlyStop::new(&CancellationToken::new()),
            app_health: None,
        }
    }

    #[tokio::test]
    async fn a_part_that_dies_makes_the_others_drain_and_is_the_error() {
        let mut tasks = Tasks::new(CancellationToken::new());
        let asked = tasks.shutdown();
        let (drained, mut has_drained) = tokio::sync::mpsc::channel(1);
        tasks.spawn("http", async move {
            asked.cancelled().await;
            drained.send(()).await.map_err(Into::into)
        });
        tasks.spawn("grpc", async { Err("broken".into()) });
        let error = sidecar(tasks)
            .run(CancellationToken::new())
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "task \"grpc\" failed");
        assert!(has_drained.recv().await.is_some());
    }

    #[tokio::test]
    async fn a_forced_end_waits_for_nobody() {
        let mut tasks = Tasks::new(CancellationToken::new());
        tasks.spawn("http", std::future::pending());
        let sidecar = sidecar(tasks);
        sidecar.forced.cancel();
        let ended = sidecar.run(CancellationToken::new()).await.unwrap();
        assert_eq!(ended, Ended::Forced);
    }
}
