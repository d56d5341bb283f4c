//! Reads of secret stores under the policies of Resiliency resources.

use super::kubernetes::{FakeServer, start_at};
use super::*;

/// A Resiliency with these policies, of which the store `cluster` has one of each kind.
fn resiliency(policies: &str, names: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata: {{name: r}}\nspec:\n  \
         policies: {policies}\n  targets: {{components: {{cluster: {{outbound: {names}}}}}}}\n"
    )
}

/// A store of the cluster that makes one try only.
fn store() -> String {
    let metadata = "  metadata: [{name: maxRetries, value: 0}]";
    component("cluster", "secretstores.kubernetes", metadata)
}

fn secret() -> (u16, String) {
    (
        200,
        r#"{"metadata": {"name": "s"}, "data": {"k": "dg=="}}"#.to_owned(),
    )
}

#[tokio::test]
async fn a_read_that_fails_is_tried_again() {
    let server = FakeServer::new(|_, asked| match asked {
        0 | 1 => (503, "{}".to_owned()),
        _ => secret(),
    })
    .await;
    let files = Files::new();
    files.resource("store.yaml", &store());
    let policies = "{retries: {r: {duration: 1ms, maxRetries: 2}}}";
    files.resource("r.yaml", &resiliency(policies, "{retry: r}"));
    let started = start_at(&files, server.address).await;
    let read = started.get("cluster", "s").await;
    assert_eq!(read, Ok(vec![("k".to_owned(), "v".to_owned())]));
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn an_open_breaker_spares_the_store_and_outlives_changes_of_others() {
    let server = FakeServer::new(|path, _| match path.ends_with("/missing") {
        true => (404, "{}".to_owned()),
        false => (503, "{}".to_owned()),
    })
    .await;
    let files = Files::new();
    files.resource("store.yaml", &store());
    let policies = "{circuitBreakers: {b: {trip: consecutiveFailures >= 2, timeout: 1h}}}";
    let written = resiliency(policies, "{circuitBreaker: b}");
    files.resource("r.yaml", &written);
    let started = start_at(&files, server.address).await;
    // What is not there is no failure of the store.
    for _ in 0..3 {
        let missing = started.get("cluster", "missing").await;
        assert_eq!(missing, Err(Reason::SecretNotFound));
    }
    let failed = "failed getting secret with key s from secret store cluster";
    for _ in 0..2 {
        assert_eq!(started.message("cluster", "s").await, failed);
    }
    let open = format!("{failed}: circuit breaker is open");
    assert_eq!(started.message("cluster", "s").await, open);
    assert_eq!(server.asked().len(), 5);
    // A broken version, and then one that says more: the breaker is the same.
    let broken = written.replace("consecutiveFailures", "consecutiveFailure");
    let more = written.replace("policies: {", "policies: {timeouts: {t: 1s}, ");
    for (name, change) in [("first", broken), ("second", more)] {
        files.resource("r.yaml", &change);
        files.resource("x.yaml", &component(name, "secretstores.local.env", ""));
        eventually(name, async || {
            started
                .components()
                .contains(&name.to_owned())
                .then_some(())
        })
        .await;
        assert_eq!(started.message("cluster", "s").await, open, "{name}");
        assert_eq!(started.registry.snapshot().resiliency.names(), ["r"]);
    }
    // One that says something else of it: it begins anew.
    files.resource("r.yaml", &written.replace("1h", "2h"));
    eventually("the store is asked again", async || {
        (started.message("cluster", "s").await == failed).then_some(())
    })
    .await;
    files.remove("resources/r.yaml");
    eventually("no resiliency counts", async || {
        let snapshot = started.registry.snapshot();
        snapshot.resiliency.names().is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_policy_that_is_not_there_stops_the_start() {
    let files = Files::new();
    files.resource("r.yaml", &resiliency("{timeouts: {a: 1s}}", "{timeout: b}"));
    assert_eq!(
        files.refusal(|_| {}).await,
        "file \"DIR/resources/r.yaml\", document 1: field \
         \"spec.targets.components.cluster.outbound.timeout\": no Resiliency of this app has a \
         timeout \"b\""
    );
    // For another app, or in another namespace, it does not count.
    let elsewhere = resiliency("{}", "{timeout: b}");
    let scoped = format!("{elsewhere}scopes: [other]\n");
    let moved = elsewhere.replace("{name: r}", "{name: r, namespace: elsewhere}");
    files.resource("r.yaml", &format!("{scoped}---\n{moved}"));
    let started = files
        .start_with(|config| config.namespace = Some("own".to_owned()))
        .await;
    assert!(started.registry.snapshot().resiliency.names().is_empty());
}
