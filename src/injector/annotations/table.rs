//! The rows. Keys, types and defaults of `dapr.io/` are those of Dapr 1.18.

use super::Annotation;
use super::Kind::{
    AppId, Bytes, Choice, Duration, Env, EnvFromSecret, Flag, Gate, List, Mounts, NotRead, Number,
    Path, Port, Quantity, SecretName, Text,
};

/// The protocols of an app.
const PROTOCOLS: &[&str] = &["http", "https", "grpc", "grpcs", "h2c"];
/// The levels of the log.
const LEVELS: &[&str] = &["debug", "info", "warn", "warning", "error", "fatal"];
/// The seccomp profile that confines and needs no more than its name (Kubernetes,
/// `SeccompProfile`; `Localhost` would need a file of the node).
const SECCOMP: &[&str] = &["RuntimeDefault"];

const MAX: i32 = i32::MAX;
/// Counts and seconds that must be positive.
const POSITIVE: super::Kind = Number { min: 1, max: MAX };
/// Seconds that may be zero.
const NATURAL: super::Kind = Number { min: 0, max: MAX };
/// Numbers where Dapr takes -1 for "not set".
const OR_UNSET: super::Kind = Number { min: -1, max: MAX };

macro_rules! table {
    ($($id:ident = $key:literal, $kind:expr, $default:literal, $effect:literal
        $(, denied: $weakens:literal)?;)*) => {
        $(
            #[doc = $effect]
            pub(in crate::injector) const $id: Annotation = Annotation {
                key: $key,
                kind: $kind,
                default: $default,
                effect: $effect,
                weakens: concat!("" $(, $weakens)?),
            };
        )*

        /// All rows, in the order of the generated page.
        pub const TABLE: &[Annotation] = &[$($id),*];
    };
}

table! {
    ENABLED = "dapr.io/enabled", Gate, "",
        "Asks for a sidecar. Must be `true`, in any case and without spaces; every other spelling \
         of true asks for none.";
    APP_ID = "dapr.io/app-id", AppId, "",
        "The app's id: `--app-id` and the label `dapr.io/app-id`. Without it the pod's own name \
         counts, which pods of a Deployment do not have yet when they are admitted.";
    APP_PORT = "dapr.io/app-port", Port, "",
        "The port that the app listens on: `--app-port`. `0` is the same as none.";
    APP_PROTOCOL = "dapr.io/app-protocol", Choice(PROTOCOLS), "http",
        "What the app speaks: `--app-protocol`, and `APP_PROTOCOL` in app containers.";
    APP_SSL = "dapr.io/app-ssl", Flag, "false",
        "Deprecated spelling of `https` and `grpcs`: `--app-ssl`.";
    APP_CHANNEL_ADDRESS = "dapr.io/app-channel-address", Text, "",
        "The host of the app, where it is not this pod: `--app-channel-address`.";
    APP_MAX_CONCURRENCY = "dapr.io/app-max-concurrency", OR_UNSET, "",
        "How many calls the app gets at a time: `--app-max-concurrency`.";
    CONFIG = "dapr.io/config", Text, "",
        "The Configuration of the sidecar: `--config`. The name of an object in the pod's \
         namespace, or the path of a file that the sidecar mounts.";
    POLICY = "sidegate.dev/policy", Text, "",
        "The SidecarPolicy of the sidecar: `--policy`. The name of an object in the pod's \
         namespace. One that cannot be read stops the sidecar at its start.";
    SIDECAR_IMAGE = "dapr.io/sidecar-image", Text, "",
        "The image of the sidecar, instead of the injector's. An image from another repository \
         gives a warning and no denial: the pod's author can run any image in the same pod with \
         the same Secrets, and policies for images see this one too.";
    NATIVE_SIDECAR = "dapr.io/enable-native-sidecar", Flag, "",
        "Whether the sidecar is an init container with `restartPolicy: Always`. Without it the \
         injector's flag `--native-sidecar` decides.";

    LOG_LEVEL = "dapr.io/log-level", Choice(LEVELS), "info",
        "`--log-level`.";
    LOG_AS_JSON = "dapr.io/log-as-json", Flag, "false",
        "`--log-as-json`.";
    API_LOGGING = "dapr.io/enable-api-logging", Flag, "",
        "`--enable-api-logging=true` or `=false`. Without it the Configuration decides.";
    PROFILING = "dapr.io/enable-profiling", Flag, "false",
        "`--enable-profiling`.";
    DEBUG = "dapr.io/enable-debug", Flag, "false",
        "Dapr's debugger. The image has none: accepted with a warning, without effect.";
    DEBUG_PORT = "dapr.io/debug-port", Port, "40000",
        "The port of Dapr's debugger: no effect.";
    METRICS = "dapr.io/enable-metrics", Flag, "true",
        "Whether the sidecar serves metrics: `--enable-metrics --metrics-port P`, or \
         `--enable-metrics=false`; the label `dapr.io/metrics-enabled`.";
    METRICS_PORT = "dapr.io/metrics-port", Port, "9090",
        "The port of the metrics.";

    GRPC_PORT = "dapr.io/grpc-port", Port, "50001",
        "The port of the gRPC API: `--dapr-grpc-port`, and `DAPR_GRPC_PORT` in app containers.";
    INTERNAL_GRPC_PORT = "dapr.io/internal-grpc-port", Port, "50002",
        "The port that other sidecars call: `--dapr-internal-grpc-port`.";
    LISTEN_ADDRESSES = "dapr.io/sidecar-listen-addresses", Text, "[::1],127.0.0.1",
        "Where the APIs listen: `--dapr-listen-addresses`. An empty value is the default too. An \
         address that the network reaches gives a warning while no token is asked for.";
    SOCKET_PATH = "dapr.io/unix-domain-socket-path", Path, "",
        "The folder in app containers where the sidecar's Unix sockets are. They take the place \
         of the HTTP and gRPC ports.";

    CPU_REQUEST = "dapr.io/sidecar-cpu-request", Quantity, "",
        "`resources.requests.cpu` of the sidecar. Where one of the four amounts is unusable, none \
         of them counts.";
    CPU_LIMIT = "dapr.io/sidecar-cpu-limit", Quantity, "",
        "`resources.limits.cpu`.";
    MEMORY_REQUEST = "dapr.io/sidecar-memory-request", Quantity, "",
        "`resources.requests.memory`.";
    MEMORY_LIMIT = "dapr.io/sidecar-memory-limit", Quantity, "",
        "`resources.limits.memory`.";
    LIVENESS_DELAY = "dapr.io/sidecar-liveness-probe-delay-seconds", NATURAL, "180",
        "`livenessProbe.initialDelaySeconds`.";
    LIVENESS_TIMEOUT = "dapr.io/sidecar-liveness-probe-timeout-seconds", POSITIVE, "3",
        "`livenessProbe.timeoutSeconds`.";
    LIVENESS_PERIOD = "dapr.io/sidecar-liveness-probe-period-seconds", POSITIVE, "10",
        "`livenessProbe.periodSeconds`.";
    LIVENESS_THRESHOLD = "dapr.io/sidecar-liveness-probe-threshold", POSITIVE, "5",
        "`livenessProbe.failureThreshold`.";
    READINESS_DELAY = "dapr.io/sidecar-readiness-probe-delay-seconds", NATURAL, "0",
        "`readinessProbe.initialDelaySeconds`.";
    READINESS_TIMEOUT = "dapr.io/sidecar-readiness-probe-timeout-seconds", POSITIVE, "1",
        "`readinessProbe.timeoutSeconds`.";
    READINESS_PERIOD = "dapr.io/sidecar-readiness-probe-period-seconds", POSITIVE, "1",
        "`readinessProbe.periodSeconds`.";
    READINESS_THRESHOLD = "dapr.io/sidecar-readiness-probe-threshold", POSITIVE, "5",
        "`readinessProbe.failureThreshold`.";

    MAX_BODY_SIZE = "dapr.io/max-body-size", Bytes, "",
        "The largest body: `--max-body-size`.";
    HTTP_MAX_REQUEST_SIZE = "dapr.io/http-max-request-size", OR_UNSET, "",
        "Older spelling of the same, in MB: `--dapr-http-max-request-size`.";
    READ_BUFFER_SIZE = "dapr.io/read-buffer-size", Bytes, "",
        "The largest HTTP header block: `--read-buffer-size`.";
    HTTP_READ_BUFFER_SIZE = "dapr.io/http-read-buffer-size", OR_UNSET, "",
        "Older spelling of the same, in KB: `--dapr-http-read-buffer-size`.";
    GRACEFUL_SHUTDOWN = "dapr.io/graceful-shutdown-seconds", OR_UNSET, "-1",
        "`--dapr-graceful-shutdown-seconds`; -1 is the sidecar's own default, 5.";
    BLOCK_SHUTDOWN = "dapr.io/block-shutdown-duration", Duration, "",
        "How long the sidecar serves on after it was told to stop: \
         `--dapr-block-shutdown-duration`.";
    BINDING_TIMEOUT = "dapr.io/app-binding-options-timeout", Duration, "",
        "`--app-binding-options-timeout`.";
    DISSEMINATE_TIMEOUT = "dapr.io/actors-disseminate-timeout", Duration, "",
        "`--actors-disseminate-timeout`. Belongs to actors, which are not built: accepted with a \
         warning; the sidecar takes the argument without effect.";

    HEALTH_CHECK = "dapr.io/enable-app-health-check", Flag, "false",
        "Whether the sidecar asks the app for its health: `--enable-app-health-check` and the \
         four settings below.";
    HEALTH_PATH = "dapr.io/app-health-check-path", Text, "/healthz",
        "`--app-health-check-path`.";
    HEALTH_INTERVAL = "dapr.io/app-health-probe-interval", POSITIVE, "5",
        "Seconds: `--app-health-probe-interval`.";
    HEALTH_TIMEOUT = "dapr.io/app-health-probe-timeout", POSITIVE, "500",
        "Milliseconds, at most the interval: `--app-health-probe-timeout`.";
    HEALTH_THRESHOLD = "dapr.io/app-health-threshold", POSITIVE, "3",
        "`--app-health-threshold`.";

    API_TOKEN_SECRET = "dapr.io/api-token-secret", SecretName, "",
        "The Secret whose key `token` every caller of the sidecar must present: `DAPR_API_TOKEN` \
         by secretKeyRef. An empty value is denied, since it would mean no token at all.";
    APP_TOKEN_SECRET = "dapr.io/app-token-secret", SecretName, "",
        "The Secret whose key `token` the sidecar presents to the app: `APP_API_TOKEN` by \
         secretKeyRef.";
    APP_ENV_TOKENS = "sidegate.dev/app-env-tokens", List, "false",
        "Which app containers get the same references: `true` for all, or their names. Containers \
         that other injectors own never get them.";
    ENV = "dapr.io/env", Env, "",
        "More environment for the sidecar. A new entry begins at a comma before `NAME=`; other \
         commas belong to the value. Names that the injector writes itself are denied.",
        denied: "`DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK`, which lets the sidecar run as root";
    ENV_FROM_SECRET = "dapr.io/env-from-secret", EnvFromSecret, "",
        "More environment for the sidecar, from Secrets. Without a key, the Secret's name is the \
         key. Names that the injector writes itself are denied.",
        denied: "the same variable";
    VOLUME_MOUNTS = "dapr.io/volume-mounts", Mounts, "",
        "Volumes of the pod that the sidecar mounts read-only.",
        denied: "`hostPath` volumes; the program's own path as a target";
    VOLUME_MOUNTS_RW = "dapr.io/volume-mounts-rw", Mounts, "",
        "Volumes of the pod that the sidecar mounts to read and write.",
        denied: "`hostPath` volumes; volumes with a service account token; the program's own path \
                 as a target";
    NO_KUBERNETES_STORE = "dapr.io/disable-builtin-k8s-secret-store", Flag, "false",
        "`--disable-builtin-k8s-secret-store`.";
    SECCOMP_PROFILE = "dapr.io/sidecar-seccomp-profile-type", Choice(SECCOMP), "RuntimeDefault",
        "`securityContext.seccompProfile.type` of the sidecar.",
        denied: "`Unconfined`";
    INIT_ORDER = "sidegate.dev/init-order", Choice(&["first", "last"]), "last",
        "Where a native sidecar stands among the pod's init containers. `first`: before the pod's \
         own, but after other restartable ones; init containers after it then get the app's \
         environment, socket and tokens too.";

    PLACEMENT_ADDRESS = "dapr.io/placement-host-address", Text, "",
        "`--placement-host-address`, instead of the injector's; blank for none. Actors are not \
         built: accepted with a warning; the sidecar takes the argument without effect.";
    SCHEDULER_ADDRESS = "dapr.io/scheduler-host-address", Text, "",
        "`--scheduler-host-address`, instead of the injector's; blank for none. Jobs are not \
         built: accepted with a warning; the sidecar takes the argument without effect.";
    JWT_AUDIENCES = "dapr.io/sentry-request-jwt-audiences", Text, "",
        "`--sentry-request-jwt-audiences`.";
    DISABLE_INIT_ENDPOINTS = "dapr.io/disable-init-endpoints", List, "",
        "Which of `config` and `subscribe` the sidecar does not ask the app at its start: \
         `--disable-init-endpoints`.";
    PLUGGABLE = "dapr.io/pluggable-components", List, "",
        "Containers of the pod that serve components: they get the folder of component sockets \
         instead of the app's environment.";
    PLUGGABLE_FOLDER = "dapr.io/pluggable-components-sockets-folder", Path, "",
        "Where that folder is mounted; without it, where the injector is told.";
    INJECT_PLUGGABLE = "dapr.io/inject-pluggable-components", Flag, "false",
        "Adds containers that Components ask for. Admission asks nobody: accepted with a warning, \
         without effect.";
    COMPONENT_CONTAINER = "dapr.io/component-container", NotRead, "",
        "Belongs on a Component; on a pod it has no effect.";
    SERVICE_ANNOTATIONS = "dapr.io/sidecar-svc-annotations", NotRead, "",
        "Read by the operator, for the app's Service.";
    CONTROL_PLANE = "dapr.io/control-plane", NotRead, "",
        "Marks pods of Dapr's control plane; no effect on injection.";
    INJECTED = "sidegate.dev/injected", NotRead, "",
        "Written by the injector: its version. Together with the label \
         `dapr.io/sidecar-injected` it marks a container `daprd` as ours.";
    WARNINGS = "sidegate.dev/warnings", NotRead, "",
        "Written by the injector: what it warned about, one warning a line.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_each_key_once() {
        let mut keys: Vec<_> = TABLE.iter().map(|row| row.key).collect();
        let all = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), all);
    }

    #[test]
    fn defaults_are_values_of_their_types() {
        for row in TABLE.iter().filter(|row| !row.default.is_empty()) {
            let usable = match row.kind {
                Number { min, max } => (min..=max).contains(&row.default.parse().unwrap()),
                Port => row.default.parse::<u16>().unwrap() > 0,
                Choice(words) => words.contains(&row.default),
                Flag => ["true", "false"].contains(&row.default),
                Text | List => true,
                _ => false,
            };
            assert!(usable, "{}", row.key);
        }
    }
}
