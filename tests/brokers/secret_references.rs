//! A state store in Redis whose password is a reference to a secret, which changes.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use sidegate::testing::eventually::eventually;

use crate::redis::ask;
use crate::servers::{Server, installed_for_stores};
use crate::sidecar::Sidecar;
use crate::state_load::{StateClient, assert_unavailable};

/// The root token of the Vault of a test.
const ROOT_TOKEN: &str = "root-of-a-test";

/// The password before and after it changes.
const FIRST: &str = "hunter2-first";
const SECOND: &str = "hunter2-second";

/// The state store and, in `SECRETS`, the store of its secrets, which is loaded after it.
const COMPONENTS: &str = "apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: store}
spec:
  type: state.redis
  version: v1
  metadata:
  - {name: redisHost, value: 'HOST'}
  - {name: redisPassword, secretKeyRef: {name: redis-secret, key: redis-password}}
auth: {secretStore: secrets}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: secrets}
spec: SECRETS
";

/// A Redis with a password that changes with the secret: the sidecar works with both, and is
/// refused between them.
async fn the_password_follows_the_secret(secrets: &str, put: impl Fn(&str)) {
    let redis = Server::redis(&["--requirepass", FIRST]).await;
    put(FIRST);
    let host = redis.address().to_string();
    let components = COMPONENTS.replace("HOST", &host);
    let components = components.replace("SECRETS", secrets);
    let flags = ["--hot-reload-reconcile-interval=1s"];
    let sidecar = Sidecar::with_flags(&components, &flags).await;
    let client = StateClient::of(sidecar.address());
    let item = json!({"key": "order", "value": {"id": 1}});
    assert_eq!(client.save(&item).await.unwrap().status(), 204);

    ask(
        &redis,
        &["-a", FIRST, "CONFIG", "SET", "requirepass", SECOND],
    );
    // Connections that logged in stay logged in.
    ask(&redis, &["-a", SECOND, "CLIENT", "KILL", "TYPE", "normal"]);
    let refused = eventually("the old password is refused", async || {
        let answer = client.get("order").await.unwrap();
        (answer.status() != 200).then_some(answer)
    });
    assert_unavailable(&refused.await, "ERR_STATE_GET");
    put(SECOND);
    let answer = eventually("the sidecar has the new password", async || {
        let answer = client.get("order").await.unwrap();
        (answer.status() == 200).then_some(answer)
    })
    .await;
    assert_eq!(answer.body(), "{\"id\":1}");
    let shown = sidecar.printed();
    assert!(!shown.contains(FIRST) && !shown.contains(SECOND), "{shown}");
}

#[tokio::test]
async fn a_password_comes_from_a_local_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secrets.json");
    let secrets = format!(
        "{{type: secretstores.local.file, version: v1, metadata: [\
         {{name: secretsFile, value: {file:?}}}, {{name: multiValued, value: 'true'}}]}}"
    );
    the_password_follows_the_secret(&secrets, |password| {
        let text = json!({"redis-secret": {"redis-password": password}}).to_string();
        let whole = folder.path().join("next");
        std::fs::write(&whole, text).unwrap();
        std::fs::rename(whole, &file).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_password_comes_from_vault() {
    let Some(bao) = installed_for_stores("bao") else {
        println!("skipped: no Vault, which tests/stores.sh gets");
        return;
    };
    let vault = start_vault(bao.clone()).await;
    let url = format!("http://{}", vault.address());
    let secrets = format!(
        "{{type: secretstores.hashicorp.vault, version: v1, metadata: [\
         {{name: vaultAddr, value: '{url}'}}, {{name: vaultToken, value: {ROOT_TOKEN}}}]}}"
    );
    the_password_follows_the_secret(&secrets, |password| {
        let output = Command::new(&bao)
            .args(["kv", "put", "-mount=secret", "dapr/redis-secret"])
            .arg(format!("redis-password={password}"))
            .env("BAO_ADDR", &url)
            .env("BAO_TOKEN", ROOT_TOKEN)
            .env("HOME", vault.folder())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    })
    .await;
}

/// OpenBao in its development mode: unsealed, in memory, KV version 2 at `secret`.
async fn start_vault(program: impl AsRef<Path> + Send + Sync + 'static) -> Server {
    Server::run(move |address, _| {
        let mut command = Command::new(program.as_ref());
        command
            .args(["server", "-dev", "-dev-no-store-token"])
            .arg(format!("-dev-root-token-id={ROOT_TOKEN}"))
            .arg(format!("-dev-listen-address={address}"));
        command
    })
    .await
}
