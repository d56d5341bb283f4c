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

pub(crate) fn installs_and_passes_its_own_test(cluster: &Cluster) {
    helm_install(cluster, "charts/sidegate", &[]);
    cluster.rolled_out(SYSTEM, "deployment/sidegate-injector");
    let said = cluster.helm(&["test", "sidegate", "--namespace", SYSTEM, PATIENCE]);
    assert!(said.contains("Succeeded"), "{said}");
}
