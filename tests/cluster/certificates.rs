//! The certificates that the injector keeps in a Secret.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use hyper_util::service::TowerToHyperService;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::{Value, json};
use sidegate::injector::config::Config;
use sidegate::injector::others;
use sidegate::injector::requester::Requesters;
use sidegate::injector::server::{BODY_BYTES, BODY_TIME, Settings, routes};
use sidegate::testing::eventually::eventually;
use sidegate::testing::listening::listen;
use sidegate::tls::handshake::TlsHandshake;
use tokio::task::JoinSet;

use crate::keeping::{Kept, Replica, SECRET};

/// Lifetimes of a CA and a certificate, and the wait, in seconds.
const LONG: [u64; 3] = [9000, 3000, 60];
const SHORT: [u64; 3] = [9, 3, 1];

async fn until_ready(replica: &Replica) {
    eventually("the replica is ready", async || {
        replica.readiness.is_ready().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_race_on_an_empty_secret_agree_on_one_authority() {
    let kept = Kept::new().await;
    kept.make_secret().await;
    kept.make_configurations(&["https://127.0.0.1:1/mutate".to_owned()])
        .await;
    let (one, two, three) =
        tokio::join!(kept.replica(LONG), kept.replica(LONG), kept.replica(LONG));
    let ca = async || {
        let ca = kept.secret_text("ca.crt").await?;
        let ready = [&one, &two, &three].map(|replica| replica.readiness.is_ready());
        (ready == [true; 3]).then_some(ca)
    };
    let ca = eventually("all are ready", ca).await;
    let leaf = [&one, &two, &three].map(|replica| replica.identity.borrow().leaf.clone());
    assert!(leaf[0] == leaf[1] && leaf[1] == leaf[2]);
    assert_eq!(kept.bundles().await, vec![Some(ca); 2]);
    let managers = kept.mutating().await.get(&kept.namespace).await.unwrap();
    let managers = managers.metadata.managed_fields.unwrap_or_default();
    let ours = managers
        .iter()
        .find(|one| one.manager.as_deref() == Some("sidegate-injector"));
    let owned = serde_json::to_value(&ours.unwrap().fields_v1).unwrap();
    let field = json!({ ".": {}, "f:name": {}, "f:clientConfig": { "f:caBundle": {} } });
    let webhook = json!({ r#"k:{"name":"keeping-0.sidegate.test"}"#: field });
    let wanted = json!({ "f:webhooks": webhook });
    assert_eq!(owned, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_secret_is_waited_for() {
    let kept = Kept::new().await;
    kept.make_configurations(&["https://127.0.0.1:1/mutate".to_owned()])
        .await;
    let replica = kept.replica(LONG).await;
    assert!(!replica.readiness.is_ready());
    assert!(!replica.identity.borrow().is_some());
    kept.make_secret().await;
    until_ready(&replica).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_is_replaced() {
    let kept = Kept::new().await;
    kept.make_secret().await;
    kept.make_configurations(&["https://127.0.0.1:1/mutate".to_owned()])
        .await;
    kept.set_secret(json!({ "ca.crt": "rubbish", "ca.key": "rubbish", "of.others": "stays" }))
        .await;
    let replica = kept.replica(LONG).await;
    until_ready(&replica).await;
    let text = kept.secret_text("ca.crt").await.unwrap();
    assert!(text.starts_with("-----BEGIN CERTIFICATE-----"), "{text}");
    assert_eq!(
        kept.secret_text("of.others").await.as_deref(),
        Some("stays")
    );

    // The CA stays where only the certificate is broken.
    kept.set_secret(json!({ "tls.key": "rubbish" })).await;
    eventually("the certificate is made anew", async || {
        let key = kept.secret_text("tls.key").await?;
        key.contains("PRIVATE KEY").then_some(())
    })
    .await;
    assert_eq!(kept.secret_text("ca.crt").await.unwrap(), text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_secret_leads_to_a_new_authority_without_a_gap() {
    let kept = Kept::new().await;
    kept.make_secret().await;
    kept.make_configurations(&["https://127.0.0.1:1/mutate".to_owned()])
        .await;
    let replica = kept.replica(LONG).await;
    until_ready(&replica).await;
    let ca = kept.secret_text("ca.crt").await.unwrap();
    let secrets = kept.secrets().await;
    secrets
        .delete(SECRET, &DeleteParams::default())
        .await
        .unwrap();
    kept.make_secret().await;
    let next = eventually("the next CA is in the Secret", async || {
        kept.secret_text("next-ca.crt").await
    })
    .await;
    assert_eq!(kept.secret_text("ca.crt").await.unwrap(), ca);
    let both = Some(ca + &next);
    eventually("both are trusted", async || {
        (kept.bundles().await == [both.clone(), both.clone()]).then_some(())
    })
    .await;
    assert!(replica.readiness.is_ready());
}

/// A webhook that serves what a replica keeps.
async fn serve(replica: &Replica) -> (SocketAddr, JoinSet<()>) {
    let settings = Settings {
        config: Config::default(),
        requesters: Requesters::default(),
        others: others::none(),
        body_bytes: BODY_BYTES,
        body_time: BODY_TIME,
    };
    let service = TowerToHyperService::new(routes(settings));
    listen(TlsHandshake::new(replica.identity.clone()), service).await
}

fn pod(name: &str) -> Pod {
    let pod = json!({
        "metadata": {
            "name": name,
            "annotations": { "dapr.io/enabled": "true", "dapr.io/app-id": "a" },
        },
        "spec": { "containers": [{ "name": "app", "image": "app" }] },
    });
    serde_json::from_value(pod).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_pod_fails_through_rotations_of_the_authority() {
    let kept = Kept::new().await;
    kept.make_secret().await;
    let (one, other) = tokio::join!(kept.replica(SHORT), kept.replica(SHORT));
    let ((at_one, _one), (at_other, _other)) = tokio::join!(serve(&one), serve(&other));
    let urls = [at_one, at_other].map(|address| format!("https://{address}/mutate"));
    kept.make_configurations(&urls).await;
    until_ready(&one).await;
    until_ready(&other).await;

    let pods: Api<Pod> = Api::namespaced(kept.server.client().await, &kept.namespace);
    let (mut authorities, mut leaves, mut created) = (BTreeSet::new(), BTreeSet::new(), 0);
    // The first is no rotation.
    while authorities.len() < 4 {
        let name = format!("pod-{created}");
        let made = pods.create(&PostParams::default(), &pod(&name)).await;
        let made = made.unwrap_or_else(|error| panic!("{name}: {error}"));
        let spec: Value = serde_json::to_value(made.spec).unwrap();
        assert!(spec.to_string().contains("\"daprd\""), "{spec}");
        created += 1;
        authorities.insert(kept.secret_text("ca.crt").await.unwrap());
        leaves.insert(kept.secret_text("tls.crt").await.unwrap());
        reconnect(&kept, &at_one).await;
    }
    println!("{created} pods, {} certificates", leaves.len());
    assert!(leaves.len() > authorities.len());
}

/// A new connection, as an API server makes one that has just started: it keeps those that it has.
async fn reconnect(kept: &Kept, address: &SocketAddr) {
    let bundle = kept.bundles().await.remove(0).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    for root in rustls::pki_types::pem::PemObject::pem_slice_iter(bundle.as_bytes()) {
        roots.add(root.unwrap()).unwrap();
    }
    let config = rustls::ClientConfig::builder_with_provider(sidegate::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    connector
        .connect(address.ip().into(), stream)
        .await
        .unwrap();
}
