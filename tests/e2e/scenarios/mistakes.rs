//! What users get wrong, and where they read what it was.

use serde_json::{Value, json};
use sidegate::testing::eventually::eventually_blocking;

use crate::cluster::{Cluster, Said};
use crate::pods::{
    API_TOKEN, APP_TOKEN, deployment, pod, secret, serving, template, tokens, with_tokens,
};

pub(crate) fn in_tokens_are_named(cluster: &Cluster) {
    let namespace = "mistakes";
    cluster.namespace(namespace);
    cluster.apply(namespace, &tokens(API_TOKEN, APP_TOKEN));
    cluster.apply(namespace, &[secret("blank", " \n")]);
    let other_key = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "other-key" },
        "stringData": { "password": "x" },
    });
    // "plain text" with the alphabet of base64, pasted where base64 is expected: it decodes.
    let pasted = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "pasted" },
        "data": { "token": "q83vEjRWeJq83vEjRWeJ" },
    });
    cluster.apply(namespace, &[other_key, pasted]);

    for (name, api_secret) in [
        ("missing-secret", "nowhere"),
        ("missing-key", "other-key"),
        ("blank-token", "blank"),
        ("pasted-token", "pasted"),
    ] {
        let mut annotations = with_tokens();
        annotations["dapr.io/api-token-secret"] = json!(api_secret);
        cluster.apply(
            namespace,
            &[pod(name, &template(&annotations, &serving(cluster)))],
        );
    }
    describes(
        cluster,
        namespace,
        "missing-secret",
        "secret \"nowhere\" not found",
    );
    describes(
        cluster,
        namespace,
        "missing-key",
        "couldn't find key token in Secret",
    );
    logs(cluster, namespace, "blank-token", &["DAPR_API_TOKEN"]);
    fails(cluster, namespace, "pasted-token");
    cluster.forget(namespace);
}

/// `kubectl describe` says it.
fn describes(cluster: &Cluster, namespace: &str, pod: &str, cause: &str) {
    eventually_blocking(&format!("describe says {cause}"), || {
        let described = cluster.kubectl(&format!("-n {namespace} describe pod {pod}"));
        described.contains(cause).then_some(())
    });
}

/// The log of the sidecar says it, in one line.
fn logs(cluster: &Cluster, namespace: &str, pod: &str, words: &[&str]) {
    eventually_blocking(&format!("the log of {pod} says {words:?}"), || {
        let said = log(cluster, namespace, pod);
        let mut lines = said.out.lines();
        lines
            .any(|line| words.iter().all(|word| line.contains(word)))
            .then_some(())
    });
}

/// The sidecar does not start with a token that no client can send, and says why.
fn fails(cluster: &Cluster, namespace: &str, pod: &str) {
    let said = eventually_blocking("a token that is no text is refused", || {
        let described = cluster.kubectl(&format!("-n {namespace} describe pod {pod}"));
        let log = log(cluster, namespace, pod).out;
        let refused = log.contains("DAPR_API_TOKEN") || described.contains("UTF-8");
        refused.then(|| format!("{log}{described}"))
    });
    let object = cluster.object(namespace, "pod", pod);
    assert!(object["status"]["phase"] != "Running", "{said}");
}

fn log(cluster: &Cluster, namespace: &str, pod: &str) -> Said {
    cluster.try_kubectl(&format!("-n {namespace} logs {pod} -c daprd --tail=20"))
}

pub(crate) fn in_annotations_are_told_at_apply_time(cluster: &Cluster) {
    let namespace = "typos";
    cluster.namespace(namespace);
    cluster.apply(namespace, &tokens(API_TOKEN, APP_TOKEN));
    let advice = |name: &str, annotations: Value| {
        let mut template = template(&annotations, &serving(cluster));
        template["spec"]["containers"][0]["envFrom"] =
            json!([{ "secretRef": { "name": "app-api-token" } }]);
        cluster.apply(namespace, &[deployment(name, 0, &template)])
    };
    for (name, key, value, words) in [
        ("key", "dapr.io/enable", "true", "\"dapr.io/enabled\""),
        ("yes", "dapr.io/enabled", "yes", "\"yes\""),
        ("port", "dapr.io/app-port", "80a", "\"80a\""),
        ("env", "dapr.io/app-port", "8080", "app-env-tokens"),
    ] {
        let mut annotations = with_tokens();
        annotations[key] = json!(value);
        let told = advice(name, annotations);
        assert!(told.contains("Warning: "), "{name}: {told}");
        assert!(told.contains(key) || name == "env", "{name}: {told}");
        assert!(told.contains(words), "{name}: {told}");
    }
    // A template without a mistake brings none.
    let right = template(&with_tokens(), &serving(cluster));
    let told = cluster.apply(namespace, &[deployment("right", 0, &right)]);
    assert_eq!(told, "");

    // A bare pod is refused where its annotations cannot work.
    let mut annotations = with_tokens();
    annotations["dapr.io/app-port"] = json!("99999");
    let said = cluster.try_apply(
        namespace,
        &[pod("bad", &template_of(cluster, &annotations))],
    );
    assert!(!said.succeeded, "{said:?}");
    for word in ["dapr.io/app-port", "99999", "1-65535"] {
        assert!(said.err.contains(word), "{said:?}");
    }
    cluster.forget(namespace);
}

fn template_of(cluster: &Cluster, annotations: &Value) -> Value {
    template(annotations, &serving(cluster))
}
