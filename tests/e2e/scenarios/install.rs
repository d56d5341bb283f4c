//! The chart, as the guide says to install it.

use crate::cluster::{Cluster, PATIENCE, SYSTEM};

/// The arguments of `helm install` and `helm upgrade` that name the images under test.
pub(crate) fn images(cluster: &Cluster) -> Vec<String> {
    let (repository, tag) = cluster.image.rsplit_once(':').unwrap();
    let (registry, name) = repository.split_once('/').unwrap();
    vec![
        format!("--set=image.registry={registry}"),
        format!("--set=image.repository={name}"),
        format!("--set=image.tag={tag}"),
    ]
}

/// Runs `helm upgrade --install` with the chart of the tree and these settings, and waits.
pub(crate) fn helm_install(cluster: &Cluster, chart: &str, settings: &[&str]) {
    let mut arguments = vec![
        "upgrade",
        "--install",
        "sidegate",
        chart,
        "--namespace",
        SYSTEM,
    ];
    arguments.extend(["--create-namespace", "--wait", PATIENCE]);
    let images = images(cluster);
    arguments.extend(images.iter().map(String::as_str));
    arguments.extend(settings);
    cluster.helm(&arguments);
}

/// Runs `helm uninstall`, and deletes the namespace too.
pub(crate) fn uninstall(cluster: &Cluster) {
    cluster.helm(&[
        "uninstall",
        "sidegate",
        "--namespace",
        SYSTEM,
        "--wait",
        PATIENCE,
    ]);
    let left = cluster.kubectl(&format!("-n {SYSTEM} get secrets -o name"));
    assert_eq!(left, "", "no key stays behind");
    cluster.kubectl(&format!("delete namespace {SYSTEM} {PATIENCE}"));
}

pub(crate) fn installs_and_passes_its_own_test(cluster: &Cluster) {
    helm_install(cluster, "charts/sidegate", &[]);
    cluster.rolled_out(SYSTEM, "deployment/sidegate-injector");
    let said = cluster.helm(&["test", "sidegate", "--namespace", SYSTEM, PATIENCE]);
    assert!(said.contains("Succeeded"), "{said}");
}
