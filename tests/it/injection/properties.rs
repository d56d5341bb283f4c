//! What holds for all pods.

use json_patch::Patch;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use sidegate::injector::advice::advise;
use sidegate::injector::annotations::TABLE;
use sidegate::injector::config::Config;
use sidegate::injector::inject::{Request, Verdict, inject};
use sidegate::injector::review::Review;

use super::{check_injected, patched, verdict};

/// Values that some annotation makes something of, and any text.
fn value() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "",
        "true",
        "false",
        "0",
        "1",
        "-1",
        "80",
        "3500",
        "70000",
        "4294967297",
        "first",
        "grpc",
        "1m30s",
        "4Mi",
        "100m",
        "/tmp/sockets",
        "token-secret",
        "A=1,B=2",
        "A=1,A=2",
        "K=s:k",
        "data:/data",
        "data:/data,host:/host",
        "app",
        "app,istio-proxy",
        "Unconfined",
        "config",
        "NAMESPACE=x",
        "example.com/daprd:1",
        "0.0.0.0",
        "shop",
    ]);
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => any::<String>()]
}

/// Any JSON, with the names of a pod's fields.
fn json_value() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec![
        "metadata",
        "annotations",
        "labels",
        "spec",
        "containers",
        "initContainers",
        "volumes",
        "env",
        "name",
        "securityContext",
        "runAsUser",
        "dapr.io/enabled",
        "dapr.io/app-id",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(vec!["true", "shop", ""]).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(name.clone(), inner, 0..6).prop_map(|fields| {
                let fields = fields.into_iter();
                Value::Object(fields.map(|(key, value)| (key.to_owned(), value)).collect())
            }),
        ]
    })
}

fn annotations() -> impl Strategy<Value = Map<String, Value>> {
    let key = prop::sample::select(TABLE);
    let some = btree_map(key.prop_map(|row| row.key.to_owned()), value(), 0..6);
    some.prop_map(|some| {
        let mut all: Map<_, _> = some
            .into_iter()
            .map(|(key, value)| (key, Value::String(value)))
            .collect();
        all.insert("dapr.io/enabled".into(), "True".into());
        all.insert("dapr.io/app-id".into(), "shop".into());
        all
    })
}

fn container(name: &'static str) -> impl Strategy<Value = Value> {
    let env = prop::sample::select(vec![
        json!(null),
        json!([]),
        json!([{"name": "DAPR_HTTP_PORT", "value": "1"}, {"name": "A", "value": "2"}]),
        json!([{"name": "DAPR_API_TOKEN", "value": "own"}]),
    ]);
    let mounts = prop::sample::select(vec![
        json!(null),
        json!([]),
        json!([{"name": "data", "mountPath": "/tmp/sockets"}]),
    ]);
    (env, mounts).prop_map(move |(env, mounts)| {
        json!({"name": name, "image": "i", "env": env, "volumeMounts": mounts, "future": [name]})
    })
}

fn pod() -> impl Strategy<Value = Value> {
    let istio = prop::option::of(container("istio-proxy"));
    let containers = (container("app"), istio, container("worker"));
    let inits = prop::sample::select(vec![
        json!(null),
        json!([]),
        json!([{"name": "migrate", "image": "i"}]),
        json!([
            {"name": "istio-init", "image": "i"},
            {"name": "otel", "image": "i", "restartPolicy": "Always"},
            {"name": "migrate", "image": "i", "env": []}
        ]),
    ]);
    let volumes = json!([
        {"name": "data", "emptyDir": {}},
        {"name": "host", "hostPath": {"path": "/"}}
    ]);
    let labels = prop::sample::select(vec![json!(null), json!({}), json!({"app": "shop"})]);
    let user = prop::option::of(prop::sample::select(vec![0, 1000]));
    (annotations(), containers, inits, labels, user).prop_map(
        move |(annotations, (app, istio, worker), inits, labels, user)| {
            let containers: Vec<_> = [Some(app), istio, Some(worker)]
                .into_iter()
                .flatten()
                .collect();
            json!({
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"annotations": annotations, "labels": labels},
                "spec": {
                    "containers": containers,
                    "initContainers": inits,
                    "volumes": volumes,
                    "securityContext": {"runAsUser": user},
                    "future": {"kept": true}
                }
            })
        },
    )
}

fn config() -> impl Strategy<Value = Config> {
    (any::<bool>(), any::<bool>()).prop_map(|(native, weakened)| Config {
        native_sidecar: native,
        allow_weakened_security: weakened,
        ..Config::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_injected_pod_is_sound_and_stable(pod in pod(), config in config()) {
        if let Verdict::Injected { patch, .. } = verdict(&pod, &config) {
            check_injected(&pod, &patch, &config);
        }
    }

    #[test]
    fn no_annotation_panics(row in prop::sample::select(TABLE), text in any::<String>()) {
        let annotations = json!({
            "dapr.io/enabled": "true", "dapr.io/app-id": "shop", row.key: text
        });
        let pod = json!({
            "metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "app"}]}
        });
        verdict(&pod, &Config::default());
    }

    #[test]
    fn no_object_panics(object in json_value()) {
        let request = Request { namespace: "shop", pod: &object };
        let _ = inject(&request, &Config::default());
    }

    #[test]
    fn no_workload_panics(
        object in json_value(),
        old in json_value(),
        kind in prop::sample::select(vec!["Deployment", "StatefulSet", "Job", "CronJob"]),
    ) {
        let group = if kind.ends_with("Job") { "batch" } else { "apps" };
        let template = json!({"spec": {"template": object, "jobTemplate": {
            "metadata": object, "spec": {"template": object}
        }}});
        for object in [&object, &template] {
            let review = json!({
                "apiVersion": "admission.k8s.io/v1",
                "kind": "AdmissionReview",
                "request": {
                    "kind": {"group": group, "version": "v1", "kind": kind},
                    "operation": "UPDATE",
                    "object": object,
                    "oldObject": old,
                },
            });
            let review = Review::decode(review.to_string().as_bytes()).unwrap();
            let judgement = advise(&review, &Config::default(), &[]);
            prop_assert!(judgement.denial.is_none() && judgement.patch.is_none());
        }
    }

    /// Another webhook adds a container after us: it gets what it lacks, and nothing else changes.
    #[test]
    fn a_container_that_comes_later_is_completed(pod in pod(), late in container("late")) {
        let config = Config::default();
        if let Verdict::Injected { patch, .. } = verdict(&pod, &config) {
            let mut after = patched(&pod, &patch);
            let containers = after["spec"]["containers"].as_array_mut().unwrap();
            containers.push(late);
            let place = format!("/spec/containers/{}/", containers.len() - 1);
            let Verdict::AlreadyInjected { patch, .. } = verdict(&after, &config) else {
                panic!("not recognised");
            };
            prop_assert!(!patch.0.is_empty());
            for operation in &patch.0 {
                prop_assert!(operation.path().as_str().starts_with(&place), "{:?}", operation);
            }
            let done = patched(&after, &patch);
            let again = verdict(&done, &config);
            let stable = matches!(
                again, Verdict::AlreadyInjected { ref patch, .. } if *patch == Patch(Vec::new())
            );
            prop_assert!(stable, "{:?}", again);
        }
    }
}
