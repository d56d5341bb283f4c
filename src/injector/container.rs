//! The container `daprd`.

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, ExecAction, HTTPGetAction,
    Lifecycle, LifecycleHandler, ObjectFieldSelector, Pod, Probe, SeccompProfile, SecurityContext,
    TCPSocketAction, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::args::arguments;
use super::config::Config;
use super::pod::SIDECAR;
use super::settings::{
    HTTP_PORT, PUBLIC_PORT, Position, ProbeTimes, Settings, Tokens, from_secret, literal,
};

/// The program in the image.
const PROGRAM: &str = "/daprd";

/// The user and group of the image. Given where the pod would make them root's.
const NON_ROOT: i64 = 65532;

/// The key of a token in its Secret (Dapr 1.18).
const TOKEN_KEY: &str = "token";

/// Builds the sidecar of one pod in a namespace.
pub(super) fn sidecar(
    namespace: &str,
    pod: &Pod,
    settings: &Settings,
    config: &Config,
    mounts: Vec<VolumeMount>,
) -> Container {
    let native = settings.position != Position::Container;
    let mut args = arguments(settings, config);
    let command = ignores_entrypoint(pod, config).then(|| vec![PROGRAM.to_owned()]);
    if command.is_none() {
        // The image may have an entry point that expects the program as its first argument.
        args.insert(0, PROGRAM.to_owned());
    }
    Container {
        name: SIDECAR.to_owned(),
        image: Some(settings.image.clone()),
        image_pull_policy: Some(config.image_pull_policy.as_str().to_owned()),
        command,
        args: Some(args),
        env: Some(environment(namespace, settings, config)),
        ports: Some(ports(settings)),
        resources: settings.resources.clone(),
        restart_policy: native.then(|| "Always".to_owned()),
        lifecycle: native.then(until_usable),
        liveness_probe: Some(liveness_probe(&settings.liveness)),
        readiness_probe: Some(http_probe("/v1.0/healthz", &settings.readiness)),
        security_context: Some(security_context(pod, settings, config)),
        volume_mounts: (!mounts.is_empty()).then_some(mounts),
        ..Container::default()
    }
}

/// References to the tokens, for the sidecar and for app containers.
pub(super) fn token_references(tokens: &Tokens) -> Vec<EnvVar> {
    let reference = |name, secret: &String| from_secret(name, secret, TOKEN_KEY);
    let api = tokens.api.as_ref().map(|s| reference("DAPR_API_TOKEN", s));
    let app = tokens.app.as_ref().map(|s| reference("APP_API_TOKEN", s));
    api.into_iter().chain(app).collect()
}

/// Where components' sockets are, under both names that Dapr uses: its injector writes the one,
/// its sidecar reads the other.
pub(super) fn component_folder(folder: &str) -> [EnvVar; 2] {
    [
        "DAPR_COMPONENT_SOCKETS_FOLDER",
        "DAPR_COMPONENTS_SOCKETS_FOLDER",
    ]
    .map(|name| literal(name, folder))
}

fn ignores_entrypoint(pod: &Pod, config: &Config) -> bool {
    let spec = pod.spec.iter();
    let mut tolerations = spec.flat_map(|spec| spec.tolerations.iter().flatten());
    tolerations.any(|one| config.ignore_entrypoint_tolerations.contains(one))
}

fn environment(namespace: &str, settings: &Settings, config: &Config) -> Vec<EnvVar> {
    let plane = config.control_plane.as_ref();
    let mut env = vec![literal("NAMESPACE", namespace)];
    if let Some(authority) = plane.and_then(|plane| plane.authority.as_ref()) {
        env.push(literal("DAPR_TRUST_ANCHORS", &authority.trust_anchors));
    }
    env.push(from_field("POD_NAME", "metadata.name"));
    if let Some(plane) = plane {
        env.push(literal("DAPR_CONTROLPLANE_NAMESPACE", &plane.namespace));
        env.push(literal(
            "DAPR_CONTROLPLANE_TRUST_DOMAIN",
            &plane.trust_domain,
        ));
    }
    if config.downward_apis {
        env.push(from_field("DAPR_HOST_IP", "status.podIP"));
    }
    env.extend(settings.env.iter().cloned());
    if !settings.env.is_empty() {
        let names: Vec<&str> = settings.env.iter().map(|one| one.name.as_str()).collect();
        env.push(literal("DAPR_ENV_KEYS", &names.join(" ")));
    }
    if let Some(components) = &settings.components {
        env.extend(component_folder(&components.folder));
    }
    env.extend(token_references(&settings.tokens));
    env
}

fn from_field(name: &str, path: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: path.to_owned(),
                api_version: None,
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

fn ports(settings: &Settings) -> Vec<ContainerPort> {
    let named = [
        ("dapr-http", Some(HTTP_PORT)),
        ("dapr-grpc", Some(settings.ports.grpc)),
        ("dapr-internal", Some(settings.ports.internal)),
        ("dapr-metrics", settings.ports.metrics),
    ];
    let declared = named.into_iter().filter_map(|(name, port)| {
        Some(ContainerPort {
            name: Some(name.to_owned()),
            container_port: i32::from(port?),
            ..ContainerPort::default()
        })
    });
    declared.collect()
}

/// The containers after a native sidecar start when its API can be used. A startup probe would say
/// so too, but a kubelet asks at most once a second, and acts on the answer up to a second later;
/// after a hook it goes on at once. Never whether the app answers: the app starts only after this.
fn until_usable() -> Lifecycle {
    let wait = [
        PROGRAM,
        "--wait",
        "--dapr-http-port",
        &PUBLIC_PORT.to_string(),
    ];
    Lifecycle {
        post_start: Some(LifecycleHandler {
            exec: Some(ExecAction {
                command: Some(wait.map(str::to_owned).to_vec()),
            }),
            ..LifecycleHandler::default()
        }),
        ..Lifecycle::default()
    }
}

fn http_probe(path: &str, times: &ProbeTimes) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(i32::from(PUBLIC_PORT)),
            ..HTTPGetAction::default()
        }),
        ..probe(times)
    }
}

fn liveness_probe(times: &ProbeTimes) -> Probe {
    Probe {
        tcp_socket: Some(TCPSocketAction {
            port: IntOrString::Int(i32::from(PUBLIC_PORT)),
            ..TCPSocketAction::default()
        }),
        ..probe(times)
    }
}

fn probe(times: &ProbeTimes) -> Probe {
    Probe {
        initial_delay_seconds: Some(times.delay_seconds),
        timeout_seconds: Some(times.timeout_seconds),
        period_seconds: Some(times.period_seconds),
        failure_threshold: Some(times.threshold),
        ..Probe::default()
    }
}

/// Passes the restricted Pod Security Standard (Kubernetes, "Pod Security Standards"), whatever
/// the pod sets for all its containers.
fn security_context(pod: &Pod, settings: &Settings, config: &Config) -> SecurityContext {
    let spec = pod.spec.as_ref();
    let context = spec.and_then(|spec| spec.security_context.as_ref());
    let root = context.is_some_and(|context| context.run_as_user == Some(0));
    // Where neither pod nor container names a group, Kubernetes takes group 0 and not the image's
    // ("Configure a Security Context for a Pod or Container"), which daprd refuses.
    let group = context.and_then(|context| context.run_as_group);
    let no_group = matches!(group, None | Some(0));
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: config.drop_all_capabilities.then(|| Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            add: None,
        }),
        read_only_root_filesystem: Some(config.read_only_root_filesystem),
        run_as_group: config.run_as_group.or(no_group.then_some(NON_ROOT)),
        run_as_non_root: Some(config.run_as_non_root),
        run_as_user: config.run_as_user.or(root.then_some(NON_ROOT)),
        seccomp_profile: Some(SeccompProfile {
            type_: settings.seccomp_profile.to_owned(),
            localhost_profile: None,
        }),
        ..SecurityContext::default()
    }
}
