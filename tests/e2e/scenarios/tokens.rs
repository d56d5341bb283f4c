//! Both tokens, on every road, in real pods.

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::pods::{
    API_TOKEN, APP_TOKEN, deployment, secret, serving, sidecars, template, tokens, with_tokens,
    with_tokens_for_the_app,
};

/// What lets the sidecars of a namespace read one Secret through the store `kubernetes`.
fn right_to_read(secrets: &[&str]) -> [Value; 2] {
    [
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": { "name": "secrets-of-the-app" },
            "rules": [{
                "apiGroups": [""],
                "resources": ["secrets"],
                "resourceNames": secrets,
                "verbs": ["get"],
            }],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": { "name": "secrets-of-the-app" },
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": "secrets-of-the-app",
            },
            "subjects": [{ "kind": "ServiceAccount", "name": "default" }],
        }),
    ]
}

pub(crate) fn guard_the_api_and_reach_the_app(cluster: &Cluster) {
    let namespace = "tokens";
    cluster.namespace(namespace);
    cluster.apply(namespace, &tokens(API_TOKEN, APP_TOKEN));
    cluster.apply(namespace, &[secret("database", "s3cret")]);
    cluster.apply(namespace, &right_to_read(&["database"]));
    let template = template(&with_tokens_for_the_app(), &serving(cluster));
    cluster.apply(namespace, &[deployment("app", 3, &template)]);
    cluster.rolled_out(namespace, "deployment/app");

    let pods = cluster.objects(namespace, "pods", "app=app");
    assert_eq!(pods.len(), 3);
    for pod in &pods {
        assert_eq!(sidecars(pod).len(), 1, "{pod:#}");
        let name = pod["metadata"]["name"].as_str().unwrap();
        check_http(cluster, namespace, name);
        check_grpc(cluster, namespace, name);
    }
    cluster.forget(namespace);
}

fn get(cluster: &Cluster, namespace: &str, pod: &str, path: &str, token: Option<&str>) -> String {
    let url = format!("http://127.0.0.1:3500{path}");
    let header = token.map(|token| format!("--header=dapr-api-token: {token}"));
    let mut command = vec!["call", &url];
    command.extend(header.as_deref());
    cluster.in_pod(namespace, pod, &command).out
}

fn check_http(cluster: &Cluster, namespace: &str, pod: &str) {
    let call = |path, token| get(cluster, namespace, pod, path, token);
    let invoke = "/v1.0/invoke/app/method/hello";
    for path in [
        invoke,
        "/v1.0/secrets/kubernetes/database",
        "/v1.0/metadata",
    ] {
        for token in [None, Some("wrong"), Some(APP_TOKEN)] {
            let answer = call(path, token);
            assert!(
                answer.starts_with("401\n"),
                "{path} with {token:?}: {answer}"
            );
        }
    }
    let answer = call(invoke, Some(API_TOKEN));
    let seen = format!("200\nhello, token {APP_TOKEN:?}");
    assert_eq!(answer.trim_end(), seen, "the app sees its own token");
    let answer = call("/v1.0/secrets/kubernetes/database", Some(API_TOKEN));
    assert_eq!(answer.trim_end(), "200\n{\"token\":\"s3cret\"}");
    // Neither what the Role does not name nor what is in another namespace.
    for path in [
        "/v1.0/secrets/kubernetes/app-api-token",
        "/v1.0/secrets/kubernetes/database?metadata.namespace=kube-system",
    ] {
        let answer = call(path, Some(API_TOKEN));
        assert!(
            answer.starts_with("403\n") || answer.starts_with("500\n"),
            "{path}: {answer}"
        );
        assert!(!answer.contains(APP_TOKEN), "{path}: {answer}");
    }
}

fn check_grpc(cluster: &Cluster, namespace: &str, pod: &str) {
    let read = |token: &[&str]| {
        let command = [&["grpc-secret", "kubernetes", "database"], token].concat();
        cluster.in_pod(namespace, pod, &command).out
    };
    let refused = read(&[]);
    assert!(refused.starts_with("Unauthenticated"), "{refused}");
    let refused = read(&["--token=wrong"]);
    assert!(refused.starts_with("Unauthenticated"), "{refused}");
    let answer = read(&["--token", API_TOKEN]);
    assert_eq!(answer.trim_end(), "{\"token\":\"s3cret\"}");
}

/// The public guide on tokens patches a Deployment that runs, and gives the app its token by
/// `envFrom`, which makes a variable `token`.
pub(crate) fn by_patch_and_env_from(cluster: &Cluster) {
    let namespace = "envfrom";
    cluster.namespace(namespace);
    cluster.apply(namespace, &tokens(API_TOKEN, APP_TOKEN));
    let annotations = json!({
        "dapr.io/enabled": "true",
        "dapr.io/app-id": "app",
        "dapr.io/app-port": "8080",
    });
    let mut container = serving(cluster);
    container["envFrom"] = json!([{ "secretRef": { "name": "app-api-token" } }]);
    let template = template(&annotations, &container);
    cluster.apply(namespace, &[deployment("app", 1, &template)]);
    cluster.rolled_out(namespace, "deployment/app");

    let patch = json!({ "spec": { "template": { "metadata": { "annotations": with_tokens() } } } });
    let patch = patch.to_string();
    cluster.kubectl_with(&["-n", namespace, "patch", "deployment", "app", "-p", &patch]);
    cluster.rolled_out(namespace, "deployment/app");

    let pods = cluster.objects(namespace, "pods", "app=app");
    let running = pods
        .iter()
        .find(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    let name = running.unwrap()["metadata"]["name"].as_str().unwrap();
    let environment = cluster.in_pod(namespace, name, &["env"]).out;
    let variable = format!("token={APP_TOKEN}");
    assert!(
        environment.lines().any(|line| line == variable),
        "{environment}"
    );
    let invoke = "/v1.0/invoke/app/method/hello";
    let answer = get(cluster, namespace, name, invoke, None);
    assert!(answer.starts_with("401\n"), "{answer}");
    // This app does not read `token`, as SDKs do not either, so it refuses its own token: the
    // sidecar sent it.
    let answer = get(cluster, namespace, name, invoke, Some(API_TOKEN));
    assert_eq!(answer.trim_end(), format!("403\ntoken {APP_TOKEN:?}"));
    cluster.forget(namespace);
}
