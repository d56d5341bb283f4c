//! What a sidecar needs to be allowed, and what it does without.

use serde_json::json;
use sidegate::process::metrics::Metrics;
use sidegate::testing::eventually::eventually;

use super::{Namespace, VERBS, configuration, env_store, policy};
use crate::api_server::ApiServer;
use crate::crds;

/// The kinds of which something has an effect.
const KINDS: [&str; 6] = [
    "components.dapr.io",
    "configurations.dapr.io",
    "sidecarpolicies.sidegate.dev",
    "httpendpoints.dapr.io",
    "resiliencies.dapr.io",
    "subscriptions.dapr.io",
];

#[tokio::test]
async fn a_role_that_is_granted_later_takes_effect_without_a_restart() {
    let namespace = Namespace::without_rights("rights").await;
    namespace.apply(&env_store("env"));
    let sidecar = namespace.start(&[]).await;
    assert_eq!(sidecar.secret("env", "GREETING").await.0, 400);
    let metrics = Metrics::install(None).render();
    let failure = |line: &str| {
        line.starts_with("sidegate_resource_watch_failures_total")
            && line.contains("kind=\"Component\"")
    };
    assert!(metrics.lines().any(failure), "{metrics}");
    namespace.grant("dapr.io", &["components"], VERBS).await;
    sidecar
        .becomes("env", "GREETING", (200, Some("hello")))
        .await;
}

#[tokio::test]
async fn the_log_names_the_role_that_is_missing() {
    let namespace = Namespace::without_rights("rights").await;
    let log = namespace
        .log_until(&["--policy=strict"], &["Fatal error"])
        .await;
    let name = &namespace.name;
    let expected = format!(
        "policy \\\"strict\\\" is not there: none of the resources is a SidecarPolicy \
         (sidegate.dev/v1alpha1) of that name; service account \\\"{name}/default\\\" may not list \
         sidecarpolicies.sidegate.dev"
    );
    assert!(log.last().unwrap().contains(&expected), "{log:#?}");
}

#[tokio::test]
async fn each_verb_is_needed_on_each_kind() {
    let flags = ["--config=settings", "--policy=strict"];
    let prepare = async |verb: &str| {
        let namespace = Namespace::without_rights("rights").await;
        namespace.apply(&env_store("env"));
        namespace.apply(&configuration(&json!({})));
        namespace.apply(&policy(&json!({ "secrets": { "defaultAccess": "allow" } })));
        namespace.grant_all(&[verb]).await;
        namespace
    };
    let without_watch = prepare("list").await;
    let missing = KINDS.map(|kind| format!("may not watch {kind} in namespace"));
    let missing = missing.each_ref().map(String::as_str);
    without_watch.log_until(&flags, &missing).await;
    let without_list = prepare("watch").await;
    for (kind, flags) in [
        (KINDS[0], &[][..]),
        (KINDS[1], &flags[..1]),
        (KINDS[2], &flags[1..]),
        (KINDS[3], &[]),
    ] {
        let missing = format!("may not list {kind} in namespace");
        without_list.log_until(flags, &[&missing]).await;
    }
}

#[tokio::test]
async fn a_kind_that_is_installed_later_takes_effect_without_a_restart() {
    let server = ApiServer::bare().await;
    let namespace = Namespace::on(server, "kinds").await;
    namespace.allow("dapr.io", &["components", "configurations"], VERBS);
    let refusal = eventually("the right counts", async || {
        let refusal = namespace.refusal(&["--config=settings"]).await;
        (!refusal.contains("may not list")).then_some(refusal)
    })
    .await;
    assert_eq!(
        refusal,
        "configuration \"settings\" cannot be read: the cluster has no kind Configuration \
         (dapr.io/v1alpha1): CustomResourceDefinition \"configurations.dapr.io\" is not installed"
    );
    let sidecar = namespace.start(&[]).await;
    crds::install_on(server);
    namespace.apply(&env_store("env"));
    sidecar
        .becomes("env", "GREETING", (200, Some("hello")))
        .await;
}

#[tokio::test]
async fn subscriptions_are_read_in_the_version_that_takes_both_forms() {
    let namespace = Namespace::new("rights").await;
    for (version, routes) in [
        ("v1alpha1", json!({ "route": "/older" })),
        ("v2alpha1", json!({ "routes": { "default": "/newer" } })),
    ] {
        let mut spec = json!({ "pubsubname": "bus", "topic": version });
        let fields = routes.as_object().unwrap().clone();
        spec.as_object_mut().unwrap().extend(fields);
        namespace.apply(&json!({
            "apiVersion": format!("dapr.io/{version}"),
            "kind": "Subscription",
            "metadata": { "name": version },
            "spec": spec,
        }));
    }
    let expected = ["v1alpha1", "v2alpha1"]
        .map(|version| format!("Subscription loaded: {version} (topic {version} of bus)"));
    let expected = expected.each_ref().map(String::as_str);
    namespace.log_until(&[], &expected).await;
}
