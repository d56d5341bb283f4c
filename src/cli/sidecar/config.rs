//! From flags and environment to what the sidecar is made with. All problems are told at once.

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::app::AppConfig;
use super::flags::Args;
use super::listen::{AddressError, Place};
use super::size::size;
use crate::api::http::cors::Cors;
use crate::auth::tokens::ApiTokens;
use crate::base::duration::parse_go_duration;
use crate::base::environment::Environment;
use crate::base::token::Token;
use crate::peers::identity::Sentry;
use crate::process::kubernetes::Access;
use crate::registry::{DEFAULT_RECONCILE_INTERVAL, RegistryConfig};
use crate::resources::sidecar_policy::DefaultAccess;

/// The limits of bodies and headers without a flag (Dapr 1.18).
const DEFAULT_BODY: u64 = 4 << 20;
const DEFAULT_HEADERS: u64 = 4 << 10;
/// Go's server reads this much more than its limit of headers before it answers 431, so that 4 KiB
/// take a token of 4 KiB in daprd.
const HEADER_SLOP: u64 = 4 << 10;
/// The longest graceful end without a flag, and for a negative one (Dapr 1.18).
const DEFAULT_GRACE: Duration = Duration::from_secs(5);

/// The port for other sidecars in Kubernetes, which all of them have (Dapr 1.18).
const INTERNAL_PORT: u16 = 50002;

/// What the sidecar is made with.
#[derive(Clone, Debug)]
pub struct Config {
    pub(super) log_level: String,
    pub(super) places: Places,
    pub(super) app: AppConfig,
    pub(super) registry: RegistryConfig,
    pub(super) tokens: ApiTokens,
    /// Where certificates come from, with mutual TLS between sidecars.
    pub(super) sentry: Option<Sentry>,
    pub(super) app_token: Option<Token>,
    pub(super) cors: Cors,
    pub(super) max_body: usize,
    pub(super) header_bytes: usize,
    pub(super) api_logging: Option<bool>,
    pub(super) grace: Duration,
    pub(super) block: Option<Duration>,
    /// Lines for the log, each said once at start.
    pub(super) notices: Vec<String>,
}

/// Where each server listens.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) http: Place,
    pub(super) grpc: Place,
    pub(super) public: Option<Place>,
    pub(super) metrics: Option<Place>,
    pub(super) internal: Place,
}

/// Everything that is wrong with the flags and the environment, a line each.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError(Vec<String>);

impl std::error::Error for ConfigError {}

impl Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// Collects problems while reading goes on with stand-ins.
#[derive(Default)]
pub(super) struct Problems(Vec<String>);

impl Problems {
    pub(super) fn add(&mut self, text: impl Into<String>) {
        self.0.push(text.into());
    }

    /// The value, or its default with the problem noted.
    pub(super) fn or_default<T: Default, E: Display>(&mut self, result: Result<T, E>) -> T {
        result.unwrap_or_else(|error| {
            self.add(error.to_string());
            T::default()
        })
    }
}

impl Config {
    /// Reads the flags of `sidegate sidecar` with the environment.
    pub(super) fn new(args: &Args, environment: &Environment) -> Result<Self, ConfigError> {
        let mut problems = Problems::default();
        let mut notices = args.notices(environment);
        check_app_id(&args.app_id, &mut problems);
        check_mode(&args.mode, &mut problems);
        let app = AppConfig::new(args, &mut problems);
        let tokens = token("DAPR_API_TOKEN", environment, &mut notices, &mut problems);
        let app_token = token("APP_API_TOKEN", environment, &mut notices, &mut problems);
        let config = Self {
            log_level: args.log_level.clone(),
            places: args.places(app.port, &mut problems),
            app,
            registry: args.registry(environment, &mut problems),
            tokens: ApiTokens::new(tokens),
            sentry: args.sentry(environment, &mut problems),
            app_token,
            cors: Cors::parse(&args.allowed_origins),
            max_body: args.max_body(&mut problems),
            header_bytes: args.header_bytes(&mut problems),
            api_logging: args.enable_api_logging,
            grace: args.grace(),
            block: args.block(&mut problems),
            notices,
        };
        if problems.0.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError(problems.0))
        }
    }
}

fn check_app_id(app_id: &str, problems: &mut Problems) {
    if app_id.is_empty() {
        problems.add("parameter app-id cannot be empty");
    } else if app_id.contains('.') {
        problems.add("parameter app-id cannot contain dots");
    } else if app_id.contains(['/', '\0']) {
        // It becomes part of the name of a socket file.
        problems.add("parameter app-id cannot contain slashes");
    }
}

fn check_mode(mode: &str, problems: &mut Problems) {
    if !["standalone", "kubernetes"].contains(&mode) {
        problems.add(format!(
            "invalid mode: {mode}; accepted are standalone, kubernetes"
        ));
    }
}

fn token(
    variable: &'static str,
    environment: &Environment,
    notices: &mut Vec<String>,
    problems: &mut Problems,
) -> Option<Token> {
    let parsed = problems.or_default(Token::parse(variable, environment.value(variable)))?;
    if parsed.newline_cut {
        notices.push(format!(
            "{variable} ended with a newline, which was cut; take it out of the Secret"
        ));
    }
    Some(parsed.token)
}

/// A port as daprd's flags have it: text, so that a bad one is told with the others.
pub(super) fn port(flag: &str, text: &str, problems: &mut Problems) -> u16 {
    text.trim().parse().unwrap_or_else(|_| {
        problems.add(format!(
            "error parsing {flag}: {text:?} is not a port (0-65535)"
        ));
        0
    })
}

impl Args {
    fn registry(&self, environment: &Environment, problems: &mut Problems) -> RegistryConfig {
        let paths = |list: &[String]| -> Vec<PathBuf> {
            let set = list.iter().filter(|path| !path.is_empty());
            set.map(PathBuf::from).collect()
        };
        let mut folders = paths(&self.resources_path);
        folders.extend(paths(self.components_path.as_slice()));
        let interval = self.hot_reload_reconcile_interval.as_deref();
        let interval = interval.map_or(Ok(Duration::ZERO), parse_go_duration);
        let interval = interval
            .map_err(|error| format!("invalid value for 'hot-reload-reconcile-interval': {error}"));
        RegistryConfig {
            app_id: self.app_id.clone(),
            namespace: environment.non_empty("NAMESPACE").map(str::to_owned),
            resource_paths: folders,
            config_files: paths(&self.config),
            policy: self.policy(problems),
            default_access: self.default_access(problems),
            access: self.access(environment),
            has_kubernetes_store: self.has_kubernetes_store(),
            environment: environment.clone(),
            is_kubernetes: self.mode == "kubernetes",
            reads_cluster: self
                .control_plane_address
                .as_deref()
                .unwrap_or_default()
                .is_empty(),
            reconcile_interval: match problems.or_default(interval) {
                Duration::ZERO => DEFAULT_RECONCILE_INTERVAL,
                interval => interval,
            },
        }
    }

    /// An empty name is not "none", which would lift the limits.
    fn policy(&self, problems: &mut Problems) -> Option<String> {
        if self.policy.as_deref() == Some("") {
            problems.add("parameter policy cannot be empty: it is the name of a SidecarPolicy");
        }
        self.policy.clone()
    }

    fn default_access(&self, problems: &mut Problems) -> DefaultAccess {
        let given = self.secrets_default_access.as_deref();
        let access = given.map_or(Some(DefaultAccess::default()), DefaultAccess::parse);
        access.unwrap_or_else(|| {
            problems.add(format!(
                "invalid value for 'secrets-default-access': {:?}; accepted are \"allow\" and \
                 \"deny\"",
                given.unwrap_or_default()
            ));
            DefaultAccess::Deny
        })
    }

    fn has_kubernetes_store(&self) -> bool {
        self.mode == "kubernetes" && self.disable_builtin_k8s_secret_store != Some(true)
    }

    fn access(&self, environment: &Environment) -> Access {
        let given = self.kubeconfig.as_deref().filter(|path| !path.is_empty());
        match given.or_else(|| environment.non_empty("KUBECONFIG")) {
            Some(path) => Access::Kubeconfig(PathBuf::from(path)),
            None => Access::InCluster,
        }
    }

    fn places(&self, app_port: Option<u16>, problems: &mut Problems) -> Places {
        let http = port("dapr-http-port flag", &self.dapr_http_port, problems);
        let grpc = port("dapr-grpc-port flag", &self.dapr_grpc_port, problems);
        let public = self.public_port(problems);
        let metrics = self.metrics_port(problems);
        let internal = self.internal_port(problems);
        self.check_conflicts(
            app_port,
            &[
                ("dapr-http-port", Some(http)),
                ("dapr-grpc-port", Some(grpc)),
                ("dapr-public-port", public),
                ("metrics-port", metrics),
                ("dapr-internal-grpc-port", Some(internal)),
            ],
            problems,
        );
        let api = |protocol, port, problems: &mut Problems| match &self.unix_domain_socket {
            Some(folder) if !folder.is_empty() => {
                Place::unix(Path::new(folder), &self.app_id, protocol)
            }
            _ => place(Place::listed(&self.dapr_listen_addresses, port), problems),
        };
        Places {
            http: api("http", http, problems),
            grpc: api("grpc", grpc, problems),
            public: public.map(|port| {
                place(
                    Place::one_or_all(&self.dapr_public_listen_address, port),
                    problems,
                )
            }),
            metrics: metrics.map(|port| {
                place(
                    Place::one_or_all(&self.metrics_listen_address, port),
                    problems,
                )
            }),
            internal: place(self.internal_place(internal), problems),
        }
    }

    fn internal_port(&self, problems: &mut Problems) -> u16 {
        match self.dapr_internal_grpc_port.as_deref() {
            None | Some("") if self.mode == "kubernetes" => INTERNAL_PORT,
            None | Some("") => 0,
            Some(text) => port("dapr-internal-grpc-port flag", text, problems),
        }
    }

    /// Nothing tells who calls there, and the app takes what comes for a sidecar's: so outside of
    /// Kubernetes only this machine may.
    fn internal_place(&self, port: u16) -> Result<Place, AddressError> {
        let given = self.dapr_internal_grpc_listen_address.as_deref();
        match given.unwrap_or_default() {
            "" if self.mode == "kubernetes" => Ok(Place::AllTcp(port)),
            "" => Place::listed("127.0.0.1", port),
            list => Place::listed(list, port),
        }
    }

    fn public_port(&self, problems: &mut Problems) -> Option<u16> {
        let text = self
            .dapr_public_port
            .as_deref()
            .filter(|text| !text.is_empty())?;
        Some(port("dapr-public-port", text, problems))
    }

    fn metrics_port(&self, problems: &mut Problems) -> Option<u16> {
        let is_on = self.enable_metrics.unwrap_or(true);
        is_on.then(|| port("metrics-port", &self.metrics_port, problems))
    }

    /// Two servers, or a server and the app, on one port. Port 0 takes a free one.
    fn check_conflicts(
        &self,
        app_port: Option<u16>,
        ports: &[(&str, Option<u16>)],
        problems: &mut Problems,
    ) {
        let mut taken = vec![("app-port", app_port)];
        for (name, port) in ports {
            let Some(number) = port.filter(|port| *port != 0) else {
                continue;
            };
            if let Some((other, _)) = taken.iter().find(|(_, taken)| *taken == Some(number)) {
                problems.add(format!(
                    "the '{name}' argument value {number} conflicts with '{other}'"
                ));
            }
            taken.push((name, Some(number)));
        }
    }

    /// The limit of bodies in bytes; 0 is no limit.
    fn max_body(&self, problems: &mut Problems) -> usize {
        let old = self
            .dapr_http_max_request_size
            .map(|mebibytes| (mebibytes, 1 << 20));
        let bytes = size(
            "max-body-size",
            self.max_body_size.as_deref(),
            old,
            problems,
        );
        match bytes.unwrap_or(DEFAULT_BODY) {
            0 => usize::MAX,
            bytes => usize::try_from(bytes).unwrap_or(usize::MAX),
        }
    }

    fn header_bytes(&self, problems: &mut Problems) -> usize {
        let old = self
            .dapr_http_read_buffer_size
            .map(|kibibytes| (kibibytes, 1 << 10));
        let bytes = size(
            "read-buffer-size",
            self.read_buffer_size.as_deref(),
            old,
            problems,
        );
        let bytes = bytes.unwrap_or(DEFAULT_HEADERS).saturating_add(HEADER_SLOP);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    fn grace(&self) -> Duration {
        let seconds = u64::try_from(self.dapr_graceful_shutdown_seconds);
        seconds.map_or(DEFAULT_GRACE, Duration::from_secs)
    }

    fn block(&self, problems: &mut Problems) -> Option<Duration> {
        let text = self.dapr_block_shutdown_duration.as_deref()?;
        let parsed = parse_go_duration(text)
            .map_err(|error| format!("invalid value for 'dapr-block-shutdown-duration': {error}"));
        Some(problems.or_default(parsed)).filter(|duration| !duration.is_zero())
    }
}

fn place<E: Display>(place: Result<Place, E>, problems: &mut Problems) -> Place {
    place.unwrap_or_else(|error| {
        problems.add(error.to_string());
        Place::AllTcp(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &str, environment: &[(&str, &str)]) -> anyhow::Result<Config> {
        let environment = Environment::from_iter(environment.iter().copied());
        Config::parse(flags.split_whitespace(), &environment)
    }

    fn problem(flags: &str) -> String {
        parse(flags, &[]).unwrap_err().to_string()
    }

    #[test]
    fn says_what_is_wrong_in_the_words_of_daprd() {
        for (flags, expected) in [
            ("", "parameter app-id cannot be empty"),
            ("--app-id=a.b", "parameter app-id cannot contain dots"),
            (
                "--app-id=a --mode=zz",
                "invalid mode: zz; accepted are standalone, kubernetes",
            ),
            (
                "--app-id=a --app-port=99999",
                "error parsing app-port: \"99999\" is not a port (0-65535)",
            ),
            (
                "--app-id=a --dapr-http-port=x",
                "error parsing dapr-http-port flag: \"x\" is not a port (0-65535)",
            ),
            (
                "--app-id=a --app-port=3500",
                "the 'dapr-http-port' argument value 3500 conflicts with 'app-port'",
            ),
            (
                "--app-id=a --dapr-grpc-port=3500",
                "the 'dapr-grpc-port' argument value 3500 conflicts with 'dapr-http-port'",
            ),
            (
                "--app-id=a --dapr-internal-grpc-port=50001",
                "the 'dapr-internal-grpc-port' argument value 50001 conflicts with \
                 'dapr-grpc-port'",
            ),
            (
                "--app-id=a --app-protocol=tcp",
                "invalid value for 'app-protocol': tcp; accepted are http, https, h2c, grpc, grpcs",
            ),
            (
                "--app-id=a --disable-init-endpoints=zz",
                "invalid value for 'disable-init-endpoints': zz; accepted are config, subscribe",
            ),
            (
                "--app-id=a --enable-app-health-check --app-health-probe-interval=1 \
                 --app-health-probe-timeout=1001",
                "value for 'health-probe-timeout' must be smaller than 'health-probe-interval'",
            ),
        ] {
            assert_eq!(problem(flags), expected, "{flags}");
        }
        let text = problem("--app-id=a --max-body-size=x");
        assert!(
            text.starts_with("invalid value for 'max-body-size': \"x\""),
            "{text}"
        );
        let text = problem("--app-id=a --dapr-block-shutdown-duration=x");
        assert!(
            text.starts_with("invalid value for 'dapr-block-shutdown-duration':"),
            "{text}"
        );
    }

    #[test]
    fn tells_every_problem_at_once() {
        let lines = problem("--mode=zz --app-port=x");
        assert_eq!(lines.lines().count(), 3, "{lines}");
    }

    #[test]
    fn takes_the_forms_of_pflag() {
        let config = parse(
            "/daprd --app-id a --enable-metrics=false --app-max-concurrency -1 --app-id b stray",
            &[],
        )
        .unwrap();
        assert_eq!(config.registry.app_id, "b");
        assert_eq!(config.places.metrics, None);
        let empty = ["--app-id", "a", "--config", "", "--dapr-public-port", ""];
        let config = Config::parse(empty, &Environment::default()).unwrap();
        assert!(config.registry.config_files.is_empty());
        assert_eq!(config.places.public, None);
    }

    #[test]
    fn old_flags_of_sizes_count_where_the_new_ones_are_not_given() {
        for (flags, body) in [
            ("--app-id=a", 4 << 20),
            ("--app-id=a --dapr-http-max-request-size=2", 2 << 20),
            (
                "--app-id=a --dapr-http-max-request-size=2 --max-body-size=1Ki",
                1 << 10,
            ),
            ("--app-id=a --dapr-http-max-request-size=-1", 4 << 20),
            ("--app-id=a --max-body-size=0", usize::MAX),
        ] {
            assert_eq!(parse(flags, &[]).unwrap().max_body, body, "{flags}");
        }
    }

    #[test]
    fn a_negative_grace_is_the_default() {
        let config = parse("--app-id=a --dapr-graceful-shutdown-seconds -1", &[]).unwrap();
        assert_eq!(config.grace, DEFAULT_GRACE);
    }

    #[test]
    fn notes_what_is_deprecated_or_without_effect() {
        let flags = "--app-id=a --app-ssl --enable-profiling --enable-mtls=false --profile-port x";
        let config = parse(flags, &[("APP_API_TOKEN", "t\n")]).unwrap();
        assert_eq!(
            config.notices,
            [
                "flag --app-ssl is deprecated: use --app-protocol https or grpcs",
                "accepted, without effect in this build: --enable-profiling, --profile-port",
                "APP_API_TOKEN ended with a newline, which was cut; take it out of the Secret",
            ]
        );
    }

    #[test]
    fn takes_every_flag_that_an_injector_writes() {
        let flags = "/daprd --dapr-http-port 3500 --dapr-grpc-port 50001 \
             --dapr-internal-grpc-port 50002 --dapr-listen-addresses [::1],127.0.0.1 \
             --dapr-public-port 3501 --app-id a --app-protocol http --log-level info \
             --dapr-graceful-shutdown-seconds -1 --mode kubernetes \
             --control-plane-address a:443 --sentry-address s:443 --app-port 8080 \
             --enable-metrics --metrics-port 9090 --app-channel-address 127.0.0.1 \
             --placement-host-address p:50005 --actors-service placement:p:50005 \
             --reminders-service default --sentry-request-jwt-audiences a \
             --enable-api-logging=false --disable-builtin-k8s-secret-store \
             --enable-app-health-check=true --app-health-check-path /h \
             --app-health-probe-interval 5 --app-health-probe-timeout 500 \
             --app-health-threshold 3 --app-binding-options-timeout 3s --log-as-json \
             --enable-profiling --enable-mtls --app-ssl --app-max-concurrency 5 \
             --dapr-http-max-request-size 4 --max-body-size 4Mi --dapr-http-read-buffer-size 4 \
             --read-buffer-size 4Ki --unix-domain-socket /var/run/dapr-sockets \
             --dapr-block-shutdown-duration 3s --actors-disseminate-timeout 30s \
             --scheduler-host-address s:443 --disable-init-endpoints config,subscribe";
        let anchors = crate::testing::certificates::Authority::new().certificate();
        let config = parse(flags, &[("DAPR_TRUST_ANCHORS", &anchors)]).unwrap();
        let socket = Place::unix(Path::new("/var/run/dapr-sockets"), "a", "http");
        assert_eq!(config.places.http, socket);
        assert_eq!(config.places.public, Some(Place::AllTcp(3501)));
        assert_eq!(config.block, Some(Duration::from_secs(3)));
    }
}
