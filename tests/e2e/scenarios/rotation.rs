//! New tokens for an application that serves.

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::pods::{
    API_TOKEN, APP_TOKEN, container, deployment, pod, service, serving, template, tokens,
    with_tokens_for_the_app,
};

/// The requests that the application has to answer meanwhile, at the least.
const REQUESTS: u64 = 5000;

pub(crate) fn loses_no_request(cluster: &Cluster) {
    let namespace = "rotation";
    cluster.namespace(namespace);
    cluster.apply(namespace, &tokens(API_TOKEN, APP_TOKEN));
    let app = template(&with_tokens_for_the_app(), &serving(cluster));
    let client = json!({
        "metadata": { "labels": { "app": "client" } },
        "spec": {
            "containers": [container(cluster, &["wait"])],
            "terminationGracePeriodSeconds": 0,
        },
    });
    let objects = [
        deployment("app", 3, &app),
        service("app"),
        pod("client", &client),
    ];
    cluster.apply(namespace, &objects);
    cluster.rolled_out(namespace, "deployment/app");
    cluster.kubectl(&format!(
        "-n {namespace} wait --for=condition=Ready pod/client"
    ));
    let front = format!("http://app.{namespace}.svc.cluster.local/front");
    // A Service that is new is refused for a moment, until the node knows it.
    let answers = || {
        let answer = cluster.in_pod(namespace, "client", &["call", "--expect=200", &front]);
        answer.succeeded.then_some(())
    };
    sidegate::testing::eventually::eventually_blocking("the service answers", answers);

    let at_least = format!("--at-least={REQUESTS}");
    let load = cluster.start_in_pod(namespace, "client", &["load", &at_least, &front]);
    cluster.apply(namespace, &tokens("api-token-2", "app-token-2"));
    for _ in 0..2 {
        cluster.kubectl(&format!("-n {namespace} rollout restart deployment/app"));
        cluster.rolled_out(namespace, "deployment/app");
    }
    // Waiting closes its standard input, which is its sign to end.
    let output = load.wait_with_output().unwrap();
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    println!("   {summary}");
    assert_eq!(summary["failed"], 0, "{summary}");
    assert!(summary["sent"].as_u64().unwrap() >= REQUESTS, "{summary}");

    old_tokens_are_refused(cluster, namespace);
    cluster.forget(namespace);
}

fn old_tokens_are_refused(cluster: &Cluster, namespace: &str) {
    let pods = cluster.objects(namespace, "pods", "app=app");
    let running: Vec<_> = pods
        .iter()
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        .collect();
    assert_eq!(running.len(), 3);
    for pod in running {
        let name = pod["metadata"]["name"].as_str().unwrap();
        let url = "http://127.0.0.1:3500/v1.0/invoke/app/method/hello";
        let call = |token: &str| {
            let header = format!("--header=dapr-api-token: {token}");
            cluster.in_pod(namespace, name, &["call", &header, url]).out
        };
        assert!(call(API_TOKEN).starts_with("401\n"), "{name}");
        let answer = call("api-token-2");
        assert_eq!(
            answer.trim_end(),
            "200\nhello, token \"app-token-2\"",
            "{name}"
        );
    }
}
