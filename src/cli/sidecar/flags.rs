//! The flags of `sidegate sidecar`: those of daprd 1.18, under the same names.

use std::ffi::OsString;

use crate::cli::argv::parse_bool;
use crate::cli::runtime::RuntimeArgs;

/// Run the sidecar of an app
///
/// Serves the API of Dapr to one app. Takes every flag of daprd; those without effect in this build
/// are named once in the log. Called as `daprd`, the program behaves as this command.
#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub(crate) struct Args {
    /// Id of the app
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) app_id: String,
    /// Port of the app; without it there is no app to call
    #[arg(long, value_name = "PORT")]
    pub(super) app_port: Option<String>,
    /// Protocol of the app: http, https, h2c, grpc or grpcs
    #[arg(long, default_value = "http")]
    pub(super) app_protocol: String,
    /// Deprecated: use the protocol https or grpcs
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, num_args = 0..=1,
          require_equals = true, default_missing_value = "true")]
    pub(super) app_ssl: Option<bool>,
    /// Host of the app
    #[arg(long, default_value = "127.0.0.1")]
    pub(super) app_channel_address: String,
    /// Most calls of the app at once; no limit below 1
    #[arg(long, default_value_t = -1)]
    pub(super) app_max_concurrency: i64,
    /// Check the health of the app
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, num_args = 0..=1,
          require_equals = true, default_missing_value = "true")]
    pub(super) enable_app_health_check: Option<bool>,
    /// Path of the health check, for HTTP apps
    #[arg(long, default_value = "/healthz")]
    pub(super) app_health_check_path: String,
    /// Seconds between health checks
    #[arg(long, default_value_t = 5)]
    pub(super) app_health_probe_interval: i64,
    /// Milliseconds that a health check may take
    #[arg(long, default_value_t = 500)]
    pub(super) app_health_probe_timeout: i64,
    /// Failures in a row that make the app unhealthy
    #[arg(long, default_value_t = 3)]
    pub(super) app_health_threshold: i64,
    /// Time for the app to say whether it wants the events of an input binding (3s)
    #[arg(long, value_name = "DURATION")]
    pub(super) app_binding_options_timeout: Option<String>,
    /// Start-up calls of the app to leave out: config, subscribe
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(super) disable_init_endpoints: Vec<String>,

    /// Port of the HTTP API
    #[arg(long, default_value = "3500")]
    pub(super) dapr_http_port: String,
    /// Port of the gRPC API
    #[arg(long, default_value = "50001")]
    pub(super) dapr_grpc_port: String,
    /// Comma-separated addresses of the API; without it, those of loopback
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) dapr_listen_addresses: String,
    /// Port of health and metadata for everybody; off without it
    #[arg(long, value_name = "PORT")]
    pub(super) dapr_public_port: Option<String>,
    /// Address of the public port; without it, all addresses
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) dapr_public_listen_address: String,
    /// Port for other sidecars; without it, a free one, in Kubernetes 50002
    #[arg(long, value_name = "PORT")]
    pub(super) dapr_internal_grpc_port: Option<String>,
    /// Comma-separated addresses of the port for other sidecars; without it, 127.0.0.1, in
    /// Kubernetes all
    #[arg(long, value_name = "ADDRESS")]
    pub(super) dapr_internal_grpc_listen_address: Option<String>,
    /// Folder of Unix sockets that replace the ports of the API
    #[arg(long, value_name = "DIR")]
    pub(super) unix_domain_socket: Option<String>,
    /// Comma-separated origins of browsers that may call; * for all
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) allowed_origins: String,
    /// Most bytes of a request body [default: 4Mi]
    #[arg(long, value_name = "QUANTITY")]
    pub(super) max_body_size: Option<String>,
    /// Deprecated: use --max-body-size
    #[arg(long, value_name = "MB")]
    pub(super) dapr_http_max_request_size: Option<i64>,
    /// Most bytes of request headers [default: 4Ki]
    #[arg(long, value_name = "QUANTITY")]
    pub(super) read_buffer_size: Option<String>,
    /// Deprecated: use --read-buffer-size
    #[arg(long, value_name = "KB")]
    pub(super) dapr_http_read_buffer_size: Option<i64>,
    /// Log calls of the API; without it, as the Configuration says
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, num_args = 0..=1,
          require_equals = true, default_missing_value = "true")]
    pub(super) enable_api_logging: Option<bool>,

    /// standalone or kubernetes
    #[arg(long, default_value = "standalone")]
    pub(super) mode: String,
    /// Configuration file, or in Kubernetes the name of one; may be repeated, later ones win
    #[arg(long, value_name = "FILE")]
    pub(super) config: Vec<String>,
    /// Name of the SidecarPolicy (sidegate.dev/v1alpha1) that limits this sidecar
    #[arg(long, value_name = "NAME")]
    pub(super) policy: Option<String>,
    /// Access to secrets of stores that the Configuration gives no scope: allow or deny. A
    /// SidecarPolicy can deny what is allowed here, not the other way round [default: allow]
    #[arg(long, value_name = "ACCESS")]
    pub(super) secrets_default_access: Option<String>,
    /// Folder of resources; may be repeated
    #[arg(long, value_name = "DIR")]
    pub(super) resources_path: Vec<String>,
    /// Deprecated: use --resources-path
    #[arg(long, value_name = "DIR")]
    pub(super) components_path: Option<String>,
    /// Time between two full reads of the resources [default: 60s]
    #[arg(long, value_name = "DURATION")]
    pub(super) hot_reload_reconcile_interval: Option<String>,
    /// Do not load the secret store of Kubernetes
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, num_args = 0..=1,
          require_equals = true, default_missing_value = "true")]
    pub(super) disable_builtin_k8s_secret_store: Option<bool>,
    /// Kubeconfig file, in place of the pod's service account
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Option<String>,

    /// Seconds for calls in flight at the end; 5 for a negative number
    #[arg(long, default_value_t = 5)]
    pub(super) dapr_graceful_shutdown_seconds: i64,
    /// Time to go on serving after the signal to stop
    #[arg(long, value_name = "DURATION")]
    pub(super) dapr_block_shutdown_duration: Option<String>,
    /// Serve metrics [default: true]
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, num_args = 0..=1,
          require_equals = true, default_missing_value = "true")]
    pub(super) enable_metrics: Option<bool>,
    /// Port of the metrics
    #[arg(long, default_value = "9090")]
    pub(super) metrics_port: String,
    /// Address of the metrics
    #[arg(long, default_value = "0.0.0.0")]
    pub(super) metrics_listen_address: String,
    /// debug, info, warn, error or fatal
    #[arg(long, default_value = "info")]
    pub(super) log_level: String,
    /// Log JSON lines
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, num_args = 0..=1,
          require_equals = true, default_missing_value = "true")]
    pub(super) log_as_json: Option<bool>,
    /// Log to a file
    #[arg(long, value_name = "FILE")]
    pub(super) log_file: Option<String>,
    /// Serve profiles
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, num_args = 0..=1,
          require_equals = true, default_missing_value = "true")]
    pub(super) enable_profiling: Option<bool>,
    /// Port of the profiles
    #[arg(long, value_name = "PORT")]
    pub(super) profile_port: Option<String>,
    /// Wait until the API of a sidecar on this host is usable, then exit
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, num_args = 0..=1,
          require_equals = true, default_missing_value = "true")]
    pub(super) wait: Option<bool>,
    /// Print the version
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, num_args = 0..=1,
          require_equals = true, default_missing_value = "true")]
    pub(super) version: Option<bool>,
    /// Print how this program was built
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, num_args = 0..=1,
          require_equals = true, default_missing_value = "true")]
    pub(super) build_info: Option<bool>,

    /// Use mutual TLS between sidecars, with the certificate authority of a Dapr control plane
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, num_args = 0..=1,
          require_equals = true, default_missing_value = "true")]
    pub(super) enable_mtls: Option<bool>,
    /// HOST:PORT of the certificate authority
    #[arg(long, value_name = "ADDRESS")]
    pub(super) sentry_address: Option<String>,
    /// Address of the control plane
    #[arg(long, value_name = "ADDRESS")]
    pub(super) control_plane_address: Option<String>,
    /// Trust domain of the control plane [env: DAPR_CONTROLPLANE_TRUST_DOMAIN] [default: localhost]
    #[arg(long, value_name = "DOMAIN")]
    pub(super) control_plane_trust_domain: Option<String>,
    /// Namespace of the control plane [env: DAPR_CONTROLPLANE_NAMESPACE] [default: default]
    #[arg(long, value_name = "NAMESPACE")]
    pub(super) control_plane_namespace: Option<String>,
    /// Audiences of tokens that the certificate authority may issue
    #[arg(long, value_name = "LIST")]
    pub(super) sentry_request_jwt_audiences: Option<String>,
    /// Addresses of the placement service
    #[arg(long, value_name = "LIST")]
    pub(super) placement_host_address: Option<String>,
    /// Name and addresses of the actors service
    #[arg(long, value_name = "NAME:LIST")]
    pub(super) actors_service: Option<String>,
    /// Name and addresses of the reminders service
    #[arg(long, value_name = "NAME:LIST")]
    pub(super) reminders_service: Option<String>,
    /// Time for a new table of actors
    #[arg(long, value_name = "DURATION")]
    pub(super) actors_disseminate_timeout: Option<String>,
    /// Addresses of the scheduler
    #[arg(long, value_name = "LIST")]
    pub(super) scheduler_host_address: Option<String>,
    /// Streams to the scheduler
    #[arg(long, value_name = "N")]
    pub(super) scheduler_job_streams: Option<i64>,

    #[command(flatten)]
    pub(super) runtime: RuntimeArgs,
    /// Arguments that are no flags, which daprd ignores
    #[arg(hide = true)]
    ignored: Vec<OsString>,
}
