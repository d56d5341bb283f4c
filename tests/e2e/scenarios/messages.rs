//! Messages of a topic, by objects of the cluster.

use serde_json::{Value, json};
use sidegate::testing::eventually::eventually_blocking;

use crate::cluster::Cluster;
use crate::pods::{
    API_TOKEN, APP_TOKEN, deployment, serving, template, tokens, with_tokens_for_the_app,
};

fn component() -> Value {
    json!({
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": { "name": "broker" },
        "spec": { "type": "pubsub.in-memory", "version": "v1", "metadata": [] },
    })
}

/// In the older version of the kind.
fn subscription(route: &str) -> Value {
    json!({
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Subscription",
        "metadata": { "name": "orders" },
        "spec": { "pubsubname": "broker", "topic": "orders", "route": route },
        "scopes": ["app"],
    })
}

/// What is published reaches the app with its token, and goes where the Subscription says, also
/// after it changed, without a restart.
pub(crate) fn reach_the_app_with_its_token(cluster: &Cluster) {
    let namespace = "messages";
    cluster.namespace(namespace);
    cluster.kubectl(&format!(
        "-n {namespace} apply -f manifests/rbac/sidecar-resources.yaml"
    ));
    cluster.kubectl(&format!(
        "-n {namespace} create rolebinding sidecars --role=sidegate-sidecar \
         --group=system:serviceaccounts:{namespace}"
    ));
    cluster.apply(namespace, &tokens(API_TOKEN, APP_TOKEN));
    cluster.apply(namespace, &[component(), subscription("/orders")]);
    let app = template(&with_tokens_for_the_app(), &serving(cluster));
    cluster.apply(namespace, &[deployment("app", 1, &app)]);
    cluster.rolled_out(namespace, "deployment/app");
    let pods = cluster.objects(namespace, "pods", "app=app");
    let pod = pods[0]["metadata"]["name"].as_str().unwrap().to_owned();

    publish(cluster, namespace, &pod);
    taken(cluster, namespace, &pod, "/orders 1");
    cluster.apply(namespace, &[subscription("/later")]);
    // Until the sidecar knows, messages go where they went.
    eventually_blocking("a message goes where the Subscription says now", || {
        publish(cluster, namespace, &pod);
        let said = cluster.in_pod(namespace, &pod, &["call", "http://127.0.0.1:8080/taken"]);
        said.out.contains("/later").then_some(())
    });
    cluster.forget(namespace);
}

fn publish(cluster: &Cluster, namespace: &str, pod: &str) {
    let url = "http://127.0.0.1:3500/v1.0/publish/broker/orders";
    let header = format!("--header=dapr-api-token: {API_TOKEN}");
    let command = ["call", url, &header, "--data={}", "--expect=204"];
    let said = cluster.in_pod(namespace, pod, &command);
    assert!(said.succeeded, "{}{}", said.out, said.err);
    let refused = cluster
        .in_pod(namespace, pod, &["call", url, "--data={}"])
        .out;
    assert!(refused.starts_with("401\n"), "{refused}");
}

fn taken(cluster: &Cluster, namespace: &str, pod: &str, expected: &str) {
    eventually_blocking("the app has the message", || {
        let said = cluster.in_pod(namespace, pod, &["call", "http://127.0.0.1:8080/taken"]);
        (said.out.trim_end() == format!("200\n{expected}")).then_some(())
    });
}
