//! Certificates that live for seconds.

use std::collections::BTreeSet;

use serde_json::json;

use super::install::{helm_install, uninstall};
use crate::cluster::{Cluster, SYSTEM};
use crate::pods::{container, pod, sidecars, template};

/// Changes of the certificate, and among them of its CA, that have to pass.
const ROTATIONS: usize = 5;
const AUTHORITIES: usize = 2;

/// Pods are created all the time while certificates change again and again: each gets its sidecar.
pub(crate) fn rotate_while_pods_are_created(cluster: &Cluster) {
    let namespace = "rotating";
    cluster.namespace(namespace);
    let lifetimes = [
        "--set=certificate.self.caLifetime=54s",
        "--set=certificate.self.leafLifetime=18s",
        "--set=certificate.self.propagationWait=5s",
    ];
    helm_install(cluster, "charts/sidegate", &lifetimes);
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
    let [mut certificates, mut authorities, mut bundles] = [const { BTreeSet::new() }; 3];
    let mut made = 0;
    while certificates.len() <= ROTATIONS || authorities.len() <= AUTHORITIES {
        for _ in 0..5 {
            // The API server calls the webhooks of a dry run as those of any other request.
            assert_eq!(sidecars(&cluster.dry_run(namespace, &pod)).len(), 1);
            made += 1;
        }
        let secret = cluster.object(SYSTEM, "secret", "sidegate-injector-certificate");
        certificates.insert(secret["data"]["tls.crt"].to_string());
        authorities.insert(secret["data"]["ca.crt"].to_string());
        let webhook = cluster.object(SYSTEM, "mutatingwebhookconfiguration", "sidegate-injector");
        bundles.insert(webhook["webhooks"][0]["clientConfig"]["caBundle"].to_string());
    }
    let (changes, of_authority) = (certificates.len() - 1, authorities.len() - 1);
    println!(
        "   {made} pods while the certificate changed {changes} times, and its CA {of_authority} \
         times"
    );
    assert!(
        bundles.len() > authorities.len(),
        "the old and the new CA stand together for a while"
    );
    cluster.forget(namespace);
    uninstall(cluster);
    helm_install(cluster, "charts/sidegate", &[]);
}
