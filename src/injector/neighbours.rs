//! What the other containers of the pod get.

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod, VolumeMount};

use super::annotations::{shown, table as key};
use super::container::{component_folder, token_references};
use super::foreign::is_foreign;
use super::pod::{SIDECAR, containers, init_containers, native_index};
use super::settings::{HTTP_PORT, Position, Settings, literal};
use super::volumes::{app_mount, component_mount};

/// What one container lacks.
#[derive(Debug)]
pub(super) struct Additions {
    /// `containers` or `initContainers`.
    pub(super) list: &'static str,
    /// Its place in that list, as the pod was sent.
    pub(super) index: usize,
    /// Variables whose names it does not have.
    pub(super) env: Vec<EnvVar>,
    /// Whether it has no variable at all.
    pub(super) first_env: bool,
    /// A mount whose name and path it does not have.
    pub(super) mount: Option<VolumeMount>,
    /// Whether it has no mount at all.
    pub(super) first_mount: bool,
}

/// A container that is told of the sidecar: the name of its list, its place there, itself.
type Served<'a> = (&'static str, usize, &'a Container);

/// The containers that are told of the sidecar: the pod's own, and where the sidecar stands first,
/// the init containers after it.
fn served<'a>(pod: &'a Pod, settings: &Settings) -> impl Iterator<Item = Served<'a>> + use<'a> {
    let apps = containers(pod).iter().enumerate();
    let apps = apps.map(|(index, container)| ("containers", index, container));
    let first = settings.position == Position::NativeFirst;
    let place = native_index(pod).unwrap_or_else(|| native_place(pod, settings.position));
    let inits = init_containers(pod).iter().enumerate();
    let inits = inits
        .filter(move |(index, _)| first && *index >= place)
        .map(|(index, container)| ("initContainers", index, container));
    let all = apps.chain(inits);
    all.filter(|(_, _, container)| container.name != SIDECAR && !is_foreign(&container.name))
}

/// Collects what the containers of a pod lack. Mounts are only of volumes that `has_volume` knows.
pub(super) fn additions(
    pod: &Pod,
    settings: &Settings,
    has_volume: impl Fn(&str) -> bool,
) -> Vec<Additions> {
    served(pod, settings)
        .filter_map(|(list, index, container)| {
            let mut wanted = wanted(container, settings);
            wanted.mount = wanted.mount.filter(|mount| has_volume(&mount.name));
            missing(list, index, container, wanted)
        })
        .collect()
}

/// Where a native sidecar goes among the init containers.
pub(super) fn native_place(pod: &Pod, position: Position) -> usize {
    let inits = init_containers(pod);
    let restartable = |container: &Container| container.restart_policy.as_deref() == Some("Always");
    match position {
        Position::NativeFirst => inits
            .iter()
            .rposition(restartable)
            .map_or(0, |last| last + 1),
        _ => inits.len(),
    }
}

/// Warns of annotations that name containers which do not get what they are named for, and of
/// containers that cannot see the sidecar's sockets.
pub(super) fn warnings(pod: &Pod, settings: &Settings) -> Vec<String> {
    let mut all = name_warnings(pod, settings);
    for (_, _, container) in served(pod, settings) {
        let Some(wanted) = wanted(container, settings).mount else {
            continue;
        };
        let mounts = container.volume_mounts.as_deref().unwrap_or(&[]);
        let other =
            |own: &&VolumeMount| own.mount_path == wanted.mount_path && own.name != wanted.name;
        if let Some(other) = mounts.iter().find(other) {
            all.push(format!(
                "container {:?} mounts {:?} at {}, and so does not see the sockets there",
                container.name,
                other.name,
                shown(&wanted.mount_path)
            ));
        }
    }
    all
}

fn name_warnings(pod: &Pod, settings: &Settings) -> Vec<String> {
    let mut all = Vec::new();
    let components = settings.components.as_ref();
    let components = components.map_or(&[][..], |all| &all.containers);
    for name in settings.tokens.receivers.names() {
        let mut served = served(pod, settings);
        if components.contains(name) || !served.any(|(_, _, one)| one.name == *name) {
            all.push(format!(
                "annotation {:?}: {} gets no token: it is no container of the pod that is the \
                 app's own and starts after the sidecar",
                key::APP_ENV_TOKENS.key,
                shown(name)
            ));
        }
    }
    for name in components {
        if !containers(pod).iter().any(|one| one.name == *name) {
            all.push(format!(
                "annotation {:?}: {} is no container of the pod",
                key::PLUGGABLE.key,
                shown(name)
            ));
        }
    }
    all
}

struct Wanted {
    env: Vec<EnvVar>,
    mount: Option<VolumeMount>,
}

fn wanted(container: &Container, settings: &Settings) -> Wanted {
    if let Some(components) = &settings.components
        && components.containers.contains(&container.name)
    {
        return Wanted {
            env: component_folder(&components.folder).into(),
            mount: Some(component_mount(components)),
        };
    }
    let mut env = vec![
        literal("DAPR_HTTP_PORT", &HTTP_PORT.to_string()),
        literal("DAPR_GRPC_PORT", &settings.ports.grpc.to_string()),
        literal("APP_PROTOCOL", settings.app.protocol_with_tls()),
    ];
    if settings.tokens.receivers.include(&container.name) {
        env.extend(token_references(&settings.tokens));
    }
    Wanted {
        env,
        mount: app_mount(settings),
    }
}

/// What of the wanted things a container does not have. Its own always stay as they are.
fn missing(
    list: &'static str,
    index: usize,
    container: &Container,
    wanted: Wanted,
) -> Option<Additions> {
    let env = container.env.as_deref().unwrap_or(&[]);
    let mounts = container.volume_mounts.as_deref().unwrap_or(&[]);
    let lacks_env = |wanted: &EnvVar| env.iter().all(|own| own.name != wanted.name);
    let lacks_mount = |wanted: &VolumeMount| {
        mounts
            .iter()
            .all(|own| own.name != wanted.name && own.mount_path != wanted.mount_path)
    };
    let additions = Additions {
        list,
        index,
        env: wanted.env.into_iter().filter(lacks_env).collect(),
        first_env: env.is_empty(),
        mount: wanted.mount.filter(lacks_mount),
        first_mount: mounts.is_empty(),
    };
    (!additions.env.is_empty() || additions.mount.is_some()).then_some(additions)
}
