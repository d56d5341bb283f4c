//! Every kind of workload gets its sidecar, and those that end, end.

use serde_json::{Value, json};

use crate::cluster::{Cluster, PATIENCE};
use crate::pods::{API_TOKEN, APP_TOKEN, container, pod, serving, sidecars, template, tokens};

/// What the sidecar answers in a pod whose API token the app knows.
const METADATA: &str = "http://127.0.0.1:3500/v1.0/metadata";

/// The annotations of a pod whose containers know the API token.
fn annotations() -> Value {
    json!({
        "dapr.io/enabled": "true",
        "dapr.io/app-id": "work",
        "dapr.io/api-token-secret": "dapr-api-token",
        "dapr.io/app-token-secret": "app-api-token",
        "sidegate.dev/app-env-tokens": "true",
    })
}

/// Calls the sidecar once, with its token, and ends.
fn one_call() -> Vec<String> {
    let header = format!("--header=dapr-api-token: {API_TOKEN}");
    ["call", "--expect=200", &header, METADATA]
        .map(str::to_owned)
        .to_vec()
}

fn job_spec(cluster: &Cluster) -> Value {
    let command = one_call();
    let command: Vec<_> = command.iter().map(String::as_str).collect();
    let mut template = template(&annotations(), &container(cluster, &command));
    template["spec"]["restartPolicy"] = json!("Never");
    json!({ "backoffLimit": 0, "template": template })
}

pub(crate) fn of_every_kind(cluster: &Cluster) {
    let namespace = "workloads";
    cluster.namespace(namespace);
    cluster.apply(namespace, &tokens(API_TOKEN, APP_TOKEN));
    // Each with a label of its own: controllers adopt pods that their selector names.
    let labelled = |name: &str| {
        let mut template = template(&annotations(), &serving(cluster));
        template["metadata"]["labels"] = json!({ "app": name });
        template
    };
    let object = |version: &str, kind: &str, spec: Value| {
        json!({
            "apiVersion": version,
            "kind": kind,
            "metadata": { "name": kind.to_lowercase() },
            "spec": spec,
        })
    };
    let set = |kind: &str| {
        let name = kind.to_lowercase();
        let selector = json!({ "matchLabels": { "app": name } });
        let spec = json!({ "selector": selector, "template": labelled(&name) });
        object("apps/v1", kind, spec)
    };
    let every_minute = json!({
        "schedule": "* * * * *",
        "jobTemplate": { "spec": job_spec(cluster) },
    });
    cluster.apply(
        namespace,
        &[
            pod("bare", &labelled("bare")),
            set("StatefulSet"),
            set("DaemonSet"),
            object("batch/v1", "Job", job_spec(cluster)),
            object("batch/v1", "CronJob", every_minute),
        ],
    );
    cluster.kubectl(&format!(
        "-n {namespace} wait --for=condition=Ready pod/bare {PATIENCE}"
    ));
    cluster.rolled_out(namespace, "statefulset/statefulset");
    cluster.rolled_out(namespace, "daemonset/daemonset");
    cluster.kubectl(&format!(
        "-n {namespace} wait --for=condition=Complete job/job {PATIENCE}"
    ));
    // A CronJob's next minute may be nearly one away; a Job of its template needs no clock.
    let from = "--from=cronjob/cronjob";
    cluster.kubectl(&format!("-n {namespace} create job from-cron {from}"));
    let complete = format!("wait --for=condition=Complete job/from-cron {PATIENCE}");
    cluster.kubectl(&format!("-n {namespace} {complete}"));

    let pods = cluster.objects(namespace, "pods", "app");
    assert!(pods.len() >= 5);
    for pod in pods {
        let name = pod["metadata"]["name"].as_str().unwrap();
        assert_eq!(sidecars(&pod).len(), 1, "{name}");
        if name.starts_with("job") || name.starts_with("from-cron") {
            assert_eq!(pod["status"]["phase"], "Succeeded", "{name}");
        }
    }
    cluster.forget(namespace);
}

/// An init container of the user's calls the sidecar, which is up before it.
pub(crate) fn with_an_init_container_that_needs_the_sidecar(cluster: &Cluster) {
    let namespace = "init-order";
    cluster.namespace(namespace);
    cluster.apply(namespace, &tokens(API_TOKEN, APP_TOKEN));
    let mut annotations = annotations();
    annotations["sidegate.dev/init-order"] = json!("first");
    let mut first = template(&annotations, &serving(cluster));
    let command = one_call();
    let command: Vec<_> = command.iter().map(String::as_str).collect();
    let mut prepare = container(cluster, &command);
    prepare["name"] = json!("prepare");
    first["spec"]["initContainers"] = json!([prepare]);
    first["spec"]["restartPolicy"] = json!("Never");
    cluster.apply(namespace, &[pod("first", &first)]);
    cluster.kubectl(&format!(
        "-n {namespace} wait --for=condition=Ready pod/first {PATIENCE}"
    ));
    let pod = cluster.object(namespace, "pod", "first");
    let inits = pod["spec"]["initContainers"].as_array().unwrap();
    assert_eq!(inits[0]["name"], "daprd", "{pod:#}");
    cluster.forget(namespace);
}

/// In a namespace that enforces the restricted standard, and in a pod whose user is root.
pub(crate) fn under_every_security_context(cluster: &Cluster) {
    let namespace = "restricted";
    cluster.namespace(namespace);
    let label = "pod-security.kubernetes.io/enforce=restricted";
    cluster.kubectl(&format!("label namespace {namespace} {label}"));
    cluster.apply(namespace, &tokens(API_TOKEN, APP_TOKEN));
    let mut restricted = template(&annotations(), &serving(cluster));
    restricted["spec"]["securityContext"] = json!({
        "runAsNonRoot": true,
        "runAsUser": 1000,
        "seccompProfile": { "type": "RuntimeDefault" },
    });
    restricted["spec"]["containers"][0]["securityContext"] = json!({
        "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"] },
    });
    let warnings = cluster.apply(namespace, &[pod("restricted", &restricted)]);
    assert!(!warnings.contains("violate"), "{warnings}");
    let ready = format!("wait --for=condition=Ready pod/restricted {PATIENCE}");
    cluster.kubectl(&format!("-n {namespace} {ready}"));
    cluster.forget(namespace);

    let namespace = "root";
    cluster.namespace(namespace);
    cluster.apply(namespace, &tokens(API_TOKEN, APP_TOKEN));
    let mut root = template(&annotations(), &serving(cluster));
    root["spec"]["securityContext"] = json!({ "runAsUser": 0 });
    cluster.apply(namespace, &[pod("root", &root)]);
    cluster.kubectl(&format!(
        "-n {namespace} wait --for=condition=Ready pod/root {PATIENCE}"
    ));
    let pod = cluster.object(namespace, "pod", "root");
    let user = &sidecars(&pod)[0]["securityContext"]["runAsUser"];
    assert_ne!(user, 0, "{pod:#}");
    cluster.forget(namespace);
}
