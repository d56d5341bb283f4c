//! Calls from app to app, through the sidecars of two pods.

use serde_json::{Value, json};
use sidegate::testing::eventually::eventually_blocking;

use crate::cluster::Cluster;
use crate::pods::{
    API_TOKEN, APP_TOKEN, deployment, secret, serving, template, tokens, with_tokens_for_the_app,
};

/// The app token of the app that is called.
const OTHER_TOKEN: &str = "other-token-1";

/// The Service by whose name sidecars find the one of `other`.
fn service() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": "other-dapr" },
        "spec": {
            "clusterIP": "None",
            "selector": { "app": "other" },
            "ports": [{ "name": "dapr-internal", "port": 50002 }],
        },
    })
}

pub(crate) fn reaches_the_app_of_another_pod(cluster: &Cluster) {
    let namespace = "invocation";
    cluster.namespace(namespace);
    cluster.apply(namespace, &tokens(API_TOKEN, APP_TOKEN));
    cluster.apply(
        namespace,
        &[secret("other-app-token", OTHER_TOKEN), service()],
    );
    let caller = template(&with_tokens_for_the_app(), &serving(cluster));
    let mut annotations = with_tokens_for_the_app();
    annotations["dapr.io/app-id"] = json!("other");
    annotations["dapr.io/app-token-secret"] = json!("other-app-token");
    let mut callee = template(&annotations, &serving(cluster));
    callee["metadata"]["labels"] = json!({ "app": "other" });
    cluster.apply(
        namespace,
        &[
            deployment("app", 1, &caller),
            deployment("other", 1, &callee),
        ],
    );
    cluster.rolled_out(namespace, "deployment/app");
    cluster.rolled_out(namespace, "deployment/other");

    for target in ["other", "other.invocation"] {
        calls(cluster, namespace, target);
    }
    let url = "http://127.0.0.1:3500/v1.0/invoke/other/method/hello";
    let pod = caller_pod(cluster, namespace);
    let refused = cluster.in_pod(namespace, &pod, &["call", url]).out;
    assert!(refused.starts_with("401\n"), "{refused}");
    // The pods behind the name are others now.
    cluster.kubectl(&format!("-n {namespace} rollout restart deployment/other"));
    cluster.rolled_out(namespace, "deployment/other");
    calls(cluster, namespace, "other");
    cluster.forget(namespace);
}

fn caller_pod(cluster: &Cluster, namespace: &str) -> String {
    let pods = cluster.objects(namespace, "pods", "app=app");
    pods[0]["metadata"]["name"].as_str().unwrap().to_owned()
}

/// The app that is called sees its own token, and neither of the caller's.
fn calls(cluster: &Cluster, namespace: &str, target: &str) {
    let pod = caller_pod(cluster, namespace);
    let url = format!("http://127.0.0.1:3500/v1.0/invoke/{target}/method/hello");
    let header = format!("--header=dapr-api-token: {API_TOKEN}");
    let expected = format!("200\nhello, token {OTHER_TOKEN:?}");
    // The name server may not know of a new pod yet.
    eventually_blocking("the other app answers", || {
        let answer = cluster
            .in_pod(namespace, &pod, &["call", &url, &header])
            .out;
        (answer.trim_end() == expected).then_some(())
    });
}
