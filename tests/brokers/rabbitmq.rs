//! RabbitMQ.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sidegate::testing::certificates::Authority;
use sidegate::testing::eventually::eventually;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::counting::{CountingApp, Mood};
use crate::direct::{binding, create, next_settled};
use crate::faults::{self, Broker, Pace};
use crate::servers::Server;
use crate::sidecar::Sidecar;

async fn broker() -> Broker {
    Broker {
        name: "RabbitMQ",
        server: Server::rabbitmq().await,
        component: |address, pace| {
            let mode = match pace {
                Pace::Parallel => "parallel",
                Pace::Single => "single",
            };
            component(address, &[("concurrencyMode", mode)])
        },
    }
}

fn component(address: SocketAddr, more: &[(&str, &str)]) -> String {
    let text = format!(
        "apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: pubsub
spec:
  type: pubsub.rabbitmq
  version: v1
  metadata:
  - name: connectionString
    value: amqp://guest:guest@{address}"
    );
    faults::with_fields(text, more)
}

#[tokio::test]
async fn nothing_is_lost_where_the_broker_is_killed() {
    faults::the_broker_is_killed(&mut broker().await).await;
}

#[tokio::test]
async fn nothing_is_lost_where_the_network_or_the_app_fails() {
    let broker = broker().await;
    faults::the_network_fails(&broker).await;
    faults::the_app_fails(&broker).await;
}

#[tokio::test]
async fn nothing_is_lost_where_sidecars_are_killed_and_the_order_is_kept() {
    let broker = broker().await;
    faults::sidecars_are_killed(&broker).await;
    faults::the_order_is_kept(&broker).await;
}

/// A client of the broker beside the sidecars.
async fn channel(address: SocketAddr) -> (Connection, Channel) {
    let url = format!("amqp://guest:guest@{address}");
    let connection = Connection::connect(&url, ConnectionProperties::default()).await;
    let connection = connection.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

fn options(is_auto_deleted: bool) -> QueueDeclareOptions {
    QueueDeclareOptions {
        durable: true,
        auto_delete: is_auto_deleted,
        ..QueueDeclareOptions::default()
    }
}

fn table(arguments: &[(&str, &str)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert((*name).into(), AMQPValue::LongString((*value).into()));
    }
    table
}

#[tokio::test]
async fn shares_queues_with_dapr_and_keeps_dead_letters() {
    let server = Server::rabbitmq().await;
    let address = server.address();
    // As a sidecar of Dapr's made it, with the defaults of Dapr.
    let (_connection, dapr) = channel(address).await;
    let queue = |topic: &str| format!("counter-{topic}");
    let arguments = table(&[("x-queue-type", "classic")]);
    let declared = dapr.queue_declare((&*queue("theirs")).into(), options(true), arguments);
    declared.await.unwrap();

    let app = CountingApp::start().await;
    let subscription = |topic: &str, component: &str| {
        format!(
            "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata:\n  name: {topic}\n\
             spec:\n  pubsubname: {component}\n  topic: {topic}\n  routes:\n    \
             default: /{topic}"
        )
    };
    let plain = component(address, &[]);
    let with_dead_letters = component(address, &[("enableDeadLetter", "true")])
        .replace("name: pubsub", "name: careful");
    let resources = [
        plain,
        with_dead_letters,
        subscription("theirs", "pubsub"),
        subscription("ours", "careful"),
    ];
    let sidecar = Sidecar::start(Some(app.address()), &resources.join("\n---\n")).await;
    let mut id = 0;
    eventually("a message comes through Dapr's queue", async || {
        id += 1;
        sidecar.publish("theirs", id).await;
        (app.count() > 0).then_some(())
    })
    .await;

    // As Dapr would declare it: the broker refuses what differs.
    app.turn(Mood::Down);
    let arguments = table(&[
        ("x-queue-type", "classic"),
        ("x-dead-letter-exchange", "dlx-counter-ours"),
    ]);
    eventually("the queue is there", async || {
        let passive = QueueDeclareOptions {
            passive: true,
            ..options(false)
        };
        let (_connection, probe) = channel(address).await;
        let name = (&*queue("ours")).into();
        probe
            .queue_declare(name, passive, FieldTable::default())
            .await
            .ok()
    })
    .await;
    let name = (&*queue("ours")).into();
    dapr.queue_declare(name, options(false), arguments)
        .await
        .unwrap();
    let body = serde_json::json!({"id": 7}).to_string();
    let (status, _) = sidecar.post("/v1.0/publish/careful/ours", &body).await;
    assert!(status.is_success());
    let letter = eventually("the message that failed is a dead letter", async || {
        let options = BasicGetOptions { no_ack: true };
        dapr.basic_get("dlq-counter-ours".into(), options)
            .await
            .unwrap()
    })
    .await;
    let event: serde_json::Value = serde_json::from_slice(&letter.delivery.data).unwrap();
    assert_eq!(event["data"]["id"], 7);
}

#[tokio::test]
async fn a_queue_is_an_input_and_an_output() {
    let mut server = Server::rabbitmq().await;
    let host = format!("amqp://guest:guest@{}", server.address());
    let queue = binding("bindings.rabbitmq", &[("host", &host), ("queueName", "q")]).await;
    let mut intake = queue.input.as_ref().unwrap().read().await.unwrap();
    create(&queue, "1", &[("ttlInSeconds", "60"), ("key", "a b")])
        .await
        .unwrap();
    let (data, metadata) = next_settled(&mut intake).await.unwrap();
    assert_eq!(data, Bytes::from_static(b"1"));
    assert_eq!(metadata["key"], "a+b");

    create(&queue, "2", &[]).await.unwrap();
    // Killed, this server may lose a queue that it confirmed a moment ago.
    server.stop().await;
    server.start_again().await;
    eventually("the message is there after a restart", async || {
        let mut intake = queue.input.as_ref().unwrap().read().await.ok()?;
        let (data, _) = next_settled(&mut intake).await.ok()?;
        (data == Bytes::from_static(b"2")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_is_not_let_in_is_told() {
    let server = Server::rabbitmq().await;
    let host = format!("amqp://guest:hunter2@{}", server.address());
    let properties = [("host", &*host), ("queueName", "q")];
    let error = crate::direct::build("bindings.rabbitmq", &properties)
        .await
        .err()
        .unwrap();
    let error = error.to_string();
    assert!(error.contains("ACCESS_REFUSED"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

/// TLS before the broker, with the certificate of `localhost`.
async fn with_tls(server: SocketAddr, authority: &Authority) -> (u16, JoinSet<()>) {
    let own = authority.issue(&["localhost"]);
    let chain = CertificateDer::pem_slice_iter(own.certificate.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(sidegate::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((near, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            connections.spawn(async move {
                let Ok(mut near) = acceptor.accept(near).await else {
                    return;
                };
                let mut far = TcpStream::connect(server).await.unwrap();
                let _ = copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    (port, tasks)
}

#[tokio::test]
async fn speaks_tls_to_whom_it_believes() {
    let server = Server::rabbitmq().await;
    let authority = Authority::new();
    let (port, _tasks) = with_tls(server.address(), &authority).await;
    let host = format!("amqps://guest:guest@localhost:{port}");
    let (believed, other) = (authority.certificate(), Authority::new().certificate());
    let properties = |certificate| {
        [
            ("host", &*host),
            ("queueName", "q"),
            ("caCert", certificate),
        ]
    };
    let queue = binding("bindings.rabbitmq", &properties(&believed)).await;
    let mut intake = queue.input.as_ref().unwrap().read().await.unwrap();
    // More than a frame, and more than a record of TLS.
    let large: &'static str = "x".repeat(1 << 20).leak();
    create(&queue, large, &[]).await.unwrap();
    let (data, _) = next_settled(&mut intake).await.unwrap();
    assert!(data == large, "{} bytes", data.len());
    let refused = crate::direct::build("bindings.rabbitmq", &properties(&other)).await;
    let error = refused.err().unwrap().to_string();
    assert!(error.contains("certificate"), "{error}");
}
