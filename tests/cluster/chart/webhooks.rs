//! For what the API server calls the webhooks.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PostParams};
use serde_json::json;

use super::Release;
use crate::api_server::ApiServer;

/// Makes a pod as a dry run. No injector answers in these tests: a refusal is a call.
async fn is_called(server: &ApiServer, namespace: &str, annotations: serde_json::Value) -> bool {
    let pods: Api<Pod> = Api::namespaced(server.client().await, namespace);
    let pod = json!({
        "metadata": {"generateName": "pod-", "annotations": annotations},
        "spec": {"containers": [{"name": "app", "image": "app"}]},
    });
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    match pods
        .create(&params, &serde_json::from_value(pod).unwrap())
        .await
    {
        Ok(_) => false,
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("injector.sidegate.dev"), "{text}");
            true
        }
    }
}

#[tokio::test]
async fn only_pods_that_ask_for_a_sidecar_can_be_refused() {
    let server = ApiServer::shared().await;
    let release = Release::install(server).await;
    sidegate::testing::eventually::eventually("the webhook is called", async || {
        is_called(server, &release.apps, json!({"dapr.io/enabled": "true"}))
            .await
            .then_some(())
    })
    .await;
    for (annotations, expected) in [
        (json!(null), false),
        (json!({}), false),
        (json!({"dapr.io/enabled": "false"}), false),
        (json!({"dapr.io/enabled": "yes"}), false),
        (json!({"dapr.io/app-id": "a"}), false),
        (json!({"dapr.io/enabled": "TRUE"}), true),
    ] {
        let called = is_called(server, &release.apps, annotations.clone()).await;
        assert_eq!(called, expected, "{annotations}");
    }
    let asking = json!({"dapr.io/enabled": "true"});
    assert!(!is_called(server, &release.namespace, asking.clone()).await);
    assert!(!is_called(server, "kube-system", asking).await);
}
