//! The objects that users write, as JSON.

use serde_json::{Value, json};

use crate::cluster::Cluster;

/// The API token and the app token of the scenarios.
pub(crate) const API_TOKEN: &str = "api-token-1";
pub(crate) const APP_TOKEN: &str = "app-token-1";

/// A container that runs a command of the program in `tests/e2e/app`.
pub(crate) fn container(cluster: &Cluster, command: &[&str]) -> Value {
    json!({
        "name": "app",
        "image": cluster.app_image,
        "imagePullPolicy": "IfNotPresent",
        "args": command,
    })
}

/// The application: ready when it listens, and serving until the cluster knows that it goes.
pub(crate) fn serving(cluster: &Cluster) -> Value {
    let mut container = container(cluster, &["serve"]);
    container["readinessProbe"] = json!({
        "httpGet": { "path": "/healthz", "port": 8080 },
        "periodSeconds": 1,
    });
    container["lifecycle"] = json!({ "preStop": { "sleep": { "seconds": 5 } } });
    container
}

/// A pod template with the labels `app: app` and the annotations.
pub(crate) fn template(annotations: &Value, container: &Value) -> Value {
    json!({
        "metadata": { "labels": { "app": "app" }, "annotations": annotations },
        "spec": { "containers": [container], "terminationGracePeriodSeconds": 30 },
    })
}

/// The annotations of an application with both tokens.
pub(crate) fn with_tokens() -> Value {
    json!({
        "dapr.io/enabled": "true",
        "dapr.io/app-id": "app",
        "dapr.io/app-port": "8080",
        "dapr.io/api-token-secret": "dapr-api-token",
        "dapr.io/app-token-secret": "app-api-token",
    })
}

/// The same where the app's containers get both tokens too.
pub(crate) fn with_tokens_for_the_app() -> Value {
    let mut annotations = with_tokens();
    annotations["sidegate.dev/app-env-tokens"] = json!("true");
    annotations
}

/// The two Secrets that [`with_tokens`] names.
pub(crate) fn tokens(api: &str, app: &str) -> Vec<Value> {
    vec![secret("dapr-api-token", api), secret("app-api-token", app)]
}

/// A Secret with the key `token`.
pub(crate) fn secret(name: &str, token: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": name },
        "stringData": { "token": token },
    })
}

/// A Deployment that replaces its pods without a moment with fewer of them.
pub(crate) fn deployment(name: &str, replicas: u32, template: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": name },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": template["metadata"]["labels"] },
            "strategy": { "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } },
            "template": template,
        },
    })
}

/// A bare pod.
pub(crate) fn pod(name: &str, template: &Value) -> Value {
    let mut pod = template.clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!(name);
    pod
}

/// A Service of the pods with the label `app: app`.
pub(crate) fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name },
        "spec": {
            "selector": { "app": "app" },
            "ports": [{ "port": 80, "targetPort": 8080 }],
        },
    })
}

/// The sidecars of a pod: containers with the name `daprd`, of both lists.
pub(crate) fn sidecars(pod: &Value) -> Vec<&Value> {
    ["initContainers", "containers"]
        .iter()
        .filter_map(|list| pod["spec"][list].as_array())
        .flatten()
        .filter(|container| container["name"] == "daprd")
        .collect()
}
