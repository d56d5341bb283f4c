//! For what the API server calls the webhooks.

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};
use sidegate::testing::eventually::eventually;

use super::Release;
use crate::api_server::ApiServer;

/// Makes a pod as a dry run. No injector answers in these tests: a refusal is a call.
async fn is_called(server: &ApiServer, namespace: &str, annotations: Value) -> bool {
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
    eventually("the webhook is called", async || {
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

/// Applies a workload as a dry run; whether the webhook of advice was called for it.
fn is_advised(server: &ApiServer, namespace: &str, workload: &Value) -> bool {
    match super::resources::dry_run(server, Some(namespace), std::slice::from_ref(workload)) {
        Ok(()) => false,
        Err(error) => {
            assert!(error.contains("advice.sidegate.dev"), "{error}");
            true
        }
    }
}

/// A workload whose template has these keys.
fn workload(kind: &str, metadata: &Value, owner: Option<&str>) -> Value {
    let mut metadata = metadata.clone();
    metadata["labels"]["app"] = json!("shop");
    let mut template = json!({
        "metadata": metadata,
        "spec": {"containers": [{"name": "app", "image": "app"}]},
    });
    let selector = json!({"matchLabels": {"app": "shop"}});
    let (version, spec) = match kind {
        "CronJob" | "Job" => {
            template["spec"]["restartPolicy"] = json!("Never");
            let job = json!({"template": template});
            match kind {
                "Job" => ("batch/v1", job),
                _ => (
                    "batch/v1",
                    json!({"schedule": "@daily", "jobTemplate": {"spec": job}}),
                ),
            }
        }
        "StatefulSet" => {
            let spec = json!({"serviceName": "s", "selector": selector, "template": template});
            ("apps/v1", spec)
        }
        _ => (
            "apps/v1",
            json!({"selector": selector, "template": template}),
        ),
    };
    let mut own = json!({"name": "shop"});
    if let Some(owner) = owner {
        own["ownerReferences"] = json!([{
            "apiVersion": "example.com/v1", "kind": owner, "name": "owner", "uid": "1-2-3",
            "controller": true,
        }]);
    }
    json!({"apiVersion": version, "kind": kind, "metadata": own, "spec": spec})
}

#[tokio::test]
async fn advice_is_given_for_templates_with_a_key_of_a_sidecar_only() {
    let server = ApiServer::shared().await;
    let namespace = server.namespace("advised").await;
    let name = format!("{namespace}-chart");
    let selector = r"advice.namespaceSelector.matchLabels.kubernetes\.io/metadata\.name";
    let rendered = super::objects(&[
        &format!("--set=fullnameOverride={name}"),
        &format!("--set-string={selector}={namespace}"),
    ]);
    let name = format!("{name}-advice");
    let rendered = super::object(&rendered, "ValidatingWebhookConfiguration", &name);
    let mut webhook = rendered.clone();
    // Nobody answers, and a call is to be seen.
    webhook["webhooks"][0]["failurePolicy"] = json!("Fail");
    let webhooks: Api<ValidatingWebhookConfiguration> = Api::all(server.client().await);
    let webhook = serde_json::from_value(webhook).unwrap();
    webhooks
        .create(&PostParams::default(), &webhook)
        .await
        .unwrap();

    let enabled = json!({"annotations": {"dapr.io/enabled": "true"}});
    let of_deployment = workload("Deployment", &enabled, None);
    eventually("the webhook is called", async || {
        is_advised(server, &namespace, &of_deployment).then_some(())
    })
    .await;
    for kind in ["StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"] {
        assert!(
            is_advised(server, &namespace, &workload(kind, &enabled, None)),
            "{kind}"
        );
        let owned = workload(kind, &enabled, Some("Owner"));
        let expected = !["ReplicaSet", "Job"].contains(&kind);
        assert_eq!(is_advised(server, &namespace, &owned), expected, "{kind}");
    }
    for (metadata, expected) in [
        (json!({}), false),
        (json!({"annotations": {"example.com/dapr.io": "a"}}), false),
        (
            json!({"annotations": {"dapr.io": "a", "prometheus.io/scrape": "true"}}),
            false,
        ),
        (json!({"annotations": {"sidegate.dev/policy": "p"}}), true),
        (json!({"labels": {"dapr.io/enabled": "true"}}), true),
    ] {
        for kind in ["Deployment", "CronJob"] {
            let workload = workload(kind, &metadata, None);
            let advised = is_advised(server, &namespace, &workload);
            assert_eq!(advised, expected, "{kind} {metadata}");
        }
    }
    let elsewhere = server.namespace("not-advised").await;
    assert!(!is_advised(server, &elsewhere, &of_deployment));
}

#[tokio::test]
async fn advice_is_given_for_updates_too() {
    let server = ApiServer::shared().await;
    let release = Release::install(server).await;
    let configuration = format!("{}-advice", release.name);
    let rules = server.kubectl(&[
        "get",
        "validatingwebhookconfiguration",
        &configuration,
        "--output=jsonpath={.webhooks[*].rules[*].operations}{.webhooks[*].failurePolicy}",
    ]);
    assert_eq!(rules, r#"["CREATE","UPDATE"] ["CREATE","UPDATE"]Ignore"#);
    // It cannot be reached, and stops nobody.
    let enabled = json!({"annotations": {"dapr.io/enabled": "true"}});
    let workload = workload("Deployment", &enabled, None);
    assert_eq!(
        super::resources::dry_run(server, Some(&release.apps), &[workload]),
        Ok(())
    );
}
