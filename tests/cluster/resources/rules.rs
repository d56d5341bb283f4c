//! The Configuration and the SidecarPolicy of a sidecar, by name.

use serde_json::json;

use super::{Namespace, configuration, env_store, policy};

#[tokio::test]
async fn a_configuration_that_is_named_and_not_there_stops_the_start() {
    let namespace = Namespace::new("rules").await;
    assert_eq!(
        namespace.refusal(&["--config=settings"]).await,
        format!(
            "configuration \"settings\" is not there: namespace \"{}\" has no Configuration \
             (dapr.io/v1alpha1) of that name, and it is not the path of a file",
            namespace.name
        )
    );
}

#[tokio::test]
async fn a_configuration_that_may_not_be_read_stops_the_start() {
    let namespace = Namespace::without_rights("rules").await;
    let name = &namespace.name;
    assert_eq!(
        namespace.refusal(&["--config=settings"]).await,
        format!(
            "configuration \"settings\" cannot be read: service account \"{name}/default\" may not \
             list configurations.dapr.io in namespace \"{name}\": a Role there needs apiGroups \
             [\"dapr.io\"], resources [\"configurations\"], verbs [\"list\", \"watch\"]"
        )
    );
}

#[tokio::test]
async fn scopes_of_the_configuration_follow_it_and_outlive_it() {
    let namespace = Namespace::new("rules").await;
    namespace.apply(&env_store("env"));
    let scopes = |denied: &[&str]| {
        let scope = json!({ "storeName": "env", "deniedSecrets": denied });
        configuration(&json!({ "secrets": { "scopes": [scope] } }))
    };
    namespace.apply(&scopes(&["OTHER"]));
    let sidecar = namespace.start(&["--config=settings"]).await;
    assert_eq!(sidecar.secret("env", "GREETING").await.0, 200);
    assert_eq!(sidecar.secret("env", "OTHER").await.0, 403);
    namespace.apply(&scopes(&["GREETING"]));
    sidecar.becomes("env", "GREETING", (403, None)).await;
    // Neither a broken Configuration nor none opens what was closed. Stores that come later show
    // that the change was seen.
    namespace.apply(&configuration(&json!({
        "httpPipeline": { "handlers": [{ "name": "h", "type": "" }] },
    })));
    namespace.apply(&env_store("second"));
    sidecar
        .becomes("second", "GREETING", (200, Some("hello")))
        .await;
    assert_eq!(sidecar.secret("env", "GREETING").await.0, 403);
    namespace.delete("configurations.dapr.io", "settings");
    namespace.apply(&env_store("third"));
    sidecar
        .becomes("third", "GREETING", (200, Some("hello")))
        .await;
    assert_eq!(sidecar.secret("env", "GREETING").await.0, 403);
    namespace.apply(&scopes(&[]));
    sidecar
        .becomes("env", "GREETING", (200, Some("hello")))
        .await;
}

#[tokio::test]
async fn a_policy_closes_stores_without_a_scope_and_may_change() {
    let namespace = Namespace::new("rules").await;
    namespace.apply(&env_store("env"));
    let access = |access: &str| policy(&json!({ "secrets": { "defaultAccess": access } }));
    namespace.apply(&access("deny"));
    let sidecar = namespace.start(&["--policy=strict"]).await;
    assert_eq!(sidecar.secret("env", "GREETING").await.0, 403);
    assert_eq!(sidecar.get("/v1.0/secrets/env/bulk").await.0, 403);
    namespace.apply(&access("allow"));
    sidecar
        .becomes("env", "GREETING", (200, Some("hello")))
        .await;
    namespace.apply(&access("deny"));
    sidecar.becomes("env", "GREETING", (403, None)).await;
    // Gone is not open.
    namespace.delete("sidecarpolicies.sidegate.dev", "strict");
    namespace.apply(&env_store("second"));
    sidecar.becomes("second", "GREETING", (403, None)).await;
}

#[tokio::test]
async fn hot_reload_can_be_switched_off() {
    let namespace = Namespace::new("rules").await;
    let features = json!([{ "name": "HotReload", "enabled": false }]);
    namespace.apply(&configuration(&json!({ "features": features })));
    namespace.apply(&env_store("env"));
    let fixed = namespace.start(&["--config=settings"]).await;
    let following = namespace.start(&[]).await;
    namespace.apply(&env_store("second"));
    following
        .becomes("second", "GREETING", (200, Some("hello")))
        .await;
    assert_eq!(fixed.secret("second", "GREETING").await.0, 400);
    assert_eq!(fixed.secret("env", "GREETING").await.0, 200);
}
