//! Components that refer to secrets of a store of the network.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use sidegate::base::environment::Environment;
use sidegate::blocks::secrets::Secrets;
use sidegate::process::listener::Remote;
use sidegate::process::tasks::Tasks;
use sidegate::registry::{Registry, RegistryConfig};
use sidegate::testing::eventually::eventually;
use sidegate::testing::registry_config::registry_config;
use tokio_util::sync::CancellationToken;

use crate::servers::{ROOT_TOKEN, Server, bao, program};

/// `local.env` with a prefix from Vault: what it hands out shows which value it has.
const COMPONENTS: &str = "apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: env}
spec:
  type: secretstores.local.env
  version: v1
  metadata:
    - {name: prefix, secretKeyRef: {name: settings, key: prefix}}
auth: {secretStore: vault}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: vault}
spec:
  type: secretstores.hashicorp.vault
  version: v1
  metadata:
    - {name: vaultAddr, value: 'ADDRESS'}
    - {name: vaultToken, envRef: TOKEN}
    - {name: cacheTTL, value: 1h}
";

fn put(vault: &Server, prefix: &str) {
    let output = Command::new(program("bao"))
        .args(["kv", "put", "-mount=secret", "dapr/settings"])
        .arg(format!("prefix={prefix}"))
        .env("BAO_ADDR", vault.url())
        .env("BAO_TOKEN", ROOT_TOKEN)
        .env("HOME", vault.folder().path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn a_secret_that_changes_in_vault_reaches_the_component_and_an_outage_takes_nothing_away() {
    let vault = bao().await;
    put(&vault, "A_");
    let resources = tempfile::tempdir().unwrap();
    let manifests = COMPONENTS.replace("ADDRESS", &vault.url());
    std::fs::write(resources.path().join("components.yaml"), manifests).unwrap();
    let environment: Environment = [("A_K", "1"), ("B_K", "2"), ("TOKEN", ROOT_TOKEN)]
        .into_iter()
        .collect();
    let config = RegistryConfig {
        environment,
        reads_cluster: false,
        reconcile_interval: Duration::from_secs(1),
        ..registry_config(resources.path())
    };
    let mut tasks = Tasks::new(CancellationToken::new());
    let registry = Registry::start(config, &mut tasks).await.unwrap();
    let secrets = Secrets::new(Arc::clone(&registry));
    let value = async || {
        let answer = secrets
            .get(Remote::Unix, "env", "K", &BTreeMap::new())
            .await;
        answer.ok().map(|secret| secret["K"].expose().to_owned())
    };
    assert_eq!(value().await.as_deref(), Some("1"));
    // A cache is for the app, not for references.
    put(&vault, "B_");
    eventually("the component has the new secret", async || {
        (value().await.as_deref() == Some("2")).then_some(())
    })
    .await;
    drop(vault);
    eventually("the reference fails", async || {
        let snapshot = registry.snapshot();
        let failed = snapshot.failed.first()?;
        assert!(failed.keeps_running, "{failed:?}");
        assert!(!failed.reason.contains("127.0.0.1"), "{failed:?}");
        assert_eq!(snapshot.stores_down()[0].0, "vault");
        Some(())
    })
    .await;
    assert_eq!(value().await.as_deref(), Some("2"));
}
