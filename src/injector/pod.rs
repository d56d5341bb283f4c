//! What a pod says besides its annotations.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use super::annotations::table as key;
use super::settings::{Position, Settings};

/// The name of the sidecar container.
pub(super) const SIDECAR: &str = "daprd";

/// The label that marks injected pods.
pub(super) const INJECTED_LABEL: &str = "dapr.io/sidecar-injected";

/// A container `daprd` that a pod already has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Present {
    /// Written by this injector: the pod has the label and our annotation.
    Ours,
    /// Written by somebody else.
    Foreign,
}

/// The containers of a pod.
pub(super) fn containers(pod: &Pod) -> &[Container] {
    pod.spec.as_ref().map_or(&[], |spec| &spec.containers)
}

/// The init containers of a pod.
pub(super) fn init_containers(pod: &Pod) -> &[Container] {
    let spec = pod.spec.as_ref();
    spec.and_then(|spec| spec.init_containers.as_deref())
        .unwrap_or(&[])
}

/// Where the pod's init containers have `daprd`.
pub(super) fn native_index(pod: &Pod) -> Option<usize> {
    init_containers(pod)
        .iter()
        .position(|container| container.name == SIDECAR)
}

/// The names of a pod's volumes.
pub(super) fn volume_names(pod: &Pod) -> BTreeSet<&str> {
    let volumes = pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten());
    volumes.map(|volume| volume.name.as_str()).collect()
}

/// Whether a pod has a container `daprd`, and whose.
pub(super) fn present(pod: &Pod) -> Option<Present> {
    let mut all = containers(pod).iter().chain(init_containers(pod));
    if !all.any(|container| container.name == SIDECAR) {
        return None;
    }
    let labels = pod.metadata.labels.as_ref();
    let labelled = labels
        .and_then(|labels| labels.get(INJECTED_LABEL))
        .is_some_and(|value| value == "true");
    let annotations = pod.metadata.annotations.as_ref();
    let annotated = annotations.is_some_and(|all| all.contains_key(key::INJECTED.key));
    Some(if labelled && annotated {
        Present::Ours
    } else {
        Present::Foreign
    })
}

/// The field that makes the pod one for Windows nodes, as `name: value`.
pub(super) fn windows_field(pod: &Pod) -> Option<&'static str> {
    let spec = pod.spec.as_ref()?;
    if spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        return Some("spec.os.name: \"windows\"");
    }
    let selector = spec.node_selector.as_ref()?;
    [
        (
            "kubernetes.io/os",
            "spec.nodeSelector \"kubernetes.io/os\": \"windows\"",
        ),
        (
            "beta.kubernetes.io/os",
            "spec.nodeSelector \"beta.kubernetes.io/os\": \"windows\"",
        ),
    ]
    .into_iter()
    .find(|(label, _)| selector.get(*label).is_some_and(|os| os == "windows"))
    .map(|(_, field)| field)
}

/// Warns of what will not work well with a sidecar.
pub(super) fn warnings(pod: &Pod, settings: &Settings) -> Vec<String> {
    let Some(spec) = &pod.spec else {
        return Vec::new();
    };
    let mut warnings = port_warnings(spec, settings);
    if spec.host_network == Some(true) {
        let token = match settings.tokens.api {
            Some(_) => String::new(),
            None => format!(" without a token: set {:?}", key::API_TOKEN_SECRET.key),
        };
        warnings.push(format!(
            "hostNetwork: the ports of the sidecar are ports of the node, so that two such pods \
             cannot be on one node, and its APIs are reached from all pods with hostNetwork \
             there{token}"
        ));
    }
    let ends = ["Never", "OnFailure"];
    let policy = spec.restart_policy.as_deref().unwrap_or("Always");
    if ends.contains(&policy) && settings.position == Position::Container {
        warnings.push(format!(
            "restartPolicy {policy:?}: the pod does not end before the sidecar is told to; set \
             {:?} to \"true\"",
            key::NATIVE_SIDECAR.key
        ));
    }
    warnings
}

fn port_warnings(spec: &PodSpec, settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    let sidecar = settings.ports.all();
    for container in spec.containers.iter().filter(|one| one.name != SIDECAR) {
        for declared in container.ports.iter().flatten() {
            let tcp = declared.protocol.as_deref().unwrap_or("TCP") == "TCP";
            let clash = sidecar
                .iter()
                .find(|(port, _)| i32::from(*port) == declared.container_port);
            if let (true, Some((port, name))) = (tcp, clash) {
                warnings.push(format!(
                    "container {} declares port {port}, which the sidecar takes for {name:?}",
                    super::annotations::shown(&container.name)
                ));
            }
        }
    }
    warnings
}
