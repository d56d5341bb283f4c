//! What a Configuration opens and closes.

use dapr::dapr::proto::runtime::v1::GetMetadataRequest;
use dapr::dapr::proto::runtime::v1::GetSecretRequest;
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use serde_json::{Value, json};
use sidegate::testing::http_client::send;
use tonic::Code;

use super::{Running, bind, request};

/// A file with this `spec`, and the flag that names it.
pub(super) fn configuration(spec: &Value) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let document = json!({
        "apiVersion": "dapr.io/v1alpha1", "kind": "Configuration",
        "metadata": {"name": "c"}, "spec": spec
    });
    let path = folder.path().join("configuration.yaml");
    std::fs::write(&path, document.to_string()).unwrap();
    let flag = format!("--config={}", path.display());
    (folder, flag)
}

fn rule(name: &str, protocol: &str) -> Value {
    json!({"name": name, "version": "v1", "protocol": protocol})
}

#[tokio::test]
async fn a_denied_api_is_one_that_is_not_there() {
    let denied = json!([rule("secrets", "http"), rule("secrets", "grpc")]);
    let (_folder, flag) = configuration(&json!({"api": {"denied": denied}}));
    let sidecar = Running::start(&[&flag], &[]).await;
    let answer = send(sidecar.http(), request("GET", "/v1.0/secrets/s/k", &[])).await;
    assert_eq!(answer.status(), 404);
    let body: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(body["errorCode"], "ERR_DIRECT_INVOKE");
    assert_eq!(sidecar.status("GET", "/v1.0/metadata", &[]).await, 200);
    let mut client = DaprClient::connect(format!("http://{}", sidecar.grpc()))
        .await
        .unwrap();
    let status = client
        .get_secret(GetSecretRequest::default())
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unimplemented, "Not Implemented")
    );
    client.get_metadata(GetMetadataRequest {}).await.unwrap();
}

#[tokio::test]
async fn an_allowed_api_closes_the_others_of_its_protocol_but_health() {
    let (_folder, flag) = configuration(&json!({"api": {"allowed": [rule("metadata", "http")]}}));
    let sidecar = Running::start(&[&flag], &[]).await;
    for (path, expected) in [
        ("/v1.0/metadata", 200),
        ("/v1.0/healthz", 204),
        ("/v1.0/secrets/s/k", 404),
        ("/v1.0/invoke/app/method/m", 404),
    ] {
        assert_eq!(sidecar.status("GET", path, &[]).await, expected, "{path}");
    }
    assert_eq!(sidecar.status("POST", "/v1.0/shutdown", &[]).await, 404);
    let mut client = DaprClient::connect(format!("http://{}", sidecar.grpc()))
        .await
        .unwrap();
    let status = client
        .get_secret(GetSecretRequest::default())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_rule_that_is_not_known_is_an_error_at_start() {
    let (_folder, flag) = configuration(&json!({"api": {"denied": [rule("secret", "http")]}}));
    let error = bind(&[&flag], &[]).await.err().unwrap().to_string();
    let expected = "api rule name \"secret\" is not known, did you mean \"secrets\": accepted are ";
    assert!(error.starts_with(expected), "{error}");
}

#[tokio::test]
async fn failures_are_counted_by_their_code_where_that_is_asked_for() {
    let (_folder, flag) = configuration(&json!({"metrics": {"recordErrorCodes": true}}));
    let sidecar = Running::start(&[&flag], &[]).await;
    assert_eq!(sidecar.status("GET", "/v1.0/secrets/s/k", &[]).await, 500);
    let text = send(sidecar.metrics(), request("GET", "/", &[]))
        .await
        .into_body();
    let text = String::from_utf8(text.to_vec()).unwrap();
    let labels = "category=\"secret\",error_code=\"ERR_SECRET_STORES_NOT_CONFIGURED\"}";
    let counted = |line: &str| line.starts_with("dapr_error_code_total{") && line.contains(labels);
    assert!(text.lines().any(counted), "{text}");
}

#[tokio::test]
async fn metrics_can_be_turned_off_by_flag_and_by_configuration() {
    let off = Running::start(&["--enable-metrics=false"], &[]).await;
    assert!(off.addresses.metrics.is_empty());
    let (_folder, flag) = configuration(&json!({"metrics": {"enabled": false}}));
    let off = Running::start(&[&flag], &[]).await;
    assert!(off.addresses.metrics.is_empty());
}
