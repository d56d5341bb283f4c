//! Objects that make pods, and where they keep what the pods are to be.

use serde_json::{Map, Value};

/// Where the pod or pod template is in an object of a kind, of whatever version, as a JSON
/// pointer; none for kinds that have no such thing.
pub fn pod_pointer(group: &str, kind: &str) -> Option<&'static str> {
    Some(match (group, kind) {
        ("", "Pod") => "",
        ("", "ReplicationController")
        | ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("batch", "Job") => "/spec/template",
        ("batch", "CronJob") => "/spec/jobTemplate/spec/template",
        _ => return None,
    })
}

/// An object that makes pods, or a pod.
#[derive(Clone, Copy, Debug)]
pub struct Workload<'a> {
    /// Its kind, such as `Deployment`.
    pub kind: &'a str,
    /// The whole object.
    pub object: &'a Value,
    /// Where its pod template is: [`pod_pointer`] of its kind.
    pub pointer: &'static str,
}

impl<'a> Workload<'a> {
    /// Whether it is a pod itself.
    pub(super) fn is_pod(&self) -> bool {
        self.pointer.is_empty()
    }

    /// The pod template; of a pod, the pod itself.
    pub(super) fn template(&self) -> Option<&'a Value> {
        let template = self.object.pointer(self.pointer);
        template.filter(|template| template.is_object())
    }

    /// The name of the object, or what its name will begin with; empty where it has neither.
    pub fn name(&self) -> &'a str {
        let metadata = &self.object["metadata"];
        let name = metadata["name"].as_str().filter(|name| !name.is_empty());
        let name = name.or_else(|| metadata["generateName"].as_str());
        name.unwrap_or_default()
    }

    /// Whether another object makes and changes this one, as a Deployment does its ReplicaSets.
    pub(super) fn is_controlled(&self) -> bool {
        let owners = self.object["metadata"]["ownerReferences"].as_array();
        let mut owners = owners.into_iter().flatten();
        owners.any(|owner| owner["controller"] == true)
    }

    /// The first pod as the object's controller will make it: of the template's metadata it takes
    /// labels and annotations. Pods of a StatefulSet are named when they are admitted, others get
    /// their names after that.
    pub(super) fn pod(&self) -> Option<Value> {
        let template = self.template()?;
        let mut metadata = Map::new();
        for field in ["labels", "annotations"] {
            if let Some(value) = template["metadata"].get(field) {
                metadata.insert(field.to_owned(), value.clone());
            }
        }
        if let Some(name) = self.name_of_first_pod() {
            metadata.insert("name".to_owned(), name.into());
        }
        let mut pod = Map::new();
        pod.insert("apiVersion".to_owned(), "v1".into());
        pod.insert("kind".to_owned(), "Pod".into());
        pod.insert("metadata".to_owned(), metadata.into());
        pod.insert("spec".to_owned(), template["spec"].clone());
        Some(pod.into())
    }

    /// The name of the first pod, where it is known before the pod is admitted.
    pub(super) fn name_of_first_pod(&self) -> Option<String> {
        let name = Some(self.name()).filter(|name| self.kind == "StatefulSet" && !name.is_empty());
        let first = &self.object["spec"]["ordinals"]["start"];
        name.map(|name| format!("{name}-{}", first.as_u64().unwrap_or(0)))
    }
}
