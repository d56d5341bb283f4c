//! Reviews that nobody sends in good faith.

use serde_json::{Map, Value, json};
use sidegate::injector::config::Config;
use sidegate::injector::inject::{DenyReason, InjectError, Request, Verdict, inject};

use super::verdict;

fn pod_with(annotations: Value) -> Value {
    let mut all = json!({"dapr.io/enabled": "true", "dapr.io/app-id": "shop"});
    let own = all.as_object_mut().unwrap();
    own.extend(annotations.as_object().unwrap().clone());
    json!({"metadata": {"annotations": all}, "spec": {"containers": [{"name": "app"}]}})
}

#[test]
fn what_is_no_pod_is_an_error() {
    for object in [
        json!(null),
        json!("pod"),
        json!([]),
        json!({"metadata": {"annotations": "text"}}),
        json!({"metadata": {"annotations": {"dapr.io/enabled": "true"}}}),
        json!({"metadata": {"annotations": {"dapr.io/enabled": "true"}}, "spec": []}),
        json!({
            "metadata": {"annotations": {"dapr.io/enabled": "true"}},
            "spec": {"containers": [{"env": "text"}]}
        }),
    ] {
        let request = Request {
            namespace: "shop",
            pod: &object,
        };
        let given = inject(&request, &Config::default());
        assert!(
            matches!(given, Err(InjectError::NotAPod(_))),
            "{object}: {given:?}"
        );
    }
}

#[test]
fn annotations_that_kubernetes_refuses_are_denied() {
    let pod = pod_with(json!({"other.dev/text": "x".repeat(300_000)}));
    match verdict(&pod, &Config::default()) {
        Verdict::Denied {
            message, reason, ..
        } => {
            assert_eq!(reason, DenyReason::CannotRun);
            assert_eq!(
                message,
                "annotations: 300051 bytes; accepted are 262144 at most"
            );
        }
        other => panic!("{other:?}"),
    }
}

/// Each of these would take far longer than all other tests if the work grew with the square of
/// the input.
#[test]
fn work_grows_with_the_size_of_the_pod() {
    let names = |count: usize| (0..count).map(|at| format!("n{at}"));
    let env: Vec<_> = names(25_000).map(|name| format!("{name}=")).collect();
    let mounts: Vec<_> = names(12_000)
        .map(|name| format!("{name}:/{name}"))
        .collect();
    let unknown: Map<_, _> = names(15_000)
        .map(|name| (format!("dapr.io/{name}"), Value::Null))
        .map(|(key, _)| (key, Value::from("")))
        .collect();
    let list: Vec<_> = names(30_000).collect();
    let containers: Vec<_> = names(15_000)
        .map(|name| json!({"name": name, "ports": [{"containerPort": 9090}]}))
        .collect();
    let volumes: Vec<_> = names(15_000)
        .map(|name| json!({"name": name, "emptyDir": {}}))
        .collect();
    for annotations in [
        json!({"dapr.io/env": env.join(",")}),
        json!({"dapr.io/volume-mounts": mounts.join(",")}),
        Value::Object(unknown),
        json!({
            "sidegate.dev/app-env-tokens": list.join(","),
            "dapr.io/api-token-secret": "s",
            "dapr.io/unix-domain-socket-path": "/s"
        }),
        json!({"dapr.io/pluggable-components": list.join(",")}),
    ] {
        let mut pod = pod_with(annotations);
        pod["spec"]["volumes"] = Value::from(volumes.clone());
        let named = [
            "sidegate.dev/app-env-tokens",
            "dapr.io/pluggable-components",
        ];
        if named
            .iter()
            .any(|key| pod["metadata"]["annotations"].get(key).is_some())
        {
            pod["spec"]["containers"] = Value::from(containers.clone());
        }
        let Verdict::Injected { patch, .. } = verdict(&pod, &Config::default()) else {
            panic!("not injected");
        };
        let noted = patch.0.iter().find_map(|operation| match operation {
            json_patch::PatchOperation::Add(add) => {
                let path = "/metadata/annotations/sidegate.dev~1warnings";
                (add.path.as_str() == path).then(|| add.value.as_str().unwrap())
            }
            _ => None,
        });
        assert!(noted.is_none_or(|text| text.chars().count() < 8192));
    }
}
