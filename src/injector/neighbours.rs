//! What the other containers of the pod get.

use std::collections::BTreeSet;

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
    // A sidecar that is a container already stays one, whatever is asked for now.
    let is_container = containers(pod).iter().any(|one| one.name == SIDECAR);
    let first = settings.position == Position::NativeFirst && !is_container;
    let place = first.then(|| first_place(pod));
    let inits = init_containers(pod).iter().enumerate();
    let inits = inits
        .filter(move |(index, _)| place.is_some_and(|place| *index >= place))
        .map(|(index, container)| ("initContainers", index, container));
    let all = apps.chain(inits);
    all.filter(|(_, _, container)| container.name != SIDECAR && !is_foreign(&container.name))
}

/// Collects what the containers of a pod lack. Mounts are only of these volumes.
pub(super) fn additions(
    pod: &Pod,
    settings: &Settings,
    volumes: &BTreeSet<&str>,
) -> Vec<Additions> {
    served(pod, settings)
        .filter_map(|(list, index, container)| {
            let mut wanted = wanted(container, settings);
            wanted.mount = wanted
                .mount
                .filter(|mount| volumes.contains(mount.name.as_str()));
            missing(list, index, container, wanted)
        })
        .collect()
}

/// Where a native sidecar stands that is to be first, or where it goes: after the last of other
/// restartable init containers, such as the proxy of a mesh, which it may need.
pub(super) fn first_place(pod: &Pod) -> usize {
    native_index(pod).unwrap_or_else(|| {
        let last = init_containers(pod).iter().rposition(is_restartable);
        last.map_or(0, |last| last + 1)
    })
}

fn is_restartable(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// Init containers of the app that start before a sidecar that is to be first.
fn order_warnings(pod: &Pod, settings: &Settings) -> Vec<String> {
    if settings.position != Position::NativeFirst {
        return Vec::new();
    }
    let before = &init_containers(pod)[..first_place(pod)];
    let early = before
        .iter()
        .filter(|one| !is_restartable(one) && !is_foreign(&one.name));
    early
        .map(|container| {
            format!(
                "annotation {:?}: init container {} starts before the sidecar all the same, since \
                 a restartable one comes after it",
                key::INIT_ORDER.key,
                shown(&container.name)
            )
        })
        .collect()
}

/// Warns of annotations that name containers which do not get what they are named for, and of
/// containers that cannot see the sidecar's sockets.
pub(super) fn warnings(pod: &Pod, settings: &Settings) -> Vec<String> {
    let mut all = name_warnings(pod, settings);
    all.extend(order_warnings(pod, settings));
    for (_, _, container) in served(pod, settings) {
        let Some(wanted) = wanted(container, settings).mount else {
            continue;
        };
        let mounts = container.volume_mounts.as_deref().unwrap_or(&[]);
        let other =
            |own: &&VolumeMount| own.mount_path == wanted.mount_path && own.name != wanted.name;
        if let Some(other) = mounts.iter().find(other) {
            all.push(format!(
                "container {} mounts {} at {}, and so does not see the sockets there",
                shown(&container.name),
                shown(&other.name),
                shown(&wanted.mount_path)
            ));
        }
    }
    all
}

fn name_warnings(pod: &Pod, settings: &Settings) -> Vec<String> {
    let mut all = Vec::new();
    let components = settings.components.iter().flat_map(|all| &all.containers);
    let mut apps: BTreeSet<&String> = served(pod, settings)
        .map(|(_, _, container)| &container.name)
        .collect();
    for name in components.clone() {
        apps.remove(name);
    }
    for name in settings.tokens.receivers.names() {
        if !apps.contains(name) {
            all.push(format!(
                "annotation {:?}: {} gets no token: it is no container of the pod that is the \
                 app's own and starts after the sidecar",
                key::APP_ENV_TOKENS.key,
                shown(name)
            ));
        }
    }
    let names: BTreeSet<_> = containers(pod).iter().map(|one| &one.name).collect();
    for name in components {
        if !names.contains(name) {
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
