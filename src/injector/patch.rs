//! The JSON patch (RFC 6902): `add` operations only, so that nothing of the pod is lost, fields
//! that this version does not know included.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation};
use k8s_openapi::api::core::v1::{Container, EnvVar, Pod, Volume, VolumeMount};
use serde::Serialize;
use serde_json::{Value, json};

use super::neighbours::Additions;
use super::pod::{containers, init_containers};

/// The end of a list, in a path.
const END: &str = "-";

/// A patch under construction.
#[derive(Debug, Default)]
pub(super) struct Operations(Vec<PatchOperation>);

fn to_json(value: impl Serialize) -> Value {
    // Kubernetes' types have text keys only and serialise without conditions.
    serde_json::to_value(value).expect("an object of Kubernetes is JSON")
}

/// The container with its name and image first, as people write one: `sidegate inject` prints it.
fn name_first(container: &Container) -> Value {
    let mut fields = json!({"name": container.name, "image": container.image});
    if let (Value::Object(fields), Value::Object(all)) = (&mut fields, to_json(container)) {
        fields.extend(all);
    }
    fields
}

/// Where the sidecar goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The end of `containers`.
    Container,
    /// This place in `initContainers`.
    InitContainer(usize),
}

impl Operations {
    /// The patch.
    pub(super) fn finish(self) -> Patch {
        Patch(self.0)
    }

    fn add<'a>(&mut self, path: impl IntoIterator<Item = &'a str>, value: impl Serialize) {
        self.0.push(PatchOperation::Add(AddOperation {
            path: PointerBuf::from_tokens(path),
            value: to_json(value),
        }));
    }

    /// Adds volumes: at the end of the pod's, or as its only ones.
    pub(super) fn add_volumes(&mut self, pod: &Pod, volumes: &[Volume]) {
        let own = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
        if own.is_none_or(Vec::is_empty) {
            if !volumes.is_empty() {
                self.add(["spec", "volumes"], volumes);
            }
            return;
        }
        for volume in volumes {
            self.add(["spec", "volumes", END], volume);
        }
    }

    /// Adds the sidecar to the right list, which is made where it is empty.
    pub(super) fn add_sidecar(&mut self, pod: &Pod, place: Place, sidecar: &Container) {
        let (list, own, index) = match place {
            Place::Container => ("containers", containers(pod), None),
            Place::InitContainer(index) => ("initContainers", init_containers(pod), Some(index)),
        };
        if own.is_empty() {
            self.add(["spec", list], json!([]));
        }
        let index = index.filter(|index| *index < own.len());
        let index = index.map_or_else(|| END.to_owned(), |index| index.to_string());
        self.add(["spec", list, &index], name_first(sidecar));
    }

    /// Sets labels, and makes the map of labels where there is none.
    pub(super) fn set_labels(&mut self, pod: &Pod, labels: &[(&str, &str)]) {
        let own = pod.metadata.labels.as_ref();
        if own.is_none_or(|labels| labels.is_empty()) {
            self.add(["metadata", "labels"], json!({}));
        }
        for (key, value) in labels {
            self.add(["metadata", "labels", key], value);
        }
    }

    /// Sets annotations. The pod has some, or it would not be here.
    pub(super) fn set_annotations(&mut self, annotations: &[(&str, String)]) {
        for (key, value) in annotations {
            self.add(["metadata", "annotations", key], value);
        }
    }

    /// Adds to containers what they lack. Where the sidecar was put before init containers, these
    /// have moved by one.
    pub(super) fn add_to_containers(&mut self, all: &[Additions], place: Option<Place>) {
        for additions in all {
            let moved = match place {
                Some(Place::InitContainer(at)) if additions.list == "initContainers" => {
                    usize::from(additions.index >= at)
                }
                _ => 0,
            };
            let index = (additions.index + moved).to_string();
            let path = ["spec", additions.list, &index];
            self.add_env(path, additions);
            if let Some(mount) = &additions.mount {
                self.add_mount(path, mount, additions.first_mount);
            }
        }
    }

    fn add_env(&mut self, [spec, list, index]: [&str; 3], additions: &Additions) {
        let env: &[EnvVar] = &additions.env;
        if additions.first_env && !env.is_empty() {
            self.add([spec, list, index, "env"], env);
            return;
        }
        for variable in env {
            self.add([spec, list, index, "env", END], variable);
        }
    }

    fn add_mount(&mut self, [spec, list, index]: [&str; 3], mount: &VolumeMount, first: bool) {
        let path = [spec, list, index, "volumeMounts"];
        if first {
            self.add(path, [mount]);
        } else {
            self.add(path.into_iter().chain([END]), mount);
        }
    }
}
