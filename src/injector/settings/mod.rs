//! What one pod asks for, checked: a `Settings` that exists can be injected.

mod app;
mod env;
mod mounts;
mod options;
mod tokens;

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{EnvVar, Pod, ResourceRequirements, VolumeMount};

pub(super) use app::App;
pub(super) use env::{from_secret, literal};
pub(super) use mounts::normalised;
pub(super) use options::{Limits, Logging, ProbeTimes, Services, Times};
pub(super) use tokens::{Receivers, Tokens};

use super::annotations::table as key;
use super::annotations::{Annotation, Annotations, shown};
use super::config::Config;
use super::denial::Denial;
use crate::base::names::is_dns_subdomain;

/// The port of the HTTP API. Dapr has no annotation for it.
pub(super) const HTTP_PORT: u16 = 3500;

/// How many of the ports are those of the two APIs.
const APIS: usize = 2;

/// The port that serves health and metadata to the kubelet, on all addresses of the pod.
pub(super) const PUBLIC_PORT: u16 = 3501;

/// The settings of one pod's sidecar.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) app: App,
    pub(super) image: String,
    pub(super) position: Position,
    pub(super) ports: Ports,
    /// Comma list, as `--dapr-listen-addresses` takes it.
    pub(super) listen_addresses: String,
    /// Where app containers see the folder of the sidecar's Unix sockets, if there are such.
    pub(super) socket_path: Option<String>,
    pub(super) components: Option<Components>,
    pub(super) logging: Logging,
    pub(super) limits: Limits,
    pub(super) times: Times,
    pub(super) services: Services,
    pub(super) config_name: Option<String>,
    pub(super) policy_name: Option<String>,
    pub(super) profiling: bool,
    pub(super) no_kubernetes_store: bool,
    /// Words of `config` and `subscribe`, with commas between them.
    pub(super) disable_init_endpoints: Option<String>,
    pub(super) resources: Option<ResourceRequirements>,
    pub(super) liveness: ProbeTimes,
    pub(super) readiness: ProbeTimes,
    pub(super) seccomp_profile: &'static str,
    /// What the pod adds to the sidecar's environment: each name once, none of [`env::RESERVED`].
    pub(super) env: Vec<EnvVar>,
    /// What the pod adds to the sidecar's mounts.
    pub(super) mounts: Vec<VolumeMount>,
    pub(super) tokens: Tokens,
}

/// Where the sidecar stands in the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// The last of the containers.
    Container,
    /// The last of the init containers, restartable.
    NativeLast,
    /// Before the pod's own init containers, after other restartable ones.
    NativeFirst,
}

/// The ports that the pod may choose: all different, and none of the fixed ones.
#[derive(Debug)]
pub(super) struct Ports {
    pub(super) grpc: u16,
    pub(super) internal: u16,
    /// None where metrics are off.
    pub(super) metrics: Option<u16>,
}

/// Containers of the pod that serve components.
#[derive(Debug)]
pub(super) struct Components {
    /// Their names, at least one.
    pub(super) containers: BTreeSet<String>,
    /// Where the folder of their sockets is mounted.
    pub(super) folder: String,
}

impl Settings {
    /// Checks the annotations of a pod. What is only worth a warning is noted in `annotations`.
    pub(super) fn check(
        pod: &Pod,
        annotations: &mut Annotations<'_>,
        config: &Config,
    ) -> Result<Self, Denial> {
        let weakened = config.allow_weakened_security;
        deny_token_expansion(annotations, weakened)?;
        deny_unconfined_apparmor(annotations, weakened)?;
        let app = App::check(pod, annotations)?;
        let ports = Ports::check(annotations, &app)?;
        warn_without_effect(annotations);
        let settings = Self {
            app,
            image: image(annotations, config),
            position: position(annotations, config)?,
            ports,
            listen_addresses: annotations.text(&key::LISTEN_ADDRESSES).to_owned(),
            socket_path: annotations.path(&key::SOCKET_PATH)?,
            components: components(annotations, config)?,
            logging: Logging::check(annotations)?,
            limits: Limits::check(annotations)?,
            times: Times::check(annotations)?,
            services: Services::read(annotations, config),
            config_name: config_name(annotations),
            policy_name: policy_name(annotations)?,
            profiling: annotations.flag(&key::PROFILING),
            no_kubernetes_store: annotations.flag(&key::NO_KUBERNETES_STORE),
            disable_init_endpoints: options::disable_init_endpoints(annotations)?,
            resources: options::resources(annotations),
            liveness: ProbeTimes::liveness(annotations),
            readiness: ProbeTimes::readiness(annotations),
            seccomp_profile: seccomp_profile(annotations, weakened)?,
            env: env::check(annotations, weakened)?,
            mounts: mounts::check(pod, annotations, weakened)?,
            tokens: Tokens::check(annotations)?,
        };
        settings.warn_open_api(annotations);
        Ok(settings)
    }

    fn warn_open_api(&self, annotations: &mut Annotations<'_>) {
        let open = |address: &str| {
            let host = address.trim().trim_matches(['[', ']']);
            match host.parse::<std::net::IpAddr>() {
                Ok(address) => !address.is_loopback(),
                Err(_) => host != "localhost",
            }
        };
        if self.tokens.api.is_none()
            && self.socket_path.is_none()
            && self.listen_addresses.split(',').any(open)
        {
            annotations.warn(format!(
                "annotation {:?}: {} is reached from outside the pod, and no token is asked for: \
                 set {:?}",
                key::LISTEN_ADDRESSES.key,
                shown(&self.listen_addresses),
                key::API_TOKEN_SECRET.key
            ));
        }
    }
}

impl Ports {
    fn check(annotations: &mut Annotations<'_>, app: &App) -> Result<Self, Denial> {
        let metrics = annotations
            .port(&key::METRICS_PORT)?
            .filter(|_| annotations.flag(&key::METRICS));
        let ports = Self {
            grpc: annotations.port(&key::GRPC_PORT)?.unwrap_or_default(),
            internal: annotations
                .port(&key::INTERNAL_GRPC_PORT)?
                .unwrap_or_default(),
            metrics,
        };
        ports.check_different(annotations, app)?;
        Ok(ports)
    }

    /// Of two equal ports, the one that an annotation sets is at fault. An app elsewhere may have
    /// the number of a port of the sidecar, but for those of the two APIs, which daprd refuses.
    fn check_different(&self, annotations: &Annotations<'_>, app: &App) -> Result<(), Denial> {
        let mut all = self.all();
        let elsewhere = app.channel_address.is_some();
        let shared = if elsewhere { APIS } else { all.len() };
        if let Some(port) = app.port
            && (!elsewhere || all[..shared].iter().any(|(number, _)| *number == port))
        {
            all.push((port, key::APP_PORT.key));
        }
        all.sort_by_key(|(_, name)| annotations.iter().any(|(key, _)| key == *name));
        for (at, (port, name)) in all.iter().enumerate() {
            if let Some((_, other)) = all[..at].iter().find(|(number, _)| number == port) {
                return Err(Denial::cannot_run(format!(
                    "annotation {name:?}: \"{port}\" is taken by {other:?}: accepted is a port of \
                     its own"
                )));
            }
        }
        Ok(())
    }

    /// All ports of the sidecar with their names: an annotation's key, or of a fixed one its
    /// purpose. The two APIs come first.
    pub(super) fn all(&self) -> Vec<(u16, &'static str)> {
        let mut all = vec![
            (HTTP_PORT, "HTTP API"),
            (self.grpc, key::GRPC_PORT.key),
            (PUBLIC_PORT, "health checks"),
            (self.internal, key::INTERNAL_GRPC_PORT.key),
        ];
        all.extend(self.metrics.map(|port| (port, key::METRICS_PORT.key)));
        all
    }
}

fn image(annotations: &mut Annotations<'_>, config: &Config) -> String {
    let Some(image) = annotations.optional(&key::SIDECAR_IMAGE) else {
        return config.sidecar_image.clone();
    };
    if repository(&image) != repository(&config.sidecar_image) {
        annotations.warn(format!(
            "annotation {:?}: {} is from another repository than the injector's image {:?}, and \
             gets the tokens of the sidecar",
            key::SIDECAR_IMAGE.key,
            shown(&image),
            config.sidecar_image
        ));
    }
    image
}

/// An image's name without tag and digest.
fn repository(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or(image);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

fn position(annotations: &mut Annotations<'_>, config: &Config) -> Result<Position, Denial> {
    let native = annotations
        .maybe_flag(&key::NATIVE_SIDECAR)
        .unwrap_or(config.native_sidecar);
    let first = annotations.choice(&key::INIT_ORDER)? == "first";
    if first && !native {
        annotations.warn(format!(
            "annotation {:?}: \"first\" has no effect, since the sidecar is no init container: set \
             {:?} to \"true\"",
            key::INIT_ORDER.key,
            key::NATIVE_SIDECAR.key
        ));
    }
    Ok(match (native, first) {
        (false, _) => Position::Container,
        (true, false) => Position::NativeLast,
        (true, true) => Position::NativeFirst,
    })
}

fn config_name(annotations: &mut Annotations<'_>) -> Option<String> {
    let name = annotations.optional(&key::CONFIG)?;
    if !name.starts_with('/') && !is_dns_subdomain(&name) {
        annotations.warn(format!(
            "annotation {:?}: {} is neither the name of a Configuration nor an absolute path",
            key::CONFIG.key,
            shown(&name)
        ));
    }
    Some(name)
}

/// What no policy can be called is denied, the empty text too: ignoring it would lift the limits.
fn policy_name(annotations: &Annotations<'_>) -> Result<Option<String>, Denial> {
    match annotations.written(&key::POLICY) {
        None => Ok(None),
        Some(name) if is_dns_subdomain(name) => Ok(Some(name.to_owned())),
        Some(other) => Err(Denial::cannot_run(format!(
            "annotation {:?}: {} is not the name of a SidecarPolicy: accepted are 1 to 253 of the \
             characters a-z, 0-9, \"-\" and \".\", with a letter or digit at both ends; remove the \
             annotation to run without a policy",
            key::POLICY.key,
            shown(other)
        ))),
    }
}

fn components(
    annotations: &Annotations<'_>,
    config: &Config,
) -> Result<Option<Components>, Denial> {
    let folder = annotations
        .path(&key::PLUGGABLE_FOLDER)?
        .unwrap_or_else(|| config.component_sockets_folder.clone());
    let containers = annotations
        .list(&key::PLUGGABLE)
        .into_iter()
        .collect::<BTreeSet<_>>();
    Ok((!containers.is_empty()).then_some(Components { containers, folder }))
}

/// Warns of annotations that belong to parts that are not built.
fn warn_without_effect(annotations: &mut Annotations<'_>) {
    let flags = [&key::DEBUG, &key::INJECT_PLUGGABLE];
    let asked = flags.into_iter().filter(|row| annotations.flag(row));
    let mut rows: Vec<_> = asked.collect();
    let texts = [
        &key::PLACEMENT_ADDRESS,
        &key::SCHEDULER_ADDRESS,
        &key::DISSEMINATE_TIMEOUT,
        &key::COMPONENT_CONTAINER,
    ];
    let given = |row: &&&Annotation| !options::unquoted(annotations.text(row)).is_empty();
    rows.extend(texts.iter().filter(given));
    for row in rows {
        annotations.warn(format!(
            "annotation {:?} is accepted and has no effect: this version has nothing that it \
             applies to",
            row.key
        ));
    }
}

fn seccomp_profile(
    annotations: &mut Annotations<'_>,
    weakened: bool,
) -> Result<&'static str, Denial> {
    let row = &key::SECCOMP_PROFILE;
    if annotations.text(row).eq_ignore_ascii_case("Unconfined") {
        let message = format!(
            "annotation {:?}: \"Unconfined\" lowers the security of the sidecar; accepted is \
             \"RuntimeDefault\"",
            row.key
        );
        annotations.weakens(weakened, message)?;
        return Ok("Unconfined");
    }
    annotations.choice(row)
}

/// Kubernetes replaces `$(NAME)` in arguments by the container's environment: a token would stand
/// in the list of processes, and in the sidecar's own message about a bad argument.
fn deny_token_expansion(annotations: &mut Annotations<'_>, weakened: bool) -> Result<(), Denial> {
    for (name, value) in annotations.iter() {
        for variable in ["DAPR_API_TOKEN", "APP_API_TOKEN"] {
            if name.starts_with("dapr.io/") && value.contains(&format!("$({variable})")) {
                let message = format!(
                    "annotation {name:?}: {} would show the token in the arguments of the \
                     sidecar; accepted are values without \"$({variable})\"",
                    shown(value)
                );
                annotations.weakens(weakened, message)?;
            }
        }
    }
    Ok(())
}

/// The annotation that sets the AppArmor profile of a container named `daprd`, before Kubernetes
/// 1.30 gave it a field (Kubernetes, "Restrict a Container's Access to Resources with AppArmor").
fn deny_unconfined_apparmor(
    annotations: &mut Annotations<'_>,
    weakened: bool,
) -> Result<(), Denial> {
    let name = "container.apparmor.security.beta.kubernetes.io/daprd";
    if annotations.iter().any(|pair| pair == (name, "unconfined")) {
        let message = format!(
            "annotation {name:?}: \"unconfined\" lowers the security of the sidecar; accepted are \
             \"runtime/default\" and \"localhost/\" with a profile"
        );
        annotations.weakens(weakened, message)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::repository;

    #[test]
    fn an_images_repository_is_its_name_without_tag_and_digest() {
        for (image, expected) in [
            ("daprd", "daprd"),
            ("ghcr.io/dapr/daprd:1.18.3", "ghcr.io/dapr/daprd"),
            ("localhost:5000/daprd", "localhost:5000/daprd"),
            ("localhost:5000/daprd:1@sha256:ab", "localhost:5000/daprd"),
        ] {
            assert_eq!(repository(image), expected, "{image}");
        }
    }
}
