//! Other webhooks that mutate the same pods, and another injector of Dapr's kind.

use serde_json::{Value, json};
use sidegate::testing::certificates::Authority;
use sidegate::testing::eventually::eventually_blocking;

use super::install::helm_install;
use crate::cluster::{Cluster, PATIENCE};
use crate::pods::{
    API_TOKEN, APP_TOKEN, container, deployment, pod, serving, sidecars, template, tokens,
    with_tokens, with_tokens_for_the_app,
};

/// A webhook of somebody else's.
struct Neighbour<'a> {
    /// Of its configuration; the API server calls webhooks in the order of these names.
    name: &'a str,
    /// Of the webhook in it.
    webhook: &'a str,
    additions: Value,
    namespace_selector: Value,
}

/// Runs the webhook in a namespace of its own.
fn settle(cluster: &Cluster, neighbour: &Neighbour<'_>) {
    let name = neighbour.name;
    cluster.namespace(name);
    let authority = Authority::new();
    let identity = authority.issue(&[&format!("webhook.{name}.svc")]);
    let mut container = container(
        cluster,
        &[
            "neighbour",
            "--certificate=/tls/tls.crt",
            "--key=/tls/tls.key",
            "/additions/additions.json",
        ],
    );
    container["readinessProbe"] = json!({ "tcpSocket": { "port": 8443 }, "periodSeconds": 1 });
    container["volumeMounts"] = json!([
        { "name": "tls", "mountPath": "/tls" },
        { "name": "additions", "mountPath": "/additions" },
    ]);
    let mut template = template(&json!({}), &container);
    template["spec"]["volumes"] = json!([
        { "name": "tls", "secret": { "secretName": "tls" } },
        { "name": "additions", "configMap": { "name": "additions" } },
    ]);
    cluster.apply(
        name,
        &[
            json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": { "name": "tls" },
                "stringData": { "tls.crt": identity.certificate, "tls.key": identity.key },
            }),
            json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": { "name": "additions" },
                "data": { "additions.json": neighbour.additions.to_string() },
            }),
            json!({
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": { "name": "webhook" },
                "spec": {
                    "selector": { "app": "app" },
                    "ports": [{ "port": 443, "targetPort": 8443 }],
                },
            }),
            deployment("webhook", 1, &template),
        ],
    );
    cluster.rolled_out(name, "deployment/webhook");
    cluster.apply(name, &[registration(neighbour, authority.certificate())]);
}

/// What makes the API server call it.
fn registration(neighbour: &Neighbour<'_>, bundle: String) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": neighbour.name },
        "webhooks": [{
            "name": neighbour.webhook,
            "clientConfig": {
                "service": { "namespace": neighbour.name, "name": "webhook", "path": "/mutate" },
                "caBundle": k8s_openapi::ByteString(bundle.into_bytes()),
            },
            "rules": [{
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["pods"],
            }],
            "namespaceSelector": neighbour.namespace_selector,
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "reinvocationPolicy": "IfNeeded",
            "failurePolicy": "Fail",
        }],
    })
}

fn leave(cluster: &Cluster, neighbour: &str) {
    cluster.kubectl(&format!("delete mutatingwebhookconfiguration {neighbour}"));
    cluster.forget(neighbour);
}

/// Selects the namespaces with the label `neighbours: VALUE`.
fn labelled(value: &str) -> Value {
    json!({ "matchLabels": { "neighbours": value } })
}

fn labelled_namespace(cluster: &Cluster, name: &str, value: &str) {
    cluster.namespace(name);
    cluster.kubectl(&format!("label namespace {name} neighbours={value}"));
    cluster.apply(name, &tokens(API_TOKEN, APP_TOKEN));
}

/// Makes a pod that reaches the API server through every webhook that is new: those may not be
/// known to it for a moment.
fn ready_pod(cluster: &Cluster, namespace: &str, template: &Value, additions: &[&str]) -> Value {
    eventually_blocking("a pod with the additions of all webhooks", || {
        cluster.apply(namespace, &[pod("app", template)]);
        let made = cluster.object(namespace, "pod", "app");
        let text = made.to_string();
        if additions.iter().all(|addition| text.contains(addition)) {
            return Some(());
        }
        cluster.kubectl(&format!(
            "-n {namespace} delete pod app --grace-period=0 --force"
        ));
        None
    });
    cluster.kubectl(&format!(
        "-n {namespace} wait --for=condition=Ready pod/app {PATIENCE}"
    ));
    cluster.object(namespace, "pod", "app")
}

/// The environment variable of a container.
fn variable<'a>(container: &'a Value, name: &str) -> &'a Value {
    let entries = container["env"].as_array().unwrap();
    let mut found = entries.iter().filter(|entry| entry["name"] == name);
    let first = found
        .next()
        .unwrap_or_else(|| panic!("no {name} in {container:#}"));
    assert!(found.next().is_none(), "{name} twice in {container:#}");
    first
}

pub(crate) fn add_before_and_after_us(cluster: &Cluster) {
    let proxy = json!({
        "name": "proxy",
        "image": cluster.app_image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["serve", "--port=9999"],
    });
    let token = json!({
        "name": "cloud-token",
        "projected": {
            "sources": [{ "serviceAccountToken": { "audience": "cloud", "path": "token" } }],
        },
    });
    let before = Neighbour {
        name: "a-identity",
        webhook: "identity.example.com",
        additions: json!({
            "volumes": [token],
            "volumeMounts": [{ "name": "cloud-token", "mountPath": "/var/run/cloud" }],
            "env": [{ "name": "CLOUD_TOKEN_FILE", "value": "/var/run/cloud/token" }],
        }),
        namespace_selector: labelled("mesh"),
    };
    let after = Neighbour {
        name: "z-mesh",
        webhook: "mesh.example.com",
        additions: json!({
            "containers": [proxy],
            "env": [{ "name": "MESH", "value": "on" }],
        }),
        namespace_selector: labelled("mesh"),
    };
    settle(cluster, &before);
    settle(cluster, &after);
    let namespace = "meshed";
    labelled_namespace(cluster, namespace, "mesh");
    let template = template(&with_tokens_for_the_app(), &serving(cluster));
    let additions = ["CLOUD_TOKEN_FILE", "MESH", "daprd"];
    let made = ready_pod(cluster, namespace, &template, &additions);

    let found = sidecars(&made);
    assert_eq!(found.len(), 1, "{made:#}");
    let sidecar = found[0];
    for (name, secret) in [
        ("DAPR_API_TOKEN", "dapr-api-token"),
        ("APP_API_TOKEN", "app-api-token"),
    ] {
        let reference = &variable(sidecar, name)["valueFrom"]["secretKeyRef"];
        assert_eq!(reference["name"], secret, "{made:#}");
        assert_eq!(reference["key"], "token", "{made:#}");
    }
    // What the neighbours added to the sidecar stays, and so does what it had.
    variable(sidecar, "CLOUD_TOKEN_FILE");
    variable(sidecar, "MESH");
    let mounts = sidecar["volumeMounts"].as_array().unwrap();
    assert!(
        mounts.iter().any(|mount| mount["name"] == "cloud-token"),
        "{made:#}"
    );
    // Containers that came after us know where the sidecar is.
    for container in made["spec"]["containers"].as_array().unwrap() {
        if container["name"] != "daprd" {
            variable(container, "DAPR_HTTP_PORT");
        }
    }
    let header = format!("--header=dapr-api-token: {API_TOKEN}");
    let url = "http://127.0.0.1:3500/v1.0/invoke/app/method/hello";
    let answer = cluster.in_pod(namespace, "app", &["call", &header, url]);
    assert!(answer.out.starts_with("200\n"), "{answer:?}");
    cluster.forget(namespace);
    leave(cluster, "a-identity");
    leave(cluster, "z-mesh");
}

/// From another injector of Dapr's kind to ours, a namespace at a time.
pub(crate) fn of_daprs_kind_hand_over_a_namespace_at_a_time(cluster: &Cluster) {
    let dapr = Neighbour {
        name: "dapr-sidecar-injector",
        webhook: "sidecar-injector.dapr.io",
        additions: json!({
            "containers": [{
                "name": "daprd",
                "image": cluster.app_image,
                "imagePullPolicy": "IfNotPresent",
                "args": ["wait"],
                "env": [{ "name": "INJECTED_BY", "value": "another" }],
            }],
        }),
        namespace_selector: json!({
            "matchExpressions": [
                { "key": "neighbours", "operator": "In", "values": ["stays", "moves"] },
            ],
        }),
    };
    settle(cluster, &dapr);
    let ours = r#"--set-json=webhook.namespaceSelector={"matchExpressions":[
        {"key":"neighbours","operator":"NotIn","values":["stays","moves"]}]}"#;
    helm_install(cluster, "charts/sidegate", &[ours]);
    labelled_namespace(cluster, "stays", "stays");
    labelled_namespace(cluster, "moves", "moves");
    let template = template(&with_tokens(), &serving(cluster));
    for namespace in ["stays", "moves"] {
        let made = ready_pod(cluster, namespace, &template, &["INJECTED_BY"]);
        assert_eq!(sidecars(&made).len(), 1, "{made:#}");
    }

    cluster.kubectl("label namespace moves neighbours=moved --overwrite");
    cluster.kubectl("-n moves delete pod app --grace-period=0 --force");
    let made = ready_pod(cluster, "moves", &template, &["DAPR_API_TOKEN"]);
    let found = sidecars(&made);
    assert_eq!(found.len(), 1, "{made:#}");
    assert_eq!(found[0]["image"], cluster.image.as_str(), "{made:#}");
    let other = cluster.object("stays", "pod", "app");
    assert_eq!(sidecars(&other)[0]["image"], cluster.app_image.as_str());

    leave(cluster, "dapr-sidecar-injector");
    helm_install(cluster, "charts/sidegate", &[]);
    cluster.forget("stays");
    cluster.forget("moves");
}

/// What is done to pods and workloads besides creating them changes nothing of ours.
pub(crate) fn leave_alone_what_is_no_new_pod(cluster: &Cluster) {
    let namespace = "untouched";
    cluster.namespace(namespace);
    cluster.apply(namespace, &tokens(API_TOKEN, APP_TOKEN));
    let template = template(&with_tokens(), &serving(cluster));

    let dry = cluster.dry_run(namespace, &pod("dry", &template));
    assert_eq!(sidecars(&dry).len(), 1, "{dry:#}");
    let said = cluster.try_kubectl(&format!("-n {namespace} get pod dry"));
    assert!(!said.succeeded, "a dry run creates nothing");

    cluster.apply(namespace, &[pod("bare", &template)]);
    cluster.kubectl(&format!(
        "-n {namespace} wait --for=condition=Ready pod/bare {PATIENCE}"
    ));
    let before = cluster.object(namespace, "pod", "bare")["spec"].clone();
    let image = &cluster.app_image;
    cluster.kubectl(&format!(
        "-n {namespace} debug bare --image={image} --container=look --profile=general -- \
         /e2e-app wait"
    ));
    cluster.kubectl(&format!("-n {namespace} label pod bare changed=yes"));
    let mut after = cluster.object(namespace, "pod", "bare")["spec"].clone();
    let ephemeral = after
        .as_object_mut()
        .unwrap()
        .remove("ephemeralContainers")
        .unwrap();
    assert_eq!(ephemeral.as_array().unwrap().len(), 1);
    assert!(!ephemeral.to_string().contains("DAPR_"), "{ephemeral:#}");
    assert_eq!(before, after);

    cluster.apply(namespace, &[deployment("app", 1, &template)]);
    cluster.rolled_out(namespace, "deployment/app");
    let said = cluster.try_kubectl(&format!("-n {namespace} scale deployment app --replicas=2"));
    assert_eq!(said.err, "", "scaling brings no advice");
    cluster.kubectl(&format!("-n {namespace} set env deployment/app REVISION=2"));
    cluster.rolled_out(namespace, "deployment/app");
    cluster.kubectl(&format!("-n {namespace} rollout undo deployment/app"));
    cluster.rolled_out(namespace, "deployment/app");
    let made = cluster.object(namespace, "deployment", "app");
    let containers = made["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap();
    assert_eq!(
        containers.len(),
        1,
        "templates stay as users wrote them: {made:#}"
    );
    for pod in cluster.objects(namespace, "pods", "app=app") {
        assert_eq!(sidecars(&pod).len(), 1, "{pod:#}");
    }
    cluster.forget(namespace);
}
