//! The way to the API server breaks.

use tokio::net::TcpListener;

use super::{Namespace, configuration, env_store};
use crate::road::Road;

#[tokio::test]
async fn a_watch_whose_connection_is_cut_goes_on() {
    let namespace = Namespace::new("connection").await;
    let road = Road::to(namespace.server.authority()).await;
    let kubeconfig = namespace.kubeconfig_at(road.address).await;
    let sidecar = namespace.start(&[&kubeconfig]).await;
    for store in ["one", "two", "three"] {
        namespace.apply(&env_store(store));
        sidecar
            .becomes(store, "GREETING", (200, Some("hello")))
            .await;
        road.cut();
    }
    // What goes while nobody listens is gone, and what stays runs on.
    namespace.delete("components.dapr.io", "two");
    sidecar.becomes("two", "GREETING", (400, None)).await;
    assert_eq!(sidecar.secret("three", "GREETING").await.0, 200);
}

#[tokio::test]
async fn a_server_that_never_answers_is_an_error_for_what_is_named() {
    let namespace = Namespace::new("connection").await;
    namespace.apply(&configuration(&serde_json::json!({})));
    // A port that nobody listens on.
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = unused.local_addr().unwrap();
    drop(unused);
    let kubeconfig = namespace.kubeconfig_at(address).await;
    let refusal = namespace.refusal(&[&kubeconfig, "--config=settings"]).await;
    let expected = format!(
        "configuration \"settings\" cannot be read: cannot list configurations.dapr.io in \
         namespace \"{}\": ",
        namespace.name
    );
    assert!(refusal.starts_with(&expected), "{refusal}");
    assert!(refusal.contains("Connection refused"), "{refusal}");
}
