//! Messages from the API of a whole sidecar to its app.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::GetMetadataRequest;
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde_json::{Value, json};
use sidegate::cli::sidecar::Ended;
use sidegate::testing::eventually::eventually;
use sidegate::testing::http_client::send;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

use super::{Running, request};
use crate::app_channel::{Answer, Server};
use crate::pubsub::in_memory;

const SUBSCRIPTION: &str = "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata: {name: s}\n\
     spec: {pubsubname: p, topic: t, routes: {rules: [{match: event.type == 'a', path: /a}], \
     default: /t}, deadLetterTopic: dead, metadata: {k: v}}\n";

fn resources() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("p.yaml"), in_memory("p")).unwrap();
    std::fs::write(folder.path().join("s.yaml"), SUBSCRIPTION).unwrap();
    folder
}

fn answer(status: u16, body: &str) -> Answer {
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes())).map_err(Into::into);
    let mut answer = Response::new(UnsyncBoxBody::new(body));
    *answer.status_mut() = status.try_into().unwrap();
    answer
}

/// An app that calls its sidecar back before it answers a message, once it is let.
struct CallingApp {
    server: Server,
    /// The data of each message that comes.
    arrivals: mpsc::Receiver<String>,
    /// What the calls were answered.
    answers: mpsc::Receiver<u16>,
    sidecar: watch::Sender<Option<SocketAddr>>,
}

impl CallingApp {
    async fn start() -> Self {
        let (arrived, arrivals) = mpsc::channel(1024);
        let (answered, answers) = mpsc::channel(1024);
        let sidecar = watch::Sender::new(None);
        let address = Arc::new(sidecar.subscribe());
        let server = Server::start(move |request: Request<Incoming>| {
            let (arrived, answered) = (arrived.clone(), answered.clone());
            let mut address = (*address).clone();
            async move {
                if request.uri().path().starts_with("/dapr/") {
                    return answer(404, "");
                }
                let event = request.into_body().collect().await.unwrap().to_bytes();
                let event: Value = serde_json::from_slice(&event).unwrap();
                let data = event["data"].as_str().unwrap().to_owned();
                arrived.send(data).await.unwrap();
                let address = address.wait_for(Option::is_some).await.unwrap().unwrap();
                let call = super::request("GET", "/v1.0/metadata", &[]);
                let status = send(address, call).await.status().as_u16();
                answered.send(status).await.unwrap();
                answer(200, "")
            }
        })
        .await;
        Self {
            server,
            arrivals,
            answers,
            sidecar,
        }
    }

    /// A sidecar that subscribes for it.
    async fn sidecar(&self, folder: &TempDir, more: &[&str]) -> Running {
        let port = format!("--app-port={}", self.server.address.port());
        let path = format!("--resources-path={}", folder.path().display());
        let flags = [&[port.as_str(), path.as_str()], more].concat();
        let sidecar = Running::start(&flags, &[]).await;
        eventually("it subscribes", async || {
            let told = metadata(&sidecar).await;
            let is_ready = sidecar.status("GET", "/v1.0/healthz", &[]).await == 204;
            (told["subscriptions"].is_array() && is_ready).then_some(())
        })
        .await;
        sidecar
    }
}

async fn metadata(sidecar: &Running) -> Value {
    let answer = send(sidecar.http(), request("GET", "/v1.0/metadata", &[])).await;
    serde_json::from_slice(answer.body()).unwrap()
}

async fn publish(sidecar: &Running, data: &'static str) -> u16 {
    let mut publish = request("POST", "/v1.0/publish/p/t", &[]);
    *publish.body_mut() = Full::from(data);
    send(sidecar.http(), publish).await.status().as_u16()
}

/// Publishes until something comes: the queue is made a moment after the subscription is known.
async fn publish_until_it_comes(sidecar: &Running, app: &mut CallingApp) {
    eventually("a message comes", async || {
        assert_eq!(publish(sidecar, "hello").await, 204);
        app.arrivals.try_recv().ok()
    })
    .await;
}

async fn takes_nothing(sidecar: &Running) {
    eventually("nothing is taken any more", async || {
        let metadata = metadata(sidecar).await;
        metadata["subscriptions"].is_null().then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_app_can_call_its_sidecar_while_it_deals_with_its_last_messages() {
    let (mut app, folder) = (CallingApp::start().await, resources());
    let grace = ["--dapr-graceful-shutdown-seconds=60"];
    let sidecar = app.sidecar(&folder, &grace).await;
    publish_until_it_comes(&sidecar, &mut app).await;
    sidecar.stop.cancel();
    takes_nothing(&sidecar).await;
    app.sidecar.send_replace(Some(sidecar.http()));
    assert_eq!(sidecar.ended().await.unwrap(), Ended::Drained);
    assert_eq!(app.answers.recv().await, Some(200));
}

#[tokio::test]
async fn messages_that_are_never_dealt_with_do_not_hold_the_end_up() {
    let (mut app, folder) = (CallingApp::start().await, resources());
    let grace = ["--dapr-graceful-shutdown-seconds=1"];
    let sidecar = app.sidecar(&folder, &grace).await;
    publish_until_it_comes(&sidecar, &mut app).await;
    sidecar.stop.cancel();
    assert_eq!(sidecar.ended().await.unwrap(), Ended::Drained);
}

#[tokio::test]
async fn no_message_is_taken_while_the_end_is_blocked_and_publishing_goes_on() {
    let (mut app, folder) = (CallingApp::start().await, resources());
    let block = ["--dapr-block-shutdown-duration=1h"];
    let sidecar = app.sidecar(&folder, &block).await;
    app.sidecar.send_replace(Some(sidecar.http()));
    publish_until_it_comes(&sidecar, &mut app).await;
    sidecar.stop.cancel();
    takes_nothing(&sidecar).await;
    // Enough that one would come, were any taken.
    for _ in 0..20 {
        assert_eq!(publish(&sidecar, "late").await, 204);
    }
    while let Ok(data) = app.arrivals.try_recv() {
        assert_eq!(data, "hello");
    }
}

#[tokio::test]
async fn the_metadata_tells_of_subscriptions_over_http_and_grpc() {
    let (app, folder) = (CallingApp::start().await, resources());
    let sidecar = app.sidecar(&folder, &[]).await;
    let expected = json!([{
        "pubsubname": "p", "topic": "t", "metadata": { "k": "v" },
        "rules": [{ "match": "event.type == 'a'", "path": "/a" }, { "path": "/t" }],
        "deadLetterTopic": "dead", "type": "DECLARATIVE",
    }]);
    assert_eq!(metadata(&sidecar).await["subscriptions"], expected);
    let address = format!("http://{}", sidecar.grpc());
    let mut client = DaprClient::connect(address).await.unwrap();
    let told = client.get_metadata(GetMetadataRequest {}).await.unwrap();
    let told = &told.into_inner().subscriptions[0];
    assert_eq!((told.pubsub_name.as_str(), told.topic.as_str()), ("p", "t"));
    assert_eq!((told.r#type, told.dead_letter_topic.as_str()), (1, "dead"));
    let rules = &told.rules.as_ref().unwrap().rules;
    assert_eq!(
        (rules[1].r#match.as_str(), rules[1].path.as_str()),
        ("", "/t")
    );
}
