//! What a command needs that stands in for the API server: a review of a pod, and one request to a
//! webhook.

use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Full;
use k8s_openapi::ByteString;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::loopback::send_on;

/// A review of a new pod, as the API server sends it.
pub(super) fn review(pod: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "6d4ff3b6-2c0f-4b7c-8c4f-0c6f1c2a7a11",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": pod["metadata"]["namespace"],
            "operation": "CREATE",
            // Whom every webhook lets have sidecars.
            "userInfo": {"username": "sidegate", "groups": ["system:masters"]},
            "object": pod,
            "dryRun": true,
        },
    })
}

/// The certificates of a PEM text.
pub(super) fn roots(pem: &[u8]) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate?)?;
    }
    anyhow::ensure!(!roots.is_empty(), "no certificate in it");
    Ok(roots)
}

/// Speaks TLS on a connection with a server that must have a certificate of `roots` for `name`.
pub(super) async fn secure(
    stream: TcpStream,
    roots: RootCertStore,
    name: &str,
) -> anyhow::Result<TlsStream<TcpStream>> {
    let client = ClientConfig::builder_with_provider(crate::tls::provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    Ok(connector
        .connect(ServerName::try_from(name.to_owned())?, stream)
        .await?)
}

/// Posts a review.
pub(super) async fn post(
    stream: TlsStream<TcpStream>,
    path: &str,
    review: &Value,
) -> anyhow::Result<Response<Bytes>> {
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(review.to_string()))?;
    send_on(stream, request).await
}

/// Makes of a pod what a webhook's answer says.
pub(super) fn apply(pod: &mut Value, answer: &Value) -> anyhow::Result<()> {
    // In an AdmissionReview the patch is JSON in base64.
    let patch = answer["response"]["patch"].clone();
    let ByteString(patch) = serde_json::from_value(patch).context("no patch in it")?;
    let patch: json_patch::Patch = serde_json::from_slice(&patch)?;
    Ok(json_patch::patch(pod, &patch)?)
}

/// The container of a name in a list of a pod.
pub(super) fn named<'a>(containers: &'a Value, name: &str) -> Option<&'a Value> {
    let mut containers = containers.as_array()?.iter();
    containers.find(|container| container["name"] == json!(name))
}
