//! The chart: what helm makes of it, and what the API server takes of that.

mod resources;
mod rights;
mod schema;
mod upgrade;
mod webhooks;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::api_server::{ApiServer, binaries};

/// The oldest version that the chart takes, which helm is told where it has no server to ask.
const KUBE_VERSION: &str = "--kube-version=1.30.0";

/// A path of the tree.
fn in_tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn chart() -> String {
    in_tree("charts/sidegate").display().to_string()
}

fn helm(arguments: &[&str]) -> Output {
    let command = Command::new(binaries().join("helm"))
        .args(arguments)
        .env("HELM_NAMESPACE", "sidegate-system")
        .output();
    command.unwrap()
}

/// What helm renders with `arguments`, in the namespace `sidegate-system`.
fn template(arguments: &[&str]) -> String {
    let chart = chart();
    let mut all = vec!["template", "sidegate", &chart, KUBE_VERSION];
    all.extend(arguments);
    let output = helm(&all);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "helm {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// The same as objects.
pub(crate) fn objects(arguments: &[&str]) -> Vec<Value> {
    let documents: Vec<Option<Value>> = serde_saphyr::from_multiple(&template(arguments)).unwrap();
    documents.into_iter().flatten().collect()
}

/// The one object of a kind and a name.
pub(crate) fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found: Vec<_> = objects
        .iter()
        .filter(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .collect();
    assert_eq!(found.len(), 1, "{kind} {name}");
    found[0]
}

/// A release in a namespace of its own, whose webhooks are called for another namespace only.
struct Release {
    name: String,
    namespace: String,
    /// The namespace that the webhooks are called for.
    apps: String,
}

impl Release {
    /// Installs the chart.
    async fn install(server: &ApiServer) -> Self {
        let namespace = server.namespace("release").await;
        let release = Self {
            name: format!("{namespace}-sidegate"),
            apps: server.namespace("apps").await,
            namespace,
        };
        release.apply(server, "install", &[]);
        release
    }

    /// Runs `helm install` or `helm upgrade` with the values of this release and `values`; what it
    /// tells.
    fn apply(&self, server: &ApiServer, command: &str, values: &[&str]) -> String {
        let chart = chart();
        let mut arguments = vec![command, &self.name, &chart, "--skip-crds"];
        let key = r"namespaceSelector.matchLabels.kubernetes\.io/metadata\.name";
        let webhook = format!("webhook.{key}={}", self.apps);
        let advice = format!("advice.{key}={}", self.apps);
        arguments.extend(["--set-string", &webhook, "--set-string", &advice]);
        arguments.extend(values);
        self.helm(server, &arguments)
    }

    /// Runs helm in the namespace of the release; its standard output.
    fn helm(&self, server: &ApiServer, command: &[&str]) -> String {
        let kubeconfig = server.kubeconfig();
        let mut arguments = command.to_vec();
        arguments.extend(["--namespace", &self.namespace]);
        arguments.extend(["--kubeconfig", kubeconfig.to_str().unwrap()]);
        let output = helm(&arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "helm {command:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }
}
