//! Another version of the chart, back, and away; and the way of GitOps tools.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::install::{helm_install, images, uninstall};
use crate::cluster::{Cluster, PATIENCE, SYSTEM};

const CERTIFICATE: &str = "sidegate-injector-certificate";

/// To a later chart and back: the certificate and the pods of users stay.
pub(crate) fn there_and_back(cluster: &Cluster) {
    let later = tempfile::tempdir().unwrap();
    let chart = later.path().join("sidegate");
    copy(Path::new("charts/sidegate"), &chart);
    let file = chart.join("Chart.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let version = concat!("version: ", env!("CARGO_PKG_VERSION"));
    assert!(text.contains(version), "{text}");
    fs::write(&file, text.replacen(version, "version: 99.0.0", 1)).unwrap();

    let before = certificate(cluster);
    helm_install(
        cluster,
        chart.to_str().unwrap(),
        &["--set=podLabels.later=yes"],
    );
    let installed = cluster.helm(&["list", "--namespace", SYSTEM]);
    assert!(installed.contains("sidegate-99.0.0"), "{installed}");
    assert_eq!(
        certificate(cluster),
        before,
        "an upgrade keeps the certificate"
    );
    cluster.helm(&[
        "rollback",
        "sidegate",
        "--namespace",
        SYSTEM,
        "--wait",
        PATIENCE,
    ]);
    cluster.rolled_out(SYSTEM, "deployment/sidegate-injector");
    assert_eq!(certificate(cluster), before, "and so does the way back");
    cluster.helm(&["test", "sidegate", "--namespace", SYSTEM, PATIENCE]);
}

fn certificate(cluster: &Cluster) -> Value {
    let data = cluster.object(SYSTEM, "secret", CERTIFICATE)["data"].clone();
    assert!(data.is_object(), "the injector keeps its certificate there");
    data
}

/// What `helm template` renders is applied twice: nothing drifts.
pub(crate) fn by_templates_does_not_drift(cluster: &Cluster) {
    uninstall(cluster);
    cluster.namespace(SYSTEM);
    let render = || {
        let mut arguments = vec![
            "template",
            "sidegate",
            "charts/sidegate",
            "--namespace",
            SYSTEM,
        ];
        arguments.push("--skip-tests");
        let images = images(cluster);
        arguments.extend(images.iter().map(String::as_str));
        cluster.helm(&arguments)
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sidegate.yaml");
    let rendered = render();
    assert_eq!(
        rendered,
        render(),
        "two renderings are the same to the byte"
    );
    fs::write(&file, rendered).unwrap();
    let file = file.display().to_string();
    cluster.kubectl(&format!("-n {SYSTEM} apply -f {file}"));
    cluster.rolled_out(SYSTEM, "deployment/sidegate-injector");
    let before = certificate(cluster);
    let generations = || {
        let path = "jsonpath={range .items[*]}{.kind} {.metadata.generation}{\"\\n\"}{end}";
        cluster.kubectl_with(&["-n", SYSTEM, "get", "-f", &file, "-o", path])
    };
    let generation = generations();
    cluster.kubectl(&format!("-n {SYSTEM} apply -f {file}"));
    assert_eq!(generations(), generation, "nothing is changed again");
    let drift = cluster.try_kubectl(&format!("-n {SYSTEM} diff -f {file}"));
    assert_eq!(
        (drift.succeeded, drift.out.as_str()),
        (true, ""),
        "{}",
        drift.err
    );
    assert_eq!(certificate(cluster), before);
    cluster.kubectl(&format!("-n {SYSTEM} delete -f {file}"));
    cluster.kubectl(&format!("delete namespace {SYSTEM} {PATIENCE}"));
    helm_install(cluster, "charts/sidegate", &[]);
}

/// Nothing stays but what users made, and the kinds of their resources.
pub(crate) fn away_leaves_nothing(cluster: &Cluster) {
    uninstall(cluster);
    let kinds = cluster.kubectl("api-resources --verbs=list -o name");
    let kinds: Vec<_> = kinds
        .lines()
        .filter(|kind| !kind.starts_with("events"))
        .collect();
    let left = cluster.kubectl(&format!(
        "get {} -A -l app.kubernetes.io/instance=sidegate -o name",
        kinds.join(",")
    ));
    assert_eq!(left, "");
    let configurations = "mutatingwebhookconfigurations,validatingwebhookconfigurations";
    let left = cluster.kubectl(&format!("get {configurations} -o name"));
    assert!(!left.contains("sidegate"), "{left}");
    let kinds = cluster.kubectl("get customresourcedefinitions -o name");
    assert!(
        kinds.contains("components.dapr.io"),
        "the resources of users stay: {kinds}"
    );
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp")
        .arg("-r")
        .args([from, to])
        .status()
        .unwrap();
    assert!(copied.success());
}
