//! What a sidecar needs to be allowed, and what it does without.

use super::{Namespace, VERBS, env_store};

#[tokio::test]
async fn a_role_that_is_granted_later_takes_effect_without_a_restart() {
    let namespace = Namespace::without_rights("rights").await;
    namespace.apply(&env_store("env"));
    let sidecar = namespace.start(&[]).await;
    assert_eq!(sidecar.secret("env", "GREETING").await.0, 400);
    namespace.grant("dapr.io", &["components"], VERBS);
    sidecar
        .becomes("env", "GREETING", (200, Some("hello")))
        .await;
}

#[tokio::test]
async fn the_log_names_the_role_that_is_missing() {
    let namespace = Namespace::without_rights("rights").await;
    let log = namespace
        .log_until(&["--policy=strict"], "Fatal error")
        .await;
    let name = &namespace.name;
    let expected = format!(
        "policy \\\"strict\\\" is not there: none of the resources is a SidecarPolicy \
         (sidegate.dev/v1alpha1) of that name; service account \\\"{name}/default\\\" may not list \
         sidecarpolicies.sidegate.dev"
    );
    assert!(log.last().unwrap().contains(&expected), "{log:#?}");
}
