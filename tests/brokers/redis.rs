//! Redis.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sidegate::components::binding::{
    BindingAnswer, BindingComponent, BindingFailure, BindingRequest,
};
use sidegate::components::catalog::Backend;
use sidegate::components::message::{Delivery, Metadata, Settlement};
use sidegate::components::pubsub::{Interest, Outgoing, PubSub};
use sidegate::testing::certificates::Authority;
use sidegate::testing::eventually::{eventually, eventually_blocking};
use sidegate::testing::ports::free_port;
use tokio::time::timeout;

use crate::direct::{binding, build, next, next_settled};
use crate::faults::{self, Broker, Pace};
use crate::servers::{Server, program};

async fn broker() -> Broker {
    Broker {
        name: "Redis",
        server: Server::redis(&[]).await,
        component: |address, pace| {
            // Short enough for a test; a message that fails ten thousand times is for another day.
            let (concurrency, interval) = match pace {
                Pace::Parallel => ("10", "200ms"),
                Pace::Single => ("1", "5"),
            };
            let fields = [
                ("concurrency", concurrency),
                ("redeliverInterval", interval),
                ("processingTimeout", "3s"),
            ];
            component(address, &fields)
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
  type: pubsub.redis
  version: v1
  metadata:
  - name: redisHost
    value: {address}"
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

/// What the server answers to a command of somebody else, once it has read what is on its disk.
pub(crate) fn ask(server: &Server, command: &[&str]) -> String {
    let port = server.address().port().to_string();
    eventually_blocking("the server has started", || {
        let mut client: Command = program("redis-cli");
        client.args(["-h", "127.0.0.1", "-p", &port]).args(command);
        let output = client.output().unwrap();
        let answer = String::from_utf8(output.stdout).unwrap();
        (!answer.starts_with("LOADING")).then(|| answer.trim_end().to_owned())
    })
}

async fn pubsub(server: &Server, more: &[(&str, &str)]) -> Arc<dyn PubSub> {
    let address = server.address().to_string();
    let host = [("redisHost", address.as_str())];
    match build("pubsub.redis", &[&host, more].concat()).await {
        Ok(Backend::PubSub(pubsub)) => pubsub.broker,
        Ok(_) => panic!("no pub/sub"),
        Err(error) => panic!("{error}"),
    }
}

fn message(data: &'static str) -> Outgoing {
    Outgoing {
        data: Bytes::from_static(data.as_bytes()),
        content_type: None,
        metadata: Metadata::from([("k".to_owned(), "v".to_owned())]),
    }
}

fn orders() -> Interest {
    Interest {
        topic: "orders".to_owned(),
        metadata: Metadata::new(),
    }
}

async fn settle(delivery: Delivery, settlement: Settlement) {
    delivery.acknowledge.settle(settlement).await.unwrap();
}

#[tokio::test]
async fn streams_are_those_of_dapr() {
    let server = Server::redis(&[]).await;
    // As a sidecar of Dapr's writes it.
    let data = "{\"id\":1}";
    ask(
        &server,
        &[
            "XADD",
            "orders",
            "*",
            "data",
            data,
            "metadata",
            "{\"a\":\"b\"}",
        ],
    );
    let broker = pubsub(&server, &[]).await;
    let mut intake = broker.subscribe(&orders()).await.unwrap();
    let (found, metadata) = next_settled(&mut intake).await.unwrap();
    assert_eq!((found, &*metadata["a"]), (Bytes::from(data), "b"));
    let groups = ask(&server, &["XINFO", "GROUPS", "orders"]);
    assert!(groups.contains("counter"), "{groups}");

    broker.publish("orders", message("2")).await.unwrap();
    let published = broker
        .publish_all("orders", vec![message("3"), message("4")])
        .await;
    assert_eq!(published, [Ok(()), Ok(())]);
    let entries = ask(&server, &["XRANGE", "orders", "-", "+"]);
    let words: Vec<_> = entries.lines().skip(6).take(4).collect();
    assert_eq!(
        words,
        ["data", "2", "metadata", "{\"k\":\"v\"}"],
        "{entries}"
    );
    for expected in ["2", "3", "4"] {
        assert_eq!(next_settled(&mut intake).await.unwrap().0, expected);
    }
    intake.close().await;
    let consumers = ask(&server, &["XINFO", "CONSUMERS", "orders", "counter"]);
    assert_eq!(consumers, "", "one that leaves nothing leaves the group");
}

#[tokio::test]
async fn a_message_that_failed_comes_again_and_one_in_work_does_not() {
    let server = Server::redis(&[]).await;
    let quick = [("processingTimeout", "300"), ("redeliverInterval", "100ms")];
    let (one, other) = (pubsub(&server, &quick).await, pubsub(&server, &quick).await);
    one.publish_all("orders", vec![message("1"), message("2")])
        .await;
    let mut intake = one.subscribe(&orders()).await.unwrap();
    let (first, second) = (
        next(&mut intake).await.unwrap(),
        next(&mut intake).await.unwrap(),
    );
    settle(first, Settlement::Failed("no".to_owned())).await;
    let again = next(&mut intake).await.unwrap();
    assert_eq!(again.data, "1");
    settle(again, Settlement::Done(None)).await;
    // Over its time it is the other's, but not handed out twice by the one that has it.
    let twice = timeout(Duration::from_secs(1), intake.next()).await;
    assert!(twice.is_err(), "a message in work was handed out again");
    drop(second);
    let mut others = other.subscribe(&orders()).await.unwrap();
    drop(intake);
    let taken = next(&mut others).await.unwrap();
    assert_eq!(taken.data, "2");
    settle(taken, Settlement::Done(None)).await;
    eventually("nothing is left", async || {
        let pending = ask(&server, &["XPENDING", "orders", "counter"]);
        pending.starts_with('0').then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_waits_goes_to_another_when_a_subscription_ends() {
    let server = Server::redis(&[]).await;
    let slow = [("processingTimeout", "1h"), ("redeliverInterval", "50ms")];
    let (one, other) = (pubsub(&server, &slow).await, pubsub(&server, &slow).await);
    one.publish_all("orders", vec![message("1"), message("2"), message("3")])
        .await;
    let mut intake = one.subscribe(&orders()).await.unwrap();
    let first = next(&mut intake).await.unwrap();
    intake.close().await;
    let mut others = other.subscribe(&orders()).await.unwrap();
    for expected in ["2", "3"] {
        assert_eq!(next_settled(&mut others).await.unwrap().0, expected);
    }
    settle(first, Settlement::Failed("the app is gone".to_owned())).await;
    assert_eq!(next_settled(&mut others).await.unwrap().0, "1");
}

#[tokio::test]
async fn a_wait_that_is_given_up_loses_nothing() {
    let server = Server::redis(&[]).await;
    let broker = pubsub(&server, &[]).await;
    let mut intake = broker.subscribe(&orders()).await.unwrap();
    let mut came = Vec::new();
    for number in 0..200 {
        ask_add(&broker, number).await;
        if let Ok(delivery) = timeout(Duration::from_micros(300), intake.next()).await {
            let delivery = delivery.unwrap();
            came.push(delivery.data.clone());
            settle(delivery, Settlement::Done(None)).await;
        }
    }
    while came.len() < 200 {
        came.push(next_settled(&mut intake).await.unwrap().0);
    }
    let expected: Vec<_> = (0..200)
        .map(|number| Bytes::from(number.to_string()))
        .collect();
    assert_eq!(came, expected);
}

async fn ask_add(broker: &Arc<dyn PubSub>, number: u32) {
    let message = Outgoing {
        data: Bytes::from(number.to_string()),
        content_type: None,
        metadata: Metadata::new(),
    };
    broker.publish("orders", message).await.unwrap();
}

#[tokio::test]
async fn a_group_that_is_gone_is_made_again() {
    let server = Server::redis(&[]).await;
    let broker = pubsub(&server, &[]).await;
    let mut intake = broker.subscribe(&orders()).await.unwrap();
    ask(&server, &["XGROUP", "DESTROY", "orders", "counter"]);
    broker.publish("orders", message("1")).await.unwrap();
    assert_eq!(next_settled(&mut intake).await.unwrap().0, "1");
    ask(&server, &["FLUSHALL"]);
    broker.publish("orders", message("2")).await.unwrap();
    assert_eq!(next_settled(&mut intake).await.unwrap().0, "2");
}

#[tokio::test]
async fn old_messages_go_and_a_stream_keeps_its_length() {
    let server = Server::redis(&["--stream-node-max-entries", "10"]).await;
    let broker = pubsub(&server, &[("maxLenApprox", "20")]).await;
    for _ in 0..10 {
        broker.publish_all("orders", vec![message("1"); 10]).await;
    }
    let length: u32 = ask(&server, &["XLEN", "orders"]).parse().unwrap();
    assert!((20..40).contains(&length), "{length}");
    let broker = pubsub(&server, &[("streamTTL", "1ms")]).await;
    eventually("what is old goes", async || {
        broker.publish("orders", message("1")).await.unwrap();
        let length: u32 = ask(&server, &["XLEN", "orders"]).parse().unwrap();
        (length < 20).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_is_not_let_in_is_told() {
    let server = Server::redis(&["--requirepass", "right"]).await;
    let host = server.address().to_string();
    let attempt = async |kind: &'static str, more: &[(&str, &str)]| {
        let properties = [&[("redisHost", host.as_str())], more].concat();
        build(kind, &properties)
            .await
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    for kind in ["pubsub.redis", "bindings.redis"] {
        assert_eq!(attempt(kind, &[("redisPassword", "right")]).await, Ok(()));
        let error = attempt(kind, &[("redisPassword", "hunter2")])
            .await
            .unwrap_err();
        assert!(
            error.contains(&host) && !error.contains("hunter2"),
            "{error}"
        );
        assert!(error.to_lowercase().contains("password"), "{error}");
        let error = attempt(kind, &[]).await.unwrap_err();
        assert!(error.contains("NOAUTH"), "{error}");
    }
    let nobody = attempt("pubsub.redis", &[("redisPort", "1")])
        .await
        .unwrap_err();
    assert!(nobody.contains("\"redisPort\""), "{nobody}");
}

/// Redis that speaks TLS only, with a certificate of an authority.
pub(crate) async fn with_tls(authority: &Authority) -> (Server, u16) {
    let folder = tempfile::tempdir().unwrap().keep();
    let own = authority.issue(&["localhost"]);
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (certificate, key) = (
        write("tls.crt", &own.certificate),
        write("tls.key", &own.key),
    );
    let roots = write("ca.crt", &authority.certificate());
    let port = free_port();
    let options = [
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &roots,
        "--requirepass",
        "right",
    ];
    let server = Server::redis(&options).await;
    std::fs::remove_dir_all(Path::new(&folder)).unwrap();
    (server, port)
}

#[tokio::test]
async fn speaks_tls_to_whom_it_believes() {
    let authority = Authority::new();
    let (_server, port) = with_tls(&authority).await;
    let host = format!("localhost:{port}");
    let (believed, other) = (authority.certificate(), Authority::new().certificate());
    let client = authority.issue(&["client"]);
    let attempt = async |more: &[(&str, &str)]| {
        let properties = [
            ("redisHost", host.as_str()),
            ("redisPassword", "right"),
            ("enableTLS", "true"),
            ("clientCert", &client.certificate),
            ("clientKey", &client.key),
        ];
        let properties = [&properties, more].concat();
        let built = build("pubsub.redis", &properties).await;
        built.map_err(|error| error.to_string())
    };
    let Ok(Backend::PubSub(pubsub)) = attempt(&[("caCert", &believed)]).await else {
        panic!("it is not believed");
    };
    let mut intake = pubsub.broker.subscribe(&orders()).await.unwrap();
    // More than a record of TLS.
    let large: &'static str = "x".repeat(1 << 20).leak();
    pubsub
        .broker
        .publish("orders", message(large))
        .await
        .unwrap();
    assert!(next_settled(&mut intake).await.unwrap().0 == large);
    let error = attempt(&[("caCert", &other)]).await.err().unwrap();
    assert!(error.contains("certificate"), "{error}");
    assert!(attempt(&[("insecureSkipTLSVerify", "true")]).await.is_ok());
}

async fn invoke(
    keys: &BindingComponent,
    operation: &str,
    data: &'static str,
    metadata: &[(&str, &str)],
) -> Result<BindingAnswer, BindingFailure> {
    let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    let request = BindingRequest {
        operation: operation.to_owned(),
        data: Bytes::from_static(data.as_bytes()),
        metadata: metadata.iter().map(owned).collect(),
    };
    keys.output.as_ref().unwrap().invoke(request).await
}

#[tokio::test]
async fn keys_are_an_output_and_a_stream_is_an_input() {
    let mut server = Server::redis(&[]).await;
    let host = server.address().to_string();
    let properties = [("redisHost", host.as_str()), ("stream", "events")];
    let keys = binding("bindings.redis", &properties).await;
    let data = async |operation, metadata: &[(&str, &str)]| {
        let answer = invoke(&keys, operation, "v", metadata).await;
        answer.map(|answer| {
            answer
                .data
                .map(|data| String::from_utf8(data.to_vec()).unwrap())
        })
    };
    let some = |text: &str| Ok(Some(text.to_owned()));
    let a = ("key", "a");
    assert_eq!(data("create", &[a, ("ttlInSeconds", "60")]).await, Ok(None));
    assert_eq!(ask(&server, &["TTL", "a"]), "60");
    assert_eq!(data("get", &[a]).await, some("v"));
    assert_eq!(data("get", &[a, ("delete", "true")]).await, some("v"));
    assert_eq!(data("get", &[a]).await, Ok(None));
    assert_eq!(data("increment", &[a]).await, some("1"));
    assert_eq!(
        data("increment", &[a, ("ttlInSeconds", "60")]).await,
        some("2")
    );
    assert_eq!(ask(&server, &["TTL", "a"]), "60");
    assert_eq!(data("delete", &[a]).await, Ok(None));
    assert_eq!(ask(&server, &["EXISTS", "a"]), "0");
    assert!(!data("get", &[]).await.unwrap_err().may_heal);
    assert!(
        !data("increment", &[("key", "events"), ("ttlInSeconds", "x")])
            .await
            .unwrap_err()
            .may_heal
    );

    let input = keys.input.as_ref().unwrap();
    let mut intake = input.read().await.unwrap();
    ask(&server, &["XADD", "events", "*", "data", "1"]);
    assert_eq!(next_settled(&mut intake).await.unwrap().0, "1");
    let wrong_kind = data("increment", &[("key", "events")]).await.unwrap_err();
    assert_eq!(wrong_kind.text, "the server refused the operation");

    server.kill();
    let away = data("get", &[a]).await.unwrap_err();
    assert!(away.may_heal && !away.text.contains(&host), "{away}");
    server.start_again().await;
    eventually("it is reached again", async || data("get", &[a]).await.ok()).await;
}

#[tokio::test]
async fn follows_the_primary_that_sentinels_name() {
    let primary = Server::redis(&[]).await;
    let port = primary.address().port();
    let sentinel = Server::run(move |address, folder| {
        let file = folder.join("sentinel.conf");
        let text = format!(
            "bind 127.0.0.1\nport {}\nsentinel monitor main 127.0.0.1 {port} 1\n",
            address.port()
        );
        std::fs::write(&file, text).unwrap();
        let mut command = program("redis-server");
        command.arg(file).arg("--sentinel");
        command
    })
    .await;
    // The first of the list is away.
    let hosts = format!("127.0.0.1:1,{}", sentinel.address());
    let attempt = async |name: &str| {
        let properties = [
            ("redisHost", hosts.as_str()),
            ("failover", "true"),
            ("sentinelMasterName", name),
        ];
        build("pubsub.redis", &properties)
            .await
            .map_err(|error| error.to_string())
    };
    let Ok(Backend::PubSub(pubsub)) = attempt("main").await else {
        panic!("the primary is not found");
    };
    pubsub.broker.publish("orders", message("1")).await.unwrap();
    assert_eq!(ask(&primary, &["XLEN", "orders"]), "1");
    let error = attempt("other").await.err().unwrap();
    assert!(error.contains("no primary is named \"other\""), "{error}");
}
