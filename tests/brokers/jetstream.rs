//! NATS JetStream.

use std::net::SocketAddr;

use async_nats::jetstream::{self, stream};
use bytes::Bytes;
use sidegate::components::BackendError;
use sidegate::components::catalog::Backend;
use sidegate::components::message::Settlement;
use sidegate::components::pubsub::{Interest, Outgoing};
use sidegate::testing::certificates::Authority;
use sidegate::testing::eventually::eventually;

use crate::direct::{binding, build, create, next, next_settled};
use crate::faults::{self, Broker, Pace};
use crate::servers::{Server, program};

/// A server with a stream of these subjects.
async fn server(subjects: &[&str]) -> Server {
    let server = Server::nats().await;
    let client = async_nats::connect(server.address().to_string())
        .await
        .unwrap();
    let subjects = subjects.iter();
    let config = stream::Config {
        name: "messages".to_owned(),
        subjects: subjects.map(|&subject| subject.to_owned()).collect(),
        ..stream::Config::default()
    };
    jetstream::new(client).create_stream(config).await.unwrap();
    server
}

async fn broker() -> Broker {
    Broker {
        name: "JetStream",
        server: server(&["orders.>"]).await,
        component: |address, pace| match pace {
            Pace::Parallel => component(address, &[("concurrency", "parallel")]),
            // The server hands out nothing else until a message is settled.
            Pace::Single => component(address, &[("maxAckPending", "1")]),
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
  type: pubsub.jetstream
  version: v1
  metadata:
  - name: natsURL
    value: nats://{address}
  - name: ackWait
    value: 3s"
    );
    faults::with_fields(text, more)
}

#[tokio::test]
async fn nothing_is_lost_where_the_broker_is_killed() {
    faults::the_broker_is_killed(&mut broker().await).await;
}

#[tokio::test]
async fn nothing_is_lost_where_the_network_fails() {
    faults::the_network_fails(&broker().await).await;
}

#[tokio::test]
async fn nothing_is_lost_where_the_app_fails() {
    faults::the_app_fails(&broker().await).await;
}

#[tokio::test]
async fn nothing_is_lost_where_sidecars_are_killed() {
    faults::sidecars_are_killed(&broker().await).await;
}

#[tokio::test]
async fn the_order_is_kept() {
    faults::the_order_is_kept(&broker().await).await;
}

fn interest(topic: &str) -> Interest {
    Interest {
        topic: topic.to_owned(),
        metadata: Default::default(),
    }
}

fn outgoing(data: &'static str) -> Outgoing {
    Outgoing {
        data: Bytes::from_static(data.as_bytes()),
        content_type: None,
        metadata: Default::default(),
    }
}

#[tokio::test]
async fn a_stream_that_is_missing_is_named() {
    let server = server(&["orders"]).await;
    let url = format!("nats://{}", server.address());
    let backend = build("pubsub.jetstream", &[("natsURL", &url)])
        .await
        .ok()
        .unwrap();
    let Backend::PubSub(pubsub) = backend else {
        panic!("no pub/sub");
    };
    let text = "no stream takes the subject \"other\"; make one, which keeps its messages";
    let refused = BackendError::Refused(text.to_owned());
    let published = pubsub.broker.publish("other", outgoing("1")).await;
    assert_eq!(published, Err(refused.clone()));
    let subscribed = pubsub.broker.subscribe(&interest("other")).await;
    assert_eq!(subscribed.err(), Some(refused));
    let wild = pubsub.broker.publish("orders.*", outgoing("1")).await;
    assert!(matches!(wild, Err(BackendError::Refused(_))), "{wild:?}");
}

#[tokio::test]
async fn what_takes_long_is_not_handed_out_twice() {
    let server = server(&["orders"]).await;
    let url = format!("nats://{}", server.address());
    let properties = [("natsURL", &*url), ("ackWait", "500ms")];
    let backend = build("pubsub.jetstream", &properties).await.ok().unwrap();
    let Backend::PubSub(pubsub) = backend else {
        panic!("no pub/sub");
    };
    let broker = pubsub.broker;
    let mut intake = broker.subscribe(&interest("orders")).await.unwrap();
    broker.publish("orders", outgoing("1")).await.unwrap();
    let long = next(&mut intake).await.unwrap();
    // What is in hand outlasts its intake.
    drop(intake);
    let mut other = broker.subscribe(&interest("orders")).await.unwrap();
    // Two seconds of the server's, which would have handed it out four times.
    let wait = std::time::Duration::from_secs(2);
    let again = tokio::time::timeout(wait, other.next()).await;
    assert!(again.is_err(), "handed out twice");
    // One that is given up comes back, and the one that is settled does not.
    drop(long);
    let (data, metadata) = next_settled(&mut other).await.unwrap();
    assert_eq!((&*data, &*metadata["Topic"]), (&b"1"[..], "orders"));
    broker.publish("orders", outgoing("2")).await.unwrap();
    let delivery = next(&mut other).await.unwrap();
    assert_eq!(&*delivery.data, b"2");
    let failed = Settlement::Failed("a test".to_owned());
    delivery.acknowledge.settle(failed).await.unwrap();
    let (data, _) = next_settled(&mut other).await.unwrap();
    assert_eq!(&*data, b"2");
}

#[tokio::test]
async fn a_subject_is_an_input_and_an_output() {
    let mut server = server(&["orders"]).await;
    let url = format!("nats://{}", server.address());
    let properties = [("natsURL", &*url), ("topic", "orders"), ("ackWait", "1s")];
    let queue = binding("bindings.jetstream", &properties).await;
    let mut intake = queue.input.as_ref().unwrap().read().await.unwrap();
    create(&queue, "1", &[]).await.unwrap();
    let (data, _) = next_settled(&mut intake).await.unwrap();
    assert_eq!(data, Bytes::from_static(b"1"));
    server.kill();
    server.start_again().await;
    eventually("a message is taken after a restart", async || {
        create(&queue, "2", &[]).await.ok()
    })
    .await;
    eventually("it comes after a restart", async || {
        let (data, _) = next_settled(&mut intake).await.ok()?;
        (data == Bytes::from_static(b"2")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn speaks_tls_to_whom_it_believes() {
    let authority = Authority::new();
    let own = authority.issue(&["localhost", "127.0.0.1"]);
    let server = Server::run(move |address, folder| {
        std::fs::write(folder.join("certificate"), &own.certificate).unwrap();
        std::fs::write(folder.join("key"), &own.key).unwrap();
        let mut command = program("nats-server");
        command
            .args(["--addr", "127.0.0.1", "--user", "u", "--pass", "p", "--tls"])
            .args(["--port", &address.port().to_string()])
            .args(["--tlscert".as_ref(), folder.join("certificate").as_os_str()])
            .args(["--tlskey".as_ref(), folder.join("key").as_os_str()]);
        command
    })
    .await;
    let url = format!("nats://localhost:{}", server.address().port());
    let (believed, other) = (authority.certificate(), Authority::new().certificate());
    for (certificate, password, is_let_in) in [
        (&believed, "p", true),
        (&believed, "wrong", false),
        (&other, "p", false),
    ] {
        let properties = [
            ("natsURL", &*url),
            ("username", "u"),
            ("password", password),
            ("caCert", certificate),
        ];
        let built = build("pubsub.jetstream", &properties).await;
        let error = built.map(drop).map_err(|error| error.to_string());
        assert_eq!(error.is_ok(), is_let_in, "{password}: {error:?}");
    }
}
