//! The first step: the webhook patches a pod.

use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use k8s_openapi::ByteString;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::stage::{APP_ID, Stage};
use super::story::Story;
use crate::cli::loopback::{address, send_on};

/// Has a pod patched by a webhook over TLS, and shows what it became.
pub(super) async fn patch(story: &mut Story, stage: &Stage) -> anyhow::Result<()> {
    story.step("A webhook gives an annotated pod its sidecar, as the API server asks it to");
    let webhook = stage.webhook().await?;
    let mut pod = pod();
    story.say(&yaml("annotations", &pod["metadata"]["annotations"])?);
    story.request(&format!(
        "POST https://localhost:{}/mutate   an AdmissionReview",
        webhook.port
    ));
    let answer = post(stage, webhook.port, &review(&pod)).await?;
    story.answer(&answer);
    webhook.stop().await;

    let reply: Value = serde_json::from_slice(answer.body()).unwrap_or(Value::Null);
    let allowed = reply["response"]["allowed"] == json!(true);
    story.check(
        answer.status() == StatusCode::OK && allowed,
        "the pod is allowed",
    );
    let patched = apply(&mut pod, &reply["response"]["patch"]);
    story.check(patched.is_ok(), "the patch fits the pod");
    let none = json!(null);
    let sidecar = named(&pod["spec"]["initContainers"], "daprd").unwrap_or(&none);
    let app = named(&pod["spec"]["containers"], "web").unwrap_or(&none);
    story.say(&yaml("container daprd", &excerpt(sidecar))?);
    story.check(
        sidecar["restartPolicy"] == json!("Always"),
        "a native sidecar \"daprd\" runs before and beside the app",
    );
    for (env, secret) in [
        ("DAPR_API_TOKEN", "api-token"),
        ("APP_API_TOKEN", "app-token"),
    ] {
        story.check(
            refers_to(sidecar, env, secret) && refers_to(app, env, secret),
            &format!("both containers have {env} from Secret \"{secret}\", by reference"),
        );
    }
    Ok(())
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "shop",
            "namespace": "default",
            "annotations": {
                "dapr.io/enabled": "true",
                "dapr.io/app-id": APP_ID,
                "dapr.io/app-port": "8080",
                "dapr.io/api-token-secret": "api-token",
                "dapr.io/app-token-secret": "app-token",
                "sidegate.dev/app-env-tokens": "true",
            },
        },
        "spec": {"containers": [{"name": "web", "image": "example.org/shop:1"}]},
    })
}

fn review(pod: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "6d4ff3b6-2c0f-4b7c-8c4f-0c6f1c2a7a11",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "default",
            "operation": "CREATE",
            "userInfo": {"username": "demo"},
            "object": pod,
            "dryRun": false,
        },
    })
}

/// Posts to the webhook over TLS, trusting its certificate only.
async fn post(stage: &Stage, port: u16, review: &Value) -> anyhow::Result<Response<Bytes>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(
        stage.certificate().as_bytes(),
    )?)?;
    let client = ClientConfig::builder_with_provider(crate::tls::provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address(port)).await?;
    let stream = tokio_rustls::TlsConnector::from(Arc::new(client))
        .connect(ServerName::try_from("localhost")?, stream)
        .await
        .context("no TLS with the webhook")?;
    let request = Request::post("/mutate")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(review.to_string()))?;
    send_on(stream, request).await
}

fn apply(pod: &mut Value, patch: &Value) -> anyhow::Result<()> {
    // In an AdmissionReview the patch is JSON in base64.
    let ByteString(patch) = serde_json::from_value(patch.clone())?;
    let patch: json_patch::Patch = serde_json::from_slice(&patch)?;
    Ok(json_patch::patch(pod, &patch)?)
}

fn named<'a>(containers: &'a Value, name: &str) -> Option<&'a Value> {
    let mut containers = containers.as_array()?.iter();
    containers.find(|container| container["name"] == json!(name))
}

fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a Value> {
    let mut variables = container["env"].as_array()?.iter();
    variables.find(|variable| variable["name"] == json!(name))
}

fn refers_to(container: &Value, name: &str, secret: &str) -> bool {
    let reference = json!({"name": secret, "key": "token"});
    variable(container, name)
        .is_some_and(|variable| variable["valueFrom"]["secretKeyRef"] == reference)
}

/// The parts of a container that this demo is about.
fn excerpt(container: &Value) -> Value {
    let tokens = ["DAPR_API_TOKEN", "APP_API_TOKEN"];
    let env: Vec<_> = tokens
        .iter()
        .filter_map(|name| variable(container, name))
        .collect();
    json!({
        "image": container["image"],
        "restartPolicy": container["restartPolicy"],
        "env": env,
        "securityContext": container["securityContext"],
    })
}

fn yaml(title: &str, value: &Value) -> anyhow::Result<String> {
    serde_saphyr::to_string(&json!({title: value})).context("a JSON value can be written as YAML")
}
