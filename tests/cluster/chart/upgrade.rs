//! What an upgrade leaves alone.

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use super::Release;
use crate::api_server::ApiServer;

/// What the injector writes: data of its Secret, and the caBundle of its webhook.
async fn write_as_the_injector(server: &ApiServer, release: &Release) {
    let name = format!("{}-injector", release.name);
    let params = PatchParams::apply("injector-of-the-test").force();
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": format!("{name}-certificate")},
        "data": {"kept": "Ynl0ZXM="},
    });
    let secrets: Api<Secret> = Api::namespaced(server.client().await, &release.namespace);
    let secret_name = format!("{name}-certificate");
    secrets
        .patch(&secret_name, &params, &Patch::Apply(secret))
        .await
        .unwrap();
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [{
            "name": "injector.sidegate.dev",
            "clientConfig": {"caBundle": ca_bundle()},
        }],
    });
    let webhooks: Api<MutatingWebhookConfiguration> = Api::all(server.client().await);
    webhooks
        .patch(&name, &params, &Patch::Apply(webhook))
        .await
        .unwrap();
}

fn ca_bundle() -> ByteString {
    let authority = sidegate::testing::certificates::Authority::new();
    ByteString(authority.certificate().into_bytes())
}

/// Fails where any of it is gone.
async fn expect_kept(server: &ApiServer, release: &Release) {
    let name = format!("{}-injector", release.name);
    let secrets: Api<Secret> = Api::namespaced(server.client().await, &release.namespace);
    let secret = secrets.get(&format!("{name}-certificate")).await.unwrap();
    assert_eq!(secret.data.unwrap()["kept"], ByteString(b"bytes".to_vec()));
    let webhooks: Api<MutatingWebhookConfiguration> = Api::all(server.client().await);
    let webhook = webhooks
        .get(&name)
        .await
        .unwrap()
        .webhooks
        .unwrap()
        .remove(0);
    assert!(webhook.client_config.ca_bundle.is_some());
}

#[tokio::test]
async fn upgrades_and_repeated_applies_keep_what_the_injector_wrote() {
    let server = ApiServer::shared().await;
    let release = Release::install(server).await;
    write_as_the_injector(server, &release).await;
    let notes = release.apply(server, "upgrade", &["--set=replicas=3"]);
    let first = format!(
        "-n {} rollout status deployment/{}-injector",
        release.namespace, release.name
    );
    assert!(notes.contains(&first), "{notes}");
    expect_kept(server, &release).await;
    // As GitOps tools do, with a state of their own that knows nothing of helm's.
    let manifest = release.helm(server, &["get", "manifest", &release.name]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("manifest.yaml");
    std::fs::write(&file, manifest).unwrap();
    let file = file.to_str().unwrap();
    server.kubectl(&["apply", "--filename", file]);
    expect_kept(server, &release).await;
    let versions = "--output=jsonpath={.items[*].metadata.resourceVersion}";
    let versions = ["get", "--filename", file, versions];
    let before = server.kubectl(&versions);
    assert!(before.split(' ').count() > 10, "{before}");
    server.kubectl(&["apply", "--filename", file]);
    assert_eq!(
        server.kubectl(&versions),
        before,
        "a second apply changes something"
    );
    let server_side = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--filename",
        file,
    ];
    server.kubectl(&server_side);
    expect_kept(server, &release).await;
    release.helm(server, &["uninstall", &release.name]);
    let selector = format!("--selector=app.kubernetes.io/instance={}", release.name);
    let kinds = "all,secrets,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,\
                 networkpolicies,poddisruptionbudgets,mutatingwebhookconfigurations,\
                 validatingwebhookconfigurations";
    let left = server.kubectl(&["get", kinds, "--all-namespaces", &selector, "--output=name"]);
    assert_eq!(left, "");
}
