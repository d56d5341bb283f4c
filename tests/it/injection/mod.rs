//! The pure half of the webhook: whole pods in, whole patches out.

mod golden;
mod hostile;
mod properties;

use std::collections::BTreeSet;

use json_patch::{Patch, PatchOperation};
use k8s_openapi::api::core::v1::{Container, Pod};
use serde::Deserialize as _;
use serde_json::{Value, json};
use sidegate::injector::config::Config;
use sidegate::injector::inject::{Request, Verdict, inject};

/// The verdict on a pod in the namespace `shop`.
fn verdict(pod: &Value, config: &Config) -> Verdict {
    let namespace = "shop";
    inject(&Request { namespace, pod }, config).unwrap()
}

/// A copy of a pod with a patch applied.
fn patched(pod: &Value, patch: &Patch) -> Value {
    let mut pod = pod.clone();
    json_patch::patch(&mut pod, patch).unwrap();
    pod
}

/// All containers of a pod, init containers first.
fn containers(pod: &Pod) -> Vec<&Container> {
    let spec = pod.spec.as_ref().unwrap();
    let inits = spec.init_containers.iter().flatten();
    inits.chain(&spec.containers).collect()
}

/// What holds for every pod that was injected, whatever it asked for.
fn check_injected(pod: &Value, patch: &Patch, config: &Config) {
    for operation in &patch.0 {
        assert!(matches!(operation, PatchOperation::Add(_)), "{operation:?}");
    }
    let after = patched(pod, patch);
    let decoded = Pod::deserialize(&after).unwrap();
    for container in containers(&decoded) {
        let env = container.env.iter().flatten();
        let names: Vec<_> = env.map(|variable| &variable.name).collect();
        let different: BTreeSet<_> = names.iter().collect();
        assert_eq!(
            names.len(),
            different.len(),
            "{}: {names:?}",
            container.name
        );
        let mounts = container.volume_mounts.iter().flatten();
        for mount in mounts {
            let volumes = decoded.spec.as_ref().unwrap().volumes.iter().flatten();
            let known = volumes.into_iter().any(|volume| volume.name == mount.name);
            assert!(known, "{} mounts {}", container.name, mount.name);
        }
    }
    assert_restricted(&after, config);
    assert_foreign_untouched(pod, &after);
    let mut before = pod.clone();
    // A value that a pod brings along for what we write is replaced.
    let annotations = before["metadata"]["annotations"].as_object_mut().unwrap();
    let written = ["sidegate.dev/injected", "sidegate.dev/warnings"];
    annotations.retain(|key, _| !written.contains(&key.as_str()));
    assert_lossless(&before, &after);
    match verdict(&after, config) {
        Verdict::AlreadyInjected { patch, .. } => assert_eq!(patch, Patch(Vec::new())),
        other => panic!("a second run gave {other:?}"),
    }
}

/// Containers of other injectors are as they were: no token, nothing else of ours.
fn assert_foreign_untouched(before: &Value, after: &Value) {
    let foreign = |pod: &Value| -> Vec<Value> {
        let lists = [&pod["spec"]["containers"], &pod["spec"]["initContainers"]];
        let all = lists.into_iter().filter_map(Value::as_array).flatten();
        let named = |one: &&Value| {
            one["name"]
                .as_str()
                .is_some_and(|n| n.starts_with("istio-"))
        };
        all.filter(named).cloned().collect()
    };
    assert_eq!(foreign(before), foreign(after));
}

/// The rules of the restricted Pod Security Standard for a container (Kubernetes 1.35).
fn assert_restricted(pod: &Value, config: &Config) {
    let lists = [&pod["spec"]["containers"], &pod["spec"]["initContainers"]];
    let all = lists.into_iter().filter_map(Value::as_array).flatten();
    let sidecars: Vec<_> = all.filter(|one| one["name"] == "daprd").collect();
    assert_eq!(sidecars.len(), 1);
    let context = &sidecars[0]["securityContext"];
    assert_eq!(context["allowPrivilegeEscalation"], json!(false));
    assert_eq!(context["runAsNonRoot"], json!(config.run_as_non_root));
    assert_ne!(context["runAsUser"], json!(0));
    assert_eq!(context["privileged"], Value::Null);
    assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}));
    assert_eq!(context["readOnlyRootFilesystem"], json!(true));
    if !config.allow_weakened_security {
        assert_eq!(context["seccompProfile"], json!({"type": "RuntimeDefault"}));
    }
    let own_group = &context["runAsGroup"];
    let pod_group = &pod["spec"]["securityContext"]["runAsGroup"];
    let group = if own_group.is_null() {
        pod_group
    } else {
        own_group
    };
    assert!(!group.is_null() && *group != json!(0));
    let pod_user = &pod["spec"]["securityContext"]["runAsUser"];
    assert!(*pod_user != json!(0) || !context["runAsUser"].is_null());
}

/// Everything of the pod is still there, with the same value.
fn assert_lossless(before: &Value, after: &Value) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                assert_lossless(value, &after[key]);
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            let mut rest = after.iter();
            for value in before {
                let kept = |other: &&Value| match value.get("name") {
                    Some(name) => other.get("name") == Some(name),
                    None => *other == value,
                };
                assert_lossless(value, rest.find(kept).expect("the order is kept"));
            }
        }
        (Value::Null, _) => {}
        (before, after) => assert_eq!(before, after),
    }
}
