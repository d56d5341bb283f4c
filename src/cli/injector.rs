//! `sidegate injector`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::service::TowerToHyperService;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::argv::parse_bool;
use super::environment::host_name;
use super::injector_certificate::{CertificateArgs, Process};
use super::injector_config::{ConfigArgs, NativeSidecar};
use super::runtime::{RuntimeArgs, block_on};
use crate::base::environment::Environment;
use crate::injector::kubernetes::Version;
use crate::injector::others::{self, OtherInjectors};
use crate::injector::requester::Requesters;
use crate::injector::server::{self, LIMITS, Settings};
use crate::process::admin;
use crate::process::kubernetes::{Access, Cluster, ConnectError};
use crate::process::listener::Listener;
use crate::process::log_format::{self, LogConfig};
use crate::process::metrics::Metrics;
use crate::process::readiness::Readiness;
use crate::process::serve::serve;
use crate::process::shutdown::watch_signals;
use crate::process::tasks::{Tasks, with_causes};
use crate::tls::handshake::TlsHandshake;
use crate::tls::identity::Identity;

/// The default of `--max-body-bytes`.
const BODY_BYTES: NonZeroUsize = match NonZeroUsize::new(server::BODY_BYTES) {
    Some(bytes) => bytes,
    None => NonZeroUsize::MIN,
};

/// Run the admission webhook that injects sidecars into pods
///
/// Serves POST /mutate over TLS for the API server's AdmissionReviews of new pods, POST /advise for
/// those of workloads, /healthz on the health port and Prometheus metrics on the metrics port. The
/// certificate comes from two files, and then no Kubernetes API is needed, or from a Secret that
/// the injector keeps itself.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    certificate: CertificateArgs,

    /// Port of the webhook
    #[arg(long, default_value_t = 4000)]
    port: u16,
    /// Address of the webhook; without it, all addresses of the host
    #[arg(long, value_name = "IP")]
    listen_address: Option<IpAddr>,
    /// Port of GET /healthz
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    healthz_port: u16,
    /// Address of GET /healthz; without it, all addresses of the host
    #[arg(long, value_name = "IP")]
    healthz_listen_address: Option<IpAddr>,
    /// Serve metrics
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true", value_parser = parse_bool,
          action = clap::ArgAction::Set)]
    enable_metrics: bool,
    /// Port of the metrics
    #[arg(long, value_name = "PORT", default_value_t = 9090)]
    metrics_port: u16,
    /// Address of the metrics; without it, all addresses of the host
    #[arg(long, value_name = "IP")]
    metrics_listen_address: Option<IpAddr>,

    /// Comma-separated NAMESPACE:NAME globs of the service accounts whose pods may get sidecars,
    /// beside Kubernetes' own controllers and the group system:masters; pods of others are denied.
    /// Without it everybody's may [env: ALLOWED_SERVICE_ACCOUNTS]
    #[arg(long, value_name = "LIST")]
    allowed_service_accounts: Option<String>,
    /// Most bytes of an AdmissionReview
    #[arg(long, value_name = "BYTES", default_value_t = BODY_BYTES)]
    max_body_bytes: NonZeroUsize,
    /// Seconds between the signal to stop and the end of accepting, for the cluster to notice
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    shutdown_delay_seconds: u64,
    /// Kubeconfig file of the API server, which has the Secret and the webhook configurations,
    /// which --native-sidecar=auto asks for its version, and where other injectors are looked for;
    /// inside a cluster it is found without
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// debug, info, warn, error or fatal
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
    /// Log JSON lines
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true", value_parser = parse_bool,
          action = clap::ArgAction::Set)]
    log_as_json: bool,
    #[command(flatten)]
    runtime: RuntimeArgs,
    #[command(flatten)]
    sidecar: ConfigArgs,
}

/// Runs the webhook until a signal ends it.
pub(super) fn run(args: &Args, environment: &Environment) -> anyhow::Result<ExitCode> {
    log_format::install(LogConfig {
        level: args.log_level.clone(),
        json: args.log_as_json,
        app_id: "sidegate-injector".to_owned(),
        instance: host_name(environment),
    })?;
    let signal = CancellationToken::new();
    let serve = async {
        let injector = Injector::bind(args, environment).await?;
        let delay = Duration::from_secs(args.shutdown_delay_seconds);
        injector.run(&signal, delay).await
    };
    block_on(args.runtime, async {
        tokio::select! {
            // First, so that a signal that comes during the start is not missed.
            biased;
            failed = watch_signals(signal.clone(), CancellationToken::new()) => failed?,
            ended = serve => ended?,
        }
        Ok(ExitCode::SUCCESS)
    })?
}

/// Everything that runs, with its sockets bound.
struct Injector {
    tasks: Tasks,
    readiness: Readiness,
}

impl Injector {
    async fn bind(args: &Args, environment: &Environment) -> anyhow::Result<Self> {
        let metrics = Metrics::install(None);
        let requesters = args.requesters(environment)?;
        // Checked before the API server is asked for anything.
        args.sidecar.config(environment, false)?;
        args.certificate.check()?;
        let native_sidecar = args.native_sidecar(environment).await;
        let mut tasks = Tasks::new(CancellationToken::new());
        let others = args.follow_others(environment, &mut tasks).await;
        let settings = Settings {
            config: args.sidecar.config(environment, native_sidecar)?,
            requesters,
            others,
            body_bytes: args.max_body_bytes.get(),
            body_time: server::BODY_TIME,
        };
        let readiness = Readiness::new();
        let process = Process {
            readiness: &readiness,
            tasks: &mut tasks,
        };
        let identity = args.identity(environment, process).await?;

        let starting = readiness.wait_for("webhook");
        let listener = bind("webhook", args.listen_address, args.port).await?;
        let handshake = TlsHandshake::new(identity.clone());
        let service = TowerToHyperService::new(server::routes(settings));
        let stop = tasks.shutdown();
        tasks.spawn(
            "webhook",
            serve(listener, handshake, service, LIMITS, stop.clone()),
        );

        let listener = bind("healthz", args.healthz_listen_address, args.healthz_port).await?;
        let health = admin::health_routes(readiness.clone());
        tasks.spawn("healthz", admin::run(listener, health, stop.clone()));
        if args.enable_metrics {
            let listener = bind("metrics", args.metrics_listen_address, args.metrics_port).await?;
            let routes = server::metrics_routes(metrics, identity);
            tasks.spawn("metrics", admin::run(listener, routes, stop));
        }
        drop(starting);
        Ok(Self { tasks, readiness })
    }

    /// Runs until a signal, then tells that it is not ready, waits for the cluster to notice, and
    /// finishes what is in flight.
    async fn run(self, signal: &CancellationToken, delay: Duration) -> anyhow::Result<()> {
        let Self { tasks, readiness } = self;
        let shutdown = tasks.shutdown();
        let stop_after_signal = async {
            signal.cancelled().await;
            let _not_ready = readiness.wait_for("shutdown");
            tokio::time::sleep(delay).await;
            shutdown.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = tasks.finish() => ended?,
            () = stop_after_signal => {}
        }
        info!("Stopped");
        Ok(())
    }
}

impl Args {
    /// The identity to serve with, and the tasks that keep it.
    async fn identity(
        &self,
        environment: &Environment,
        process: Process<'_>,
    ) -> anyhow::Result<watch::Receiver<Arc<Identity>>> {
        let certificate = &self.certificate;
        let cluster = match certificate.needs_cluster() {
            true => Some(self.cluster().await?),
            false => None,
        };
        match (&certificate.certificate_secret, cluster) {
            (Some(secret), Some(cluster)) => {
                let domain = self.sidecar.cluster_domain(environment);
                certificate.keep((cluster, secret), &domain, process)
            }
            (_, cluster) => certificate.follow_files(cluster, process),
        }
    }

    fn requesters(&self, environment: &Environment) -> anyhow::Result<Requesters> {
        let current = environment.non_empty("ALLOWED_SERVICE_ACCOUNTS");
        let old = environment.non_empty("ALLOWED_SERVICE_ACCOUNTS_PREFIX_NAMES");
        let list = match &self.allowed_service_accounts {
            Some(list) => list.clone(),
            None => [current, old]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(","),
        };
        Ok(Requesters::parse(&list)?)
    }

    async fn native_sidecar(&self, environment: &Environment) -> bool {
        match self.sidecar.native_sidecar(environment) {
            NativeSidecar::On => true,
            NativeSidecar::Off => false,
            NativeSidecar::Auto if !self.has_cluster(environment) => {
                info!("Native sidecars are off by default: there is no Kubernetes API to ask");
                false
            }
            NativeSidecar::Auto => match self.version().await {
                Ok(version) => {
                    let on = version.has_native_sidecars();
                    info!(%version, on, "Native sidecars are decided by the API server's version");
                    on
                }
                Err(error) => {
                    let error = with_causes(error.as_ref());
                    warn!(%error, "Native sidecars are off: the API server's version is not known");
                    false
                }
            },
        }
    }

    async fn version(&self) -> anyhow::Result<Version> {
        Ok(Version::of_api_server(&self.cluster().await?).await?)
    }

    /// Starts to look for other injectors, where there is a cluster. Nothing waits for it.
    async fn follow_others(&self, environment: &Environment, tasks: &mut Tasks) -> OtherInjectors {
        if !self.has_cluster(environment) {
            info!("Other injectors are not looked for: there is no Kubernetes API to ask");
            return others::none();
        }
        match self.cluster().await {
            Ok(cluster) => {
                let own = self.certificate.mutating_webhook.clone();
                let (others, follower) = others::kubernetes::follow(cluster, own);
                let stop = tasks.shutdown();
                tasks.spawn("other injectors", follower.run(stop));
                others
            }
            Err(error) => {
                let error = with_causes(&error);
                info!(%error, "Other injectors are not looked for");
                others::none()
            }
        }
    }

    fn has_cluster(&self, environment: &Environment) -> bool {
        self.kubeconfig.is_some() || environment.non_empty("KUBERNETES_SERVICE_HOST").is_some()
    }

    async fn cluster(&self) -> Result<Cluster, ConnectError> {
        let access = match &self.kubeconfig {
            Some(path) => Access::Kubeconfig(path.clone()),
            None => Access::InCluster,
        };
        Cluster::connect(&access).await
    }
}

/// Binds `address`, or all addresses of the host: those of both families where it has IPv6.
async fn bind(name: &'static str, address: Option<IpAddr>, port: u16) -> anyhow::Result<Listener> {
    let at = |address: IpAddr| Listener::bind_tcp(SocketAddr::new(address, port));
    let listener = match address {
        Some(address) => at(address).await?,
        None => match at(Ipv6Addr::UNSPECIFIED.into()).await {
            Err(error) if error.is_missing_address() => at(Ipv4Addr::UNSPECIFIED.into()).await?,
            bound => bound?,
        },
    };
    info!(address = %listener.address(), "Listening for {name}");
    Ok(listener)
}
