//! Replicas of the injector die.

use serde_json::{Value, json};
use sidegate::testing::eventually::eventually_blocking;

use crate::cluster::{Cluster, SYSTEM};
use crate::pods::{container, deployment, sidecars, template};

const PODS: u32 = 100;
const INJECTOR: &str = "app.kubernetes.io/component=injector";

/// A pod that is injected and costs nothing: no node takes it.
fn unscheduled(cluster: &Cluster, annotations: &Value) -> Value {
    let mut template = template(annotations, &container(cluster, &["wait"]));
    template["spec"]["nodeSelector"] = json!({ "no-such-node": "true" });
    template
}

/// One replica is killed while 100 pods are created, three times: all of them are injected.
pub(crate) fn of_one_replica_is_not_seen(cluster: &Cluster) {
    let namespace = "one-replica";
    cluster.namespace(namespace);
    let annotations = json!({ "dapr.io/enabled": "true", "dapr.io/app-id": "app" });
    for name in ["first", "second", "third"] {
        let mut template = unscheduled(cluster, &annotations);
        template["metadata"]["labels"] = json!({ "app": name });
        cluster.apply(namespace, &[deployment(name, PODS, &template)]);
        cluster.kill_a_replica();
        let pods = eventually_blocking("all pods are created", || {
            let pods = cluster.objects(namespace, "pods", &format!("app={name}"));
            (pods.len() == PODS as usize).then_some(pods)
        });
        for pod in &pods {
            assert_eq!(sidecars(pod).len(), 1, "{}", pod["metadata"]["name"]);
        }
        cluster.rolled_out(SYSTEM, "deployment/sidegate-injector");
    }
    cluster.forget(namespace);
}

/// All replicas are gone: annotated pods are refused and say why, others are created as ever, and
/// everything recovers without help.
pub(crate) fn of_all_replicas_touches_annotated_pods_only(cluster: &Cluster) {
    let namespace = "no-replica";
    cluster.namespace(namespace);
    cluster.kubectl(&format!(
        "-n {SYSTEM} scale deployment sidegate-injector --replicas=0"
    ));
    eventually_blocking("no injector is left", || {
        cluster
            .objects(SYSTEM, "pods", INJECTOR)
            .is_empty()
            .then_some(())
    });
    let annotations = json!({ "dapr.io/enabled": "true", "dapr.io/app-id": "app" });
    let annotated = unscheduled(cluster, &annotations);
    let mut plain = unscheduled(cluster, &json!({}));
    plain["metadata"]["labels"] = json!({ "app": "plain" });
    cluster.apply(
        namespace,
        &[
            deployment("annotated", 2, &annotated),
            deployment("plain", 2, &plain),
        ],
    );
    eventually_blocking("the others are created", || {
        (cluster.objects(namespace, "pods", "app=plain").len() == 2).then_some(())
    });
    for kind in ["replicaset", "deployment"] {
        let reason = eventually_blocking(&format!("the {kind} says why"), || {
            let objects = cluster.objects(namespace, kind, "app=app");
            let objects = match objects.is_empty() {
                true => vec![cluster.object(namespace, "deployment", "annotated")],
                false => objects,
            };
            let conditions = objects[0]["status"]["conditions"].as_array()?.clone();
            let failure = conditions
                .into_iter()
                .find(|one| one["type"] == "ReplicaFailure")?;
            Some(failure["message"].as_str()?.to_owned())
        });
        assert!(reason.contains("injector.sidegate.dev"), "{reason}");
    }
    assert!(cluster.objects(namespace, "pods", "app=app").is_empty());

    cluster.kubectl(&format!(
        "-n {SYSTEM} scale deployment sidegate-injector --replicas=2"
    ));
    cluster.rolled_out(SYSTEM, "deployment/sidegate-injector");
    let pods = eventually_blocking("the refused pods are created", || {
        let pods = cluster.objects(namespace, "pods", "app=app");
        (pods.len() == 2).then_some(pods)
    });
    assert!(pods.iter().all(|pod| sidecars(pod).len() == 1));
    cluster.forget(namespace);
}
