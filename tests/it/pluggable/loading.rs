//! From resource files to pluggable components that run.

use std::sync::Arc;

use sidegate::process::tasks::Tasks;
use sidegate::registry::{Registry, RegistryConfig};
use sidegate::testing::eventually::eventually;
use sidegate::testing::registry_config::registry_config;
use tokio_util::sync::CancellationToken;

use super::World;

const STORE: &str = "
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: store}
spec: {type: secretstores.own, version: v1, metadata: []}
";

const BROKER: &str = "
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: broker}
spec:
  type: pubsub.own
  version: v1
  ignoreErrors: true
  metadata:
  - name: password
    secretKeyRef: {name: login, key: password}
auth: {secretStore: store}
";

fn config(world: &World) -> RegistryConfig {
    RegistryConfig {
        environment: world.environment(),
        ..registry_config(world.resources.path())
    }
}

fn write(world: &World, name: &str, text: &str) {
    std::fs::write(world.resources.path().join(name), text).unwrap();
}

async fn start(config: RegistryConfig) -> (Arc<Registry>, Tasks) {
    let mut tasks = Tasks::new(CancellationToken::new());
    let registry = Registry::start(config, &mut tasks).await.unwrap();
    (registry, tasks)
}

#[tokio::test]
async fn a_secret_of_one_is_a_setting_of_another() {
    let world = World::new();
    let _component = world.start("own");
    write(&world, "store.yaml", STORE);
    write(&world, "broker.yaml", BROKER);
    let (registry, _tasks) = start(config(&world)).await;
    let snapshot = registry.snapshot();
    assert!(snapshot.pubsubs.contains_key("broker"));
    let settings = world.behaviour.inits().pop().unwrap();
    assert_eq!(settings["password"], "pw");
}

#[tokio::test]
async fn a_socket_that_comes_later_is_found_when_it_comes() {
    let world = World::new();
    let broker = BROKER.replace("secretKeyRef: {name: login, key: password}", "value: pw");
    write(
        &world,
        "broker.yaml",
        &broker.replace("auth: {secretStore: store}", ""),
    );
    let (registry, _tasks) = start(config(&world)).await;
    assert!(registry.snapshot().pubsubs.is_empty());
    let reason = registry.snapshot().failed[0].reason.clone();
    assert!(reason.contains("/own.sock"), "{reason}");
    let _component = world.start("own");
    eventually("it is loaded", async || {
        registry
            .snapshot()
            .pubsubs
            .contains_key("broker")
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_socket_that_hangs_does_not_hold_up_the_start() {
    let world = World::new();
    let path = world.folder.path().join("silent.sock");
    let _silent = tokio::net::UnixListener::bind(path).unwrap();
    let (_, tasks) = start(config(&world)).await;
    tasks.shutdown().cancel();
    tasks.finish().await.unwrap();
}
