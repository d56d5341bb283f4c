//! Where the pods of an object are, and what the webhook makes of them.

use std::fmt;

use serde_json::{Map, Value};

use crate::injector::advice::beside_the_pod;
use crate::injector::config::Config;
use crate::injector::judgement::Judgement;
use crate::injector::requester::Requesters;
use crate::injector::review::Review;
use crate::injector::workload::{Workload, pod_pointer};

/// The namespace that kubectl uses where nothing names another.
const DEFAULT_NAMESPACE: &str = "default";

/// How pods are injected.
pub(super) struct Injection<'a> {
    /// What is the same for every pod.
    pub(super) config: &'a Config,
    /// The namespace of objects that name none.
    pub(super) namespace: Option<&'a str>,
}

/// Something that the user should know about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    object: String,
    text: String,
    severity: Severity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    Warning,
    Denial,
}

impl Note {
    /// Whether the object would be denied.
    pub(super) fn is_denial(&self) -> bool {
        self.severity == Severity::Denial
    }

    /// The whole line, with the name of the file.
    pub(super) fn about(&self, file: &str) -> impl fmt::Display {
        let Self { object, text, .. } = self;
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Denial => "error",
        };
        format!("{severity}: {file}: {object}: {text}")
    }
}

impl Injection<'_> {
    /// Injects into every pod of an object: itself, its template, or those of a list.
    pub(super) fn apply(&self, object: &mut Value, notes: &mut Vec<Note>) {
        let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
        let kind = Kind {
            group: text("apiVersion")
                .rsplit_once('/')
                .map_or("", |(group, _)| group)
                .to_owned(),
            kind: text("kind").to_owned(),
        };
        self.apply_as(&kind, object, notes);
    }

    fn apply_as(&self, kind: &Kind, object: &mut Value, notes: &mut Vec<Note>) {
        if let Some(item_kind) = kind.of_items() {
            let items = object.get_mut("items").and_then(Value::as_array_mut);
            for item in items.into_iter().flatten() {
                // The items of a typed list need not repeat what they are.
                if item.get("kind").is_some() {
                    self.apply(item, notes);
                } else {
                    self.apply_as(&item_kind, item, notes);
                }
            }
            return;
        }
        let Some(pointer) = kind.pod_pointer() else {
            return;
        };
        let workload = Workload {
            kind: &kind.kind,
            object,
            pointer,
        };
        let advice = beside_the_pod(&workload);
        let name = format!("{} {:?}", kind.kind, workload.name());
        let namespace = object.pointer("/metadata/namespace");
        let namespace = namespace.and_then(Value::as_str).map(str::to_owned);
        if let Some(pod) = object.pointer_mut(pointer).filter(|pod| pod.is_object()) {
            self.inject(pod, namespace, &name, notes);
        }
        notes.extend(advice.into_iter().map(|text| Note {
            object: name.clone(),
            text,
            severity: Severity::Warning,
        }));
    }

    fn inject(
        &self,
        pod: &mut Value,
        namespace: Option<String>,
        name: &str,
        notes: &mut Vec<Note>,
    ) {
        let mut note = |severity, text: &str| {
            notes.push(Note {
                object: name.to_owned(),
                text: text.to_owned(),
                severity,
            });
        };
        let known = namespace.or_else(|| self.namespace.map(str::to_owned));
        let namespace = known
            .clone()
            .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        let judgement = self.judge(pod, namespace);
        for warning in &judgement.warnings {
            note(Severity::Warning, warning);
        }
        if let Some(denial) = &judgement.denial {
            note(Severity::Denial, &denial.message);
        }
        let Some(patch) = &judgement.patch else {
            return;
        };
        if known.is_none() {
            let text = "no namespace is given: \"default\" is written into the sidecar \
                        (--namespace gives another)";
            note(Severity::Warning, text);
        }
        if let Err(error) = json_patch::patch(pod, patch) {
            note(
                Severity::Denial,
                &format!("the patch does not fit the pod: {error}"),
            );
        }
    }

    /// Shows the webhook a pod as the API server would. Requesters are the cluster's concern.
    fn judge(&self, pod: &Value, namespace: String) -> Judgement {
        let mut whole = Map::new();
        whole.insert("apiVersion".to_owned(), "v1".into());
        whole.insert("kind".to_owned(), "Pod".into());
        for (key, value) in pod.as_object().into_iter().flatten() {
            whole.entry(key.as_str()).or_insert_with(|| value.clone());
        }
        let review = Review::of_new_pod(namespace, Value::Object(whole));
        review.judge(self.config, &Requesters::default(), &[])
    }
}

/// A kind, of whatever version.
#[derive(Debug, PartialEq, Eq)]
struct Kind {
    group: String,
    kind: String,
}

impl Kind {
    /// Where the pod or pod template is in an object of this kind, where it has one that we know.
    fn pod_pointer(&self) -> Option<&'static str> {
        pod_pointer(&self.group, &self.kind)
    }

    /// What the items of a list of this kind are. Those of a `List` say it themselves.
    fn of_items(&self) -> Option<Self> {
        let kind = self.kind.strip_suffix("List")?;
        let item = Self {
            group: self.group.clone(),
            kind: kind.to_owned(),
        };
        (kind.is_empty() || item.pod_pointer().is_some()).then_some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A pod template that the webhook warns about, which shows that it was asked.
    fn template() -> Value {
        json!({"metadata": {"annotations": {"dapr.io/enabled": "yes"}}, "spec": {"containers": []}})
    }

    fn asked(mut object: Value) -> Vec<String> {
        let config = Config::default();
        let injection = Injection {
            config: &config,
            namespace: Some("shop"),
        };
        let before = object.clone();
        let mut notes = Vec::new();
        injection.apply(&mut object, &mut notes);
        assert_eq!(object, before);
        notes
            .iter()
            .map(|note| note.about("f").to_string())
            .collect()
    }

    fn object(api_version: &str, kind: &str, rest: &Value) -> Value {
        let mut object =
            json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}});
        let map = object.as_object_mut().unwrap();
        map.extend(rest.as_object().unwrap().clone());
        object
    }

    #[test]
    fn finds_the_pods_of_every_workload() {
        let in_spec = json!({"spec": {"template": template()}});
        for (api_version, kind, rest) in [
            ("v1", "Pod", &template()),
            ("v1", "ReplicationController", &in_spec),
            ("apps/v1", "Deployment", &in_spec),
            ("apps/v1beta2", "StatefulSet", &in_spec),
            ("apps/v1", "DaemonSet", &in_spec),
            ("apps/v1", "ReplicaSet", &in_spec),
            ("batch/v1", "Job", &in_spec),
            (
                "batch/v1",
                "CronJob",
                &json!({"spec": {"jobTemplate": {"spec": in_spec["spec"]}}}),
            ),
        ] {
            let mut object = object(api_version, kind, rest);
            object["metadata"]["name"] = "x".into();
            let notes = asked(object.clone());
            assert_eq!(notes.len(), 1, "{kind}");
            let wanted =
                format!("warning: f: {kind} \"x\": annotation \"dapr.io/enabled\": \"yes\"");
            assert!(notes[0].starts_with(&wanted), "{}", notes[0]);
            let list = json!({"apiVersion": "v1", "kind": "List", "items": [object]});
            assert_eq!(asked(list).len(), 1, "{kind}");
        }
    }

    #[test]
    fn gives_the_advice_of_the_webhook() {
        let mut object = object(
            "apps/v1",
            "Deployment",
            &json!({"spec": {"template": template()}}),
        );
        object["metadata"]["annotations"] = json!({"dapr.io/app-id": "cart"});
        object["spec"]["template"]["metadata"]["annotations"] = json!({"dapr.io/enable": "true"});
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [object]});
        assert_eq!(
            asked(list),
            [
                "warning: f: Deployment \"x\": annotations \"dapr.io/app-id\" of the Deployment \
                 itself have no effect: write them into spec.template.metadata.annotations",
                "warning: f: Deployment \"x\": annotation \"dapr.io/enable\" is not known; did you \
                 mean \"dapr.io/enabled\"?",
            ]
        );
    }

    #[test]
    fn knows_the_items_of_typed_lists() {
        let list = json!({"apiVersion": "v1", "kind": "PodList", "items": [template()]});
        assert_eq!(asked(list).len(), 1);
    }

    #[test]
    fn leaves_other_kinds_alone() {
        let rest = json!({"spec": {"template": template()}});
        for (api_version, kind) in [
            ("example.com/v1", "Deployment"),
            ("apps/v1", "Service"),
            ("", ""),
            ("example.com/v1", "ShoppingList"),
        ] {
            assert_eq!(asked(object(api_version, kind, &rest)), [""; 0], "{kind}");
        }
        for object in [
            json!({"apiVersion": "apps/v1", "kind": "Deployment"}),
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": 1}}),
            json!({"apiVersion": 1, "kind": []}),
        ] {
            assert_eq!(asked(object), [""; 0]);
        }
    }
}
