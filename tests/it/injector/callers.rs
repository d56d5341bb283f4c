//! Who may call the webhook, and what they see while its certificate changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::StatusCode;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use sidegate::testing::certificates::{Authority, Issued};
use sidegate::testing::eventually::eventually;
use sidegate::testing::http_client;

use super::{Setup, Webhook, connect, pod, post, review_of};

/// A client that shows a certificate.
fn client_with(server: &Authority, issued: &Issued) -> Arc<ClientConfig> {
    let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate(&server.certificate())).unwrap();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let config = ClientConfig::builder_with_provider(sidegate::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate(&issued.certificate)], key)
        .unwrap();
    Arc::new(config)
}

/// Whether a client gets a review answered. With TLS 1.3 a client learns only when it reads that
/// its certificate was refused.
async fn is_served(webhook: &Webhook, client: Arc<ClientConfig>) -> bool {
    let Ok(stream) = connect(webhook.address, client).await else {
        return false;
    };
    let io = hyper_util::rt::TokioIo::new(stream);
    let Ok((mut sender, connection)) = hyper::client::conn::http1::handshake(io).await else {
        return false;
    };
    let mut driver = tokio::task::JoinSet::new();
    driver.spawn(connection);
    let mut request = post(review_of(&pod(&json!({}))).to_string());
    let host = "localhost".parse().unwrap();
    request.headers_mut().insert("host", host);
    let answer = sender.send_request(request).await;
    answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
}

#[tokio::test]
async fn with_a_client_ca_only_its_clients_are_served() {
    let callers = Authority::new();
    let webhook = Webhook::set_up(Setup {
        callers: Some((callers.certificate(), Vec::new())),
        ..Setup::default()
    })
    .await;
    let server = &webhook.authority;
    let good = callers.issue(&["anybody"]);
    assert!(is_served(&webhook, client_with(server, &good)).await);
    let foreign = Authority::new().issue(&["anybody"]);
    assert!(!is_served(&webhook, client_with(server, &foreign)).await);
    assert!(!is_served(&webhook, server.client()).await);
}

#[tokio::test]
async fn with_client_names_only_those_are_served() {
    let callers = Authority::new();
    let webhook = Webhook::set_up(Setup {
        callers: Some((
            callers.certificate(),
            vec!["kube-apiserver".to_owned(), "other".to_owned()],
        )),
        ..Setup::default()
    })
    .await;
    for (name, wanted) in [
        ("kube-apiserver", true),
        ("other", true),
        ("kube-apiserver.evil", false),
        ("kubelet", false),
    ] {
        let client = client_with(&webhook.authority, &callers.issue(&[name]));
        assert_eq!(is_served(&webhook, client).await, wanted, "{name}");
    }
}

#[tokio::test]
async fn no_request_is_lost_while_the_certificate_changes_twice() {
    let mut webhook = Webhook::start().await;
    let (stop, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (address, client) = (webhook.address, webhook.authority.client());
    let leaf = async || {
        let stream = connect(address, client.clone()).await.unwrap();
        let chain = stream.get_ref().1.peer_certificates().unwrap();
        chain[0].clone().into_owned()
    };
    let send = async || {
        while !stop.load(Ordering::Relaxed) {
            let stream = connect(address, client.clone()).await.unwrap();
            let request = post(review_of(&pod(&json!({}))).to_string());
            let answer = http_client::send_on(stream, request).await;
            assert_eq!(answer.status(), StatusCode::OK);
            sent.fetch_add(1, Ordering::Relaxed);
        }
    };
    let mut swap_twice = async || {
        for _ in 0..2 {
            let before = leaf().await;
            let issued = webhook.authority.issue(&["localhost"]);
            webhook
                .mount
                .swap(&[("tls.crt", &issued.certificate), ("tls.key", &issued.key)]);
            eventually("the new certificate is served", async || {
                (leaf().await != before).then_some(())
            })
            .await;
            let so_far = sent.load(Ordering::Relaxed);
            eventually("a request with it", async || {
                (sent.load(Ordering::Relaxed) > so_far + 1).then_some(())
            })
            .await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(send(), send(), swap_twice());
    assert!(sent.into_inner() > 4);
}
