//! Certificates that live for seconds.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::install::{helm_install, uninstall};
use crate::cluster::{Cluster, PATIENCE, SYSTEM};
use crate::pods::{container, pod, sidecars, template};

/// Changes of the certificate, and among them of its CA, that have to pass.
const ROTATIONS: usize = 5;
const AUTHORITIES: usize = 2;

/// Ten lives of a CA: where nothing changed in them, nothing will.
const FOREVER: Duration = Duration::from_secs(540);

/// Pods are created all the time while certificates change again and again: each gets its sidecar.
pub(crate) fn rotate_while_pods_are_created(cluster: &Cluster) {
    let namespace = "rotating";
    cluster.namespace(namespace);
    let lifetimes = [
        "--set=certificate.self.caLifetime=54s",
        "--set=certificate.self.leafLifetime=18s",
        "--set=certificate.self.propagationWait=5s",
    ];
    let before = injectors(cluster);
    helm_install(cluster, "charts/sidegate", &lifetimes);
    // Injectors serve for a while after their end was asked for. One of those that were there
    // would write a certificate that is good for months.
    for pod in before {
        cluster.kubectl(&format!(
            "-n {SYSTEM} wait --for=delete pod/{pod} {PATIENCE}"
        ));
    }
    // The certificate that is there would be good for months: an empty Secret is a change of CA.
    let remove = r#"[{"op":"remove","path":"/data"}]"#;
    let secret = [
        "secret",
        "sidegate-injector-certificate",
        "--type=json",
        "-p",
        remove,
    ];
    cluster.kubectl_with(&[&["-n", SYSTEM, "patch"], &secret[..]].concat());
    let annotations = json!({ "dapr.io/enabled": "true", "dapr.io/app-id": "app" });
    let pod = pod(
        "new",
        &template(&annotations, &container(cluster, &["wait"])),
    );
    let [mut certificates, mut authorities] = [const { BTreeSet::new() }; 2];
    let (mut made, mut most_trusted) = (0, 0);
    let start = Instant::now();
    while certificates.len() <= ROTATIONS || authorities.len() <= AUTHORITIES {
        for _ in 0..5 {
            // The API server calls the webhooks of a dry run as those of any other request.
            assert_eq!(sidecars(&cluster.dry_run(namespace, &pod)).len(), 1);
            made += 1;
        }
        let secret = cluster.object(SYSTEM, "secret", "sidegate-injector-certificate");
        let authority = decoded(&secret["data"]["ca.crt"]);
        let webhook = cluster.object(SYSTEM, "mutatingwebhookconfiguration", "sidegate-injector");
        let bundle = decoded(&webhook["webhooks"][0]["clientConfig"]["caBundle"]);
        assert!(
            bundle.contains(authority.trim()),
            "the CA that signs is trusted: {authority}{bundle}"
        );
        most_trusted = most_trusted.max(bundle.matches("BEGIN").count());
        certificates.insert(secret["data"]["tls.crt"].to_string());
        authorities.insert(authority);
        assert!(
            start.elapsed() < FOREVER,
            "{} certificates and {} authorities after {made} pods",
            certificates.len(),
            authorities.len()
        );
    }
    let (changes, of_authority) = (certificates.len() - 1, authorities.len() - 1);
    println!(
        "   {made} pods while the certificate changed {changes} times, and its CA {of_authority} \
         times"
    );
    assert!(
        most_trusted > 1,
        "the old and the new CA stand together for a while"
    );
    cluster.forget(namespace);
    uninstall(cluster);
    helm_install(cluster, "charts/sidegate", &[]);
}

fn injectors(cluster: &Cluster) -> Vec<String> {
    let pods = cluster.objects(SYSTEM, "pods", "app.kubernetes.io/component=injector");
    let name = |pod: &Value| pod["metadata"]["name"].as_str().unwrap().to_owned();
    pods.iter().map(name).collect()
}

fn decoded(base64: &Value) -> String {
    let bytes: ByteString = serde_json::from_value(base64.clone()).unwrap();
    String::from_utf8(bytes.0).unwrap()
}
