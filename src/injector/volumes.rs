//! The volumes that the sidecar needs, and what it mounts.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    EmptyDirVolumeSource, Pod, ProjectedVolumeSource, ServiceAccountTokenProjection, Volume,
    VolumeMount, VolumeProjection,
};

use super::annotations::{shown, table as key};
use super::config::{Config, ControlPlane};
use super::denial::Denial;
use super::settings::{Components, Settings, normalised};

/// Where the sidecar's own Unix sockets are in its container.
pub(super) const SOCKET_FOLDER: &str = "/var/run/dapr-sockets";

const SOCKETS: &str = "dapr-unix-domain-socket";
const COMPONENT_SOCKETS: &str = "dapr-components-unix-domain-socket";
const IDENTITY: &str = "dapr-identity-token";
const IDENTITY_FOLDER: &str = "/var/run/secrets/dapr.io/sentrytoken";

/// How long a token for the authority is good (Dapr 1.18).
const IDENTITY_SECONDS: i64 = 7200;

/// What a pod must get so that the sidecar can mount what it needs.
pub(super) struct Volumes {
    /// Volumes that the pod does not have yet.
    pub(super) missing: Vec<Volume>,
    /// What the sidecar mounts, all at different paths.
    pub(super) mounts: Vec<VolumeMount>,
}

impl Volumes {
    /// The names of the volumes that are added.
    pub(super) fn added_names(&self) -> impl Iterator<Item = &str> {
        self.missing.iter().map(|volume| volume.name.as_str())
    }
}

/// Collects the volumes of one pod.
///
/// # Errors
/// Where the pod has a volume of one of our names that cannot do ours' work, or where two volumes
/// are to be mounted at one path: Kubernetes would refuse the pod, or the sidecar would see
/// something else than it must.
pub(super) fn volumes(pod: &Pod, settings: &Settings, config: &Config) -> Result<Volumes, Denial> {
    let mut wanted = Vec::new();
    if settings.socket_path.is_some() {
        wanted.push((memory_folder(SOCKETS), mount(SOCKETS, SOCKET_FOLDER)));
    }
    if let Some(plane) = config
        .control_plane
        .as_ref()
        .filter(|p| p.authority.is_some())
    {
        let mut token = mount(IDENTITY, IDENTITY_FOLDER);
        token.read_only = Some(true);
        wanted.push((identity_token(plane), token));
    }
    if let Some(components) = &settings.components {
        let mount = mount(COMPONENT_SOCKETS, &components.folder);
        wanted.push((folder(COMPONENT_SOCKETS), mount));
    }
    let mut found = Volumes {
        missing: Vec::new(),
        mounts: settings.mounts.clone(),
    };
    for (volume, mount) in wanted {
        match existing(pod, &volume.name) {
            None => found.missing.push(volume),
            Some(other) if serves(other, &volume) => {}
            Some(other) => {
                return Err(Denial::cannot_run(format!(
                    "volume {:?} of the pod is not what the sidecar needs under that name: \
                     accepted are other names",
                    other.name
                )));
            }
        }
        found.mounts.push(mount);
    }
    deny_path_twice(&found.mounts)?;
    Ok(found)
}

/// The mount of an app container for the sidecar's Unix sockets.
pub(super) fn app_mount(settings: &Settings) -> Option<VolumeMount> {
    let path = settings.socket_path.as_ref()?;
    Some(mount(SOCKETS, path))
}

/// The mount of a container that serves components.
pub(super) fn component_mount(components: &Components) -> VolumeMount {
    mount(COMPONENT_SOCKETS, &components.folder)
}

fn existing<'a>(pod: &'a Pod, name: &str) -> Option<&'a Volume> {
    let volumes = pod.spec.as_ref()?.volumes.as_ref()?;
    volumes.iter().find(|volume| volume.name == name)
}

/// Whether a volume of the pod can stand in for one of ours: any empty folder for a folder, and
/// for a token the very same.
fn serves(theirs: &Volume, ours: &Volume) -> bool {
    match ours.empty_dir {
        Some(_) => theirs.empty_dir.is_some(),
        None => theirs == ours,
    }
}

fn deny_path_twice(mounts: &[VolumeMount]) -> Result<(), Denial> {
    let mut taken = BTreeMap::new();
    for mount in mounts {
        let path = normalised(&mount.mount_path);
        if let Some(other) = taken.insert(path.clone(), &mount.name) {
            return Err(Denial::cannot_run(format!(
                "annotation {:?} or {:?}: the sidecar mounts {:?} at {} already: accepted is \
                 another path than for {:?}",
                key::VOLUME_MOUNTS.key,
                key::VOLUME_MOUNTS_RW.key,
                other,
                shown(&path),
                mount.name
            )));
        }
    }
    Ok(())
}

fn mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    }
}

fn folder(name: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }
}

fn memory_folder(name: &str) -> Volume {
    let mut volume = folder(name);
    if let Some(empty_dir) = &mut volume.empty_dir {
        empty_dir.medium = Some("Memory".to_owned());
    }
    volume
}

/// A token of the pod's service account that only the authority accepts.
fn identity_token(plane: &ControlPlane) -> Volume {
    let audience = format!(
        "spiffe://{}/ns/{}/dapr-sentry",
        plane.trust_domain, plane.namespace
    );
    Volume {
        name: IDENTITY.to_owned(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(0o644),
            sources: Some(vec![VolumeProjection {
                service_account_token: Some(ServiceAccountTokenProjection {
                    audience: Some(audience),
                    expiration_seconds: Some(IDENTITY_SECONDS),
                    path: "token".to_owned(),
                }),
                ..VolumeProjection::default()
            }]),
        }),
        ..Volume::default()
    }
}
