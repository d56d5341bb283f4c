//! Many pods at once, and what a sidecar adds to the start of one.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidegate::testing::eventually::eventually_blocking;

use crate::cluster::{Cluster, PATIENCE, SYSTEM};
use crate::pods::{container, deployment, pod, serving, sidecars, template};

const PODS: u32 = 500;
const FAKE_NODES: u32 = 5;
const STARTS: u32 = 7;

/// 500 pods of one Deployment on nodes that nobody runs: what the webhook took, and what it needs.
pub(crate) fn of_500_pods(cluster: &Cluster) {
    let namespace = "scale";
    cluster.namespace(namespace);
    make_nodes(cluster);
    let annotations = json!({ "dapr.io/enabled": "true", "dapr.io/app-id": "app" });
    let mut template = template(&annotations, &container(cluster, &["wait"]));
    template["spec"]["nodeSelector"] = json!({ "fake": "true" });
    template["spec"]["tolerations"] = json!([{ "operator": "Exists" }]);
    cluster.apply(namespace, &[deployment("app", PODS, &template)]);
    let pods = eventually_blocking("all pods have nodes", || {
        let pods = cluster.objects(namespace, "pods", "app=app");
        let placed = pods
            .iter()
            .filter(|pod| pod["spec"]["nodeName"].is_string());
        (placed.count() == PODS as usize).then_some(pods)
    });
    assert!(pods.iter().all(|pod| sidecars(pod).len() == 1));

    let client = template_without_sidecar(cluster);
    cluster.apply(namespace, &[pod("client", &client)]);
    cluster.kubectl(&format!(
        "-n {namespace} wait --for=condition=Ready pod/client {PATIENCE}"
    ));
    let selector = "app.kubernetes.io/component=injector";
    for injector in cluster.objects(SYSTEM, "pods", selector) {
        let url = format!(
            "http://{}:9090/metrics",
            injector["status"]["podIP"].as_str().unwrap()
        );
        let metrics = cluster.in_pod(namespace, "client", &["call", "--expect=200", &url]);
        let (count, p99) = quantile(&metrics.out, 0.99);
        let memory = resident(cluster, injector["metadata"]["name"].as_str().unwrap());
        println!("   an injector: {count} reviews, 99 % within {p99} s; {memory} of memory in use");
    }
    // Without their nodes the cluster collects the pods by itself.
    cluster.kubectl("delete nodes -l fake=true");
    cluster.forget(namespace);
}

fn make_nodes(cluster: &Cluster) {
    let names: Vec<_> = (0..FAKE_NODES)
        .map(|number| format!("fake-{number}"))
        .collect();
    let node = |name: &String| {
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": { "name": name, "labels": { "fake": "true" } },
            "spec": { "taints": [{ "key": "fake", "effect": "NoSchedule" }] },
        })
    };
    cluster.apply("default", &names.iter().map(node).collect::<Vec<_>>());
    let status = json!({
        "status": {
            "capacity": { "pods": "110", "cpu": "64", "memory": "256Gi" },
            "allocatable": { "pods": "110", "cpu": "64", "memory": "256Gi" },
            "conditions": [{ "type": "Ready", "status": "True", "reason": "Fake" }],
        },
    });
    let status = status.to_string();
    for name in &names {
        cluster.kubectl_with(&["patch", "node", name, "--subresource=status", "-p", &status]);
    }
}

fn template_without_sidecar(cluster: &Cluster) -> Value {
    let mut client = template(&json!({}), &container(cluster, &["wait"]));
    client["metadata"]["labels"] = json!({ "app": "client" });
    client["spec"]["terminationGracePeriodSeconds"] = json!(0);
    client
}

/// The number of injections, and the bucket of the histogram that holds the quantile.
fn quantile(metrics: &str, quantile: f64) -> (u64, String) {
    let name = "sidegate_injector_review_duration_seconds_bucket";
    let buckets: Vec<(String, u64)> = metrics
        .lines()
        .filter(|line| line.starts_with(name) && line.contains("outcome=\"injected\""))
        .filter_map(|line| {
            let (_, after) = line.split_once("le=\"")?;
            let (bound, after) = after.split_once('"')?;
            let (_, count) = after.rsplit_once(' ')?;
            Some((bound.to_owned(), count.parse().ok()?))
        })
        .collect();
    let total = buckets.last().map_or(0, |(_, count)| *count);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let within = |count: u64| count as f64 >= quantile * total as f64;
    let bound = buckets.iter().find(|(_, count)| within(*count));
    (
        total,
        bound.map_or("?".to_owned(), |(bound, _)| bound.clone()),
    )
}

/// What the kubelet says that a pod of the system namespace keeps in memory.
fn resident(cluster: &Cluster, pod: &str) -> String {
    let node = cluster.object(SYSTEM, "pod", pod)["spec"]["nodeName"].clone();
    let path = format!(
        "/api/v1/nodes/{}/proxy/stats/summary",
        node.as_str().unwrap()
    );
    let summary: Value =
        serde_json::from_str(&cluster.kubectl_with(&["get", "--raw", &path])).unwrap();
    let pods = summary["pods"].as_array().unwrap();
    let found = pods.iter().find(|entry| entry["podRef"]["name"] == pod);
    let bytes =
        found.and_then(|entry| entry["containers"][0]["memory"]["workingSetBytes"].as_u64());
    bytes.map_or("an unknown amount".to_owned(), |bytes| {
        format!("{} KiB", bytes / 1024)
    })
}

/// The time from `kubectl apply` to ready, with a sidecar and without. Printed, not judged: other
/// work on the machine decides it too.
pub(crate) fn of_time_to_ready(cluster: &Cluster) {
    let namespace = "starts";
    cluster.namespace(namespace);
    let enabled = |native: &str| {
        json!({
            "dapr.io/enabled": "true",
            "dapr.io/app-id": "app",
            "dapr.io/enable-native-sidecar": native,
        })
    };
    let kinds = [
        ("without", json!({})),
        ("native", enabled("true")),
        ("container", enabled("false")),
    ];
    let mut times = kinds.each_ref().map(|_| Vec::new());
    for number in 0..STARTS {
        for ((name, annotations), times) in kinds.iter().zip(&mut times) {
            let template = template(annotations, &serving(cluster));
            let name = format!("{name}-{number}");
            times.push(start(cluster, namespace, &name, &template));
        }
    }
    let [without, native, container] = times.map(median);
    println!(
        "   ready after {without:?} without a sidecar, {native:?} with a native one, \
         {container:?} with one among the containers"
    );
    cluster.forget(namespace);
}

fn start(cluster: &Cluster, namespace: &str, name: &str, template: &Value) -> Duration {
    let start = Instant::now();
    cluster.apply(namespace, &[pod(name, template)]);
    cluster.kubectl(&format!(
        "-n {namespace} wait --for=condition=Ready pod/{name} {PATIENCE}"
    ));
    let elapsed = start.elapsed();
    cluster.kubectl(&format!(
        "-n {namespace} delete pod {name} --grace-period=0 --force"
    ));
    elapsed
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
