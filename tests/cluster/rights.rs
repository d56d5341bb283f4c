//! The rights that `sidegate injector` needs: all of these, and no other.

use std::fs;
use std::process::{Child, Command, Stdio};

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Api, PostParams};
use serde_json::{Value, json};
use sidegate::testing::eventually::eventually;
use tempfile::TempDir;

use crate::keeping::{Kept, SECRET};

/// What the chart grants: resource, verb.
const RIGHTS: &[(&str, &str)] = &[
    ("secrets", "get"),
    ("secrets", "list"),
    ("secrets", "watch"),
    ("secrets", "update"),
    ("mutatingwebhookconfigurations", "get"),
    ("mutatingwebhookconfigurations", "list"),
    ("mutatingwebhookconfigurations", "watch"),
    ("mutatingwebhookconfigurations", "patch"),
    ("validatingwebhookconfigurations", "get"),
    ("validatingwebhookconfigurations", "list"),
    ("validatingwebhookconfigurations", "watch"),
    ("validatingwebhookconfigurations", "patch"),
];

/// A running injector with some rights. It is killed when it is dropped.
struct Running {
    child: Child,
    folder: TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    async fn start(kept: &Kept, without: Option<(&str, &str)>) -> Self {
        allow(kept, without).await;
        let kubeconfig = kept.server.kubeconfig_of(&kept.namespace, "default").await;
        let folder = tempfile::tempdir().unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_sidegate"))
            .env_clear()
            .args([
                "injector",
                "--native-sidecar=on",
                "--port=0",
                "--healthz-port=0",
            ])
            .args(["--metrics-port=0", "--listen-address=127.0.0.1"])
            .args([
                "--healthz-listen-address=127.0.0.1",
                "--metrics-listen-address=127.0.0.1",
            ])
            .arg(format!("--certificate-secret={SECRET}"))
            .arg(format!("--mutating-webhook={}", kept.namespace))
            .arg(format!("--validating-webhook={}", kept.namespace))
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .stdin(Stdio::null())
            .stderr(log.try_clone().unwrap())
            .stdout(log)
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

/// Grants everything but one right to the service account of the namespace.
async fn allow(kept: &Kept, without: Option<(&str, &str)>) {
    let rules: Vec<Value> = RIGHTS
        .iter()
        .filter(|right| without != Some(**right))
        .map(|&(resource, verb)| {
            let (group, name) = match resource {
                "secrets" => ("", SECRET),
                _ => ("admissionregistration.k8s.io", kept.namespace.as_str()),
            };
            json!({
                "apiGroups": [group], "resources": [resource], "verbs": [verb],
                "resourceNames": [name],
            })
        })
        .collect();
    let metadata = json!({ "name": format!("rights-{}", kept.namespace) });
    let role: ClusterRole =
        serde_json::from_value(json!({ "metadata": metadata, "rules": rules })).unwrap();
    let binding: ClusterRoleBinding = serde_json::from_value(json!({
        "metadata": metadata,
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
            "name": metadata["name"],
        },
        "subjects": [
            { "kind": "ServiceAccount", "name": "default", "namespace": kept.namespace },
        ],
    }))
    .unwrap();
    let (client, params) = (kept.server.client().await, PostParams::default());
    let roles: Api<ClusterRole> = Api::all(client.clone());
    roles.create(&params, &role).await.unwrap();
    let bindings: Api<ClusterRoleBinding> = Api::all(client);
    bindings.create(&params, &binding).await.unwrap();
}

async fn kept() -> Kept {
    let kept = Kept::new().await;
    kept.make_secret().await;
    kept.make_configurations(&["https://127.0.0.1:1/mutate".to_owned()])
        .await;
    kept
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_of_the_chart_are_enough() {
    let kept = kept().await;
    let running = Running::start(&kept, None).await;
    eventually("both configurations are trusted", async || {
        let bundle = kept.secret_text("ca.crt").await?;
        (kept.bundles().await == vec![Some(bundle); 2]).then_some(())
    })
    .await;
    eventually("it says so", async || {
        let told = running.log().matches("trusts the webhook's CA").count();
        (told == 2).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_right_that_is_missing_is_named() {
    for &(resource, verb) in RIGHTS {
        let kept = kept().await;
        let running = Running::start(&kept, Some((resource, verb))).await;
        let wanted = format!("may not {verb} {resource} ");
        eventually(&wanted, async || {
            running.log().contains(&wanted).then_some(())
        })
        .await;
    }
}
