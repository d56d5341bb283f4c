//! The road to the app, from its flags to its first answer.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::config::{Problems, port};
use super::flags::Args;
use crate::app_channel::{AppChannel, AppChannelConfig, AppProtocol, HealthConfig};
use crate::base::duration::parse_go_duration;
use crate::base::token::Token;
use crate::blocks::bindings::supervisor::Questions;
use crate::blocks::metadata::{AppConnection, AppHealth};
use crate::process::readiness::ReadinessGuard;
use crate::process::tasks::BoxError;

/// Defaults of the health check for numbers below 1 (Dapr 1.18).
const HEALTH_INTERVAL_SECONDS: u64 = 5;
const HEALTH_TIMEOUT_MILLIS: u64 = 500;
const HEALTH_THRESHOLD: u32 = 3;

/// How long the start waits for the app's list of subscriptions, and for their brokers.
const SUBSCRIBING: Duration = Duration::from_secs(10);

/// What the flags say of the app.
#[derive(Clone, Debug)]
pub(super) struct AppConfig {
    /// `None` without an app.
    pub(super) port: Option<u16>,
    pub(super) protocol: AppProtocol,
    pub(super) address: String,
    pub(super) max_concurrency: Option<NonZeroUsize>,
    pub(super) health: Option<HealthConfig>,
    /// Ask the app for its configuration at start.
    pub(super) discover: bool,
    /// Ask the app what it subscribes to.
    pub(super) subscribe: bool,
    /// How the app is asked for its input bindings.
    pub(super) questions: Questions,
}

impl AppConfig {
    pub(super) fn new(args: &Args, problems: &mut Problems) -> Self {
        let protocol = AppProtocol::parse(&args.app_protocol);
        let protocol = protocol.unwrap_or_else(|error| {
            problems.add(error.to_string());
            AppProtocol::Http
        });
        let (discover, subscribe) = asked(args, problems);
        let concurrency = usize::try_from(args.app_max_concurrency).unwrap_or_default();
        Self {
            port: app_port(args, problems),
            protocol: match (protocol, args.app_ssl) {
                (AppProtocol::Http, Some(true)) => AppProtocol::Https,
                (AppProtocol::Grpc, Some(true)) => AppProtocol::Grpcs,
                (protocol, _) => protocol,
            },
            address: args.app_channel_address.clone(),
            max_concurrency: NonZeroUsize::new(concurrency),
            health: health(args, problems),
            discover,
            subscribe,
            questions: questions(args, problems),
        }
    }

    /// The road, where there is an app.
    pub(super) fn channel(
        &self,
        app_id: &str,
        token: Option<Token>,
        max_body_bytes: usize,
    ) -> anyhow::Result<Option<AppChannel>> {
        let Some(port) = self.port else {
            return Ok(None);
        };
        Ok(Some(AppChannel::new(AppChannelConfig {
            protocol: self.protocol,
            address: self.address.clone(),
            port,
            token,
            max_concurrency: self.max_concurrency,
            max_body_bytes,
            health: self.health.clone(),
            app_id: app_id.to_owned(),
        })?))
    }

    /// What the metadata tells of it.
    pub(super) fn connection(&self) -> AppConnection {
        let max_concurrency = self.max_concurrency.map_or(0, NonZeroUsize::get);
        AppConnection {
            port: self.port,
            protocol: self.protocol.to_string(),
            channel_address: self.address.clone(),
            max_concurrency: u32::try_from(max_concurrency).unwrap_or(u32::MAX),
            health: self.health.as_ref().map(|health| AppHealth {
                path: (!self.protocol.is_grpc()).then(|| health.path.clone()),
                interval: format!("{}s", health.interval.as_secs()),
                timeout: format!("{}ms", health.timeout.as_millis()),
                threshold: health.threshold,
            }),
        }
    }
}

/// The port of the app; 0 and an empty text mean that there is none.
fn app_port(args: &Args, problems: &mut Problems) -> Option<u16> {
    let text = args.app_port.as_deref().filter(|text| !text.is_empty())?;
    Some(port("app-port", text, problems)).filter(|port| *port != 0)
}

fn health(args: &Args, problems: &mut Problems) -> Option<HealthConfig> {
    let at_least_1 = |number: i64| u64::try_from(number).ok().filter(|number| *number > 0);
    let interval = at_least_1(args.app_health_probe_interval).unwrap_or(HEALTH_INTERVAL_SECONDS);
    let timeout = at_least_1(args.app_health_probe_timeout).unwrap_or(HEALTH_TIMEOUT_MILLIS);
    let threshold = at_least_1(args.app_health_threshold);
    let health = HealthConfig {
        path: args.app_health_check_path.clone(),
        interval: Duration::from_secs(interval),
        timeout: Duration::from_millis(timeout),
        threshold: threshold.map_or(HEALTH_THRESHOLD, |n| u32::try_from(n).unwrap_or(u32::MAX)),
    };
    if args.enable_app_health_check != Some(true) {
        return None;
    }
    if health.timeout > health.interval {
        problems
            .add("value for 'health-probe-timeout' must be smaller than 'health-probe-interval'");
    }
    Some(health)
}

fn questions(args: &Args, problems: &mut Problems) -> Questions {
    let text = args
        .app_binding_options_timeout
        .as_deref()
        .unwrap_or_default();
    match parse_go_duration(text) {
        _ if text.is_empty() => Questions::default(),
        Ok(timeout) if !timeout.is_zero() => Questions { timeout },
        Ok(_) => Questions::default(),
        Err(error) => {
            problems.add(format!(
                "invalid value for 'app-binding-options-timeout': {error}"
            ));
            Questions::default()
        }
    }
}

/// Whether the app is asked for its configuration, and what it subscribes to.
fn asked(args: &Args, problems: &mut Problems) -> (bool, bool) {
    let names = args.disable_init_endpoints.iter().map(|name| name.trim());
    let (mut config, mut subscribe) = (true, true);
    for name in names.filter(|name| !name.is_empty()) {
        match name {
            "config" => config = false,
            "subscribe" => subscribe = false,
            other => problems.add(format!(
                "invalid value for 'disable-init-endpoints': {other}; accepted are config, \
                 subscribe"
            )),
        }
    }
    (config, subscribe)
}

/// The app at the start of the sidecar.
pub(super) struct Meeting {
    /// The road to the app, where there is one.
    channel: Option<AppChannel>,
    /// Ask for its configuration.
    discover: bool,
    /// Cancelled once the app listens and was asked.
    listens: CancellationToken,
    /// Cancelled once its subscriptions run.
    subscribed: CancellationToken,
    /// What waits for it.
    starting: ReadinessGuard,
}

impl Meeting {
    pub(super) fn new(
        channel: Option<AppChannel>,
        discover: bool,
        [listens, subscribed]: [CancellationToken; 2],
        starting: ReadinessGuard,
    ) -> Self {
        Self {
            channel,
            discover,
            listens,
            subscribed,
            starting,
        }
    }
}

/// Waits for the app, says that the sidecar is ready, and watches the app's health until the end.
pub(super) async fn follow(
    meeting: Meeting,
    started: Instant,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let Meeting {
        channel,
        discover,
        listens,
        subscribed,
        starting,
    } = meeting;
    let meeting = async {
        if let Some(channel) = &channel {
            channel.wait_until_listening().await;
            if discover {
                channel.discover_config().await;
            }
        }
        listens.cancel();
        if channel.is_some() {
            // Who waits until the sidecar is ready publishes what the app shall get.
            let _ = timeout(SUBSCRIBING, subscribed.cancelled()).await;
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => return Ok(()),
        () = meeting => {}
    }
    drop(starting);
    let elapsed = started.elapsed().as_millis();
    info!("dapr initialized. Status: Running. Init Elapsed {elapsed}ms");
    match channel.and_then(|channel| channel.health_probe()) {
        Some(probe) => probe.run(shutdown).await,
        None => {
            shutdown.cancelled().await;
            Ok(())
        }
    }
}
