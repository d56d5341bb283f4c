//! Components come, change and go while a sidecar runs.

use serde_json::json;
use sidegate::testing::eventually::eventually;

use super::{Namespace, component, env_store};

#[tokio::test]
async fn components_that_are_there_at_the_start_run() {
    let namespace = Namespace::new("components").await;
    namespace.apply(&env_store("env"));
    let mut foreign = env_store("foreign");
    foreign["scopes"] = json!(["another-app"]);
    namespace.apply(&foreign);
    let sidecar = namespace.start(&[]).await;
    let hello = (200, Some("hello".to_owned()));
    assert_eq!(sidecar.secret("env", "GREETING").await, hello);
    assert_eq!(sidecar.secret("foreign", "GREETING").await.0, 400);
}

#[tokio::test]
async fn components_come_change_break_and_go_while_the_sidecar_runs() {
    let namespace = Namespace::new("components").await;
    let sidecar = namespace.start(&[]).await;
    assert_eq!(sidecar.secret("file", "k").await.0, 400);
    namespace.apply(&namespace.file_store("file", "one"));
    sidecar.becomes("file", "k", (200, Some("one"))).await;
    namespace.apply(&namespace.file_store("file", "two"));
    sidecar.becomes("file", "k", (200, Some("two"))).await;
    // One that cannot start leaves the one that runs in place.
    let missing = json!([{ "name": "secretsFile", "value": "/nowhere/secrets.json" }]);
    namespace.apply(&component("file", "secretstores.local.file", missing));
    eventually("the failure is told", async || {
        let told = sidecar.failures().await;
        told.contains("an earlier version of it runs").then_some(())
    })
    .await;
    let two = (200, Some("two".to_owned()));
    assert_eq!(sidecar.secret("file", "k").await, two);
    namespace.apply(&namespace.file_store("file", "three"));
    sidecar.becomes("file", "k", (200, Some("three"))).await;
    // Another name.
    namespace.apply(&namespace.file_store("renamed", "three"));
    namespace.delete("components.dapr.io", "file");
    sidecar.becomes("renamed", "k", (200, Some("three"))).await;
    sidecar.becomes("file", "k", (400, None)).await;
    // Out of the app's scope, and back.
    let mut scoped = namespace.file_store("renamed", "three");
    scoped["scopes"] = json!(["another-app"]);
    namespace.apply(&scoped);
    sidecar.becomes("renamed", "k", (400, None)).await;
    scoped["scopes"] = json!(["another-app", "app"]);
    namespace.apply(&scoped);
    sidecar.becomes("renamed", "k", (200, Some("three"))).await;
    namespace.delete("components.dapr.io", "renamed");
    sidecar.becomes("renamed", "k", (400, None)).await;
}

#[tokio::test]
async fn folders_and_the_cluster_add_up_and_share_one_space_of_names() {
    let namespace = Namespace::new("components").await;
    namespace.apply(&env_store("env"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file.yaml");
    let store = namespace.file_store("file", "one").to_string();
    std::fs::write(&file, &store).unwrap();
    let flag = format!("--resources-path={}", folder.path().display());
    let sidecar = namespace.start(&[&flag]).await;
    assert_eq!(sidecar.secret("env", "GREETING").await.0, 200);
    assert_eq!(sidecar.secret("file", "k").await.0, 200);
    std::fs::write(&file, store.replace("\"file\"", "\"env\"")).unwrap();
    assert_eq!(
        namespace.refusal(&[&flag]).await,
        format!(
            "failed to load components: duplicate definition of Component name env \
             (secretstores.local.env/v1, in Component \"env\" in namespace \"{}\") with existing \
             env (secretstores.local.file/v1, in file {file:?}, document 1)",
            namespace.name
        )
    );
    // While it runs, the old ones stay.
    assert_eq!(sidecar.secret("env", "GREETING").await.0, 200);
}

#[tokio::test]
async fn an_object_that_is_wrong_is_named_at_the_start() {
    let namespace = Namespace::new("components").await;
    let mut broken = env_store("env");
    broken["spec"]["initTimeout"] = json!("soon");
    namespace.apply(&broken);
    let refusal = namespace.refusal(&[]).await;
    let expected = format!(
        "Component \"env\" in namespace \"{}\": field \"spec.initTimeout\": ",
        namespace.name
    );
    assert!(refusal.starts_with(&expected), "{refusal}");
}

#[tokio::test]
async fn resiliencies_of_the_cluster_count_and_are_followed() {
    let namespace = Namespace::new("resiliencies").await;
    let patient = json!({
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Resiliency",
        "metadata": { "name": "patient" },
        "spec": {
            "policies": { "timeouts": { "short": "5s" } },
            "targets": { "components": { "env": { "outbound": { "timeout": "short" } } } },
        },
    });
    let mut others = patient.clone();
    others["metadata"]["name"] = json!("others");
    others["scopes"] = json!(["other"]);
    namespace.apply(&patient);
    namespace.apply(&others);
    let sidecar = namespace.start(&[]).await;
    let names = async || sidecar.get("/v1.0/metadata").await.1["resiliencies"].clone();
    assert_eq!(names().await, json!([{ "name": "patient" }]));
    namespace.delete("resiliency", "patient");
    eventually("it is gone", async || names().await.is_null().then_some(())).await;
}

#[tokio::test]
async fn a_control_plane_hands_out_what_is_not_read_here() {
    let namespace = Namespace::new("components").await;
    namespace.apply(&env_store("env"));
    let address = "--control-plane-address=dapr-api.dapr-system.svc:443";
    let sidecar = namespace.start(&[address]).await;
    assert_eq!(sidecar.secret("env", "GREETING").await.0, 400);
}
