//! The APIs of configuration and locks over real sockets, with stores in memory behind them.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1 as proto;
use http::Request;
use http_body_util::Full;
use proto::dapr_client::DaprClient;
use serde_json::{Value, json};
use sidegate::api::access::{Access, Rule};
use sidegate::api::grpc::{GrpcApi, GrpcService};
use sidegate::api::http::cors::Cors;
use sidegate::api::http::{HttpApi, HttpService};
use sidegate::api::routes::Surface;
use sidegate::api::{Blocks, Door};
use sidegate::app_channel::{AppChannel, AppProtocol};
use sidegate::auth::tokens::ApiTokens;
use sidegate::blocks::configuration::Configurations;
use sidegate::blocks::lock::Locks;
use sidegate::components::configuration::ConfigurationStore;
use sidegate::components::lock::LockStore;
use sidegate::process::early_stop::EarlyStop;
use sidegate::process::serve::Plain;
use sidegate::testing::eventually::eventually;
use sidegate::testing::fake_app::FakeApp;
use sidegate::testing::fake_configuration::FakeConfiguration;
use sidegate::testing::fake_locks::FakeLocks;
use sidegate::testing::fake_registry::{FakeRegistry, Stores};
use sidegate::testing::http_client::send;
use sidegate::testing::idle_blocks::idle_blocks;
use sidegate::testing::listening::listen;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::Channel;

use crate::app_channel::{config, token};

/// Both APIs, with stores and an app behind them.
struct Apis {
    http: SocketAddr,
    grpc: SocketAddr,
    items: Arc<FakeConfiguration>,
    locks: Arc<FakeLocks>,
    app: FakeApp,
    intake: EarlyStop,
    _tasks: Vec<JoinSet<()>>,
}

impl Apis {
    async fn start() -> Self {
        Self::guarded(Access::default(), None, true).await
    }

    /// With a token and rules of who may call what, and with or without stores.
    async fn guarded(access: Access, api_token: Option<&str>, has_stores: bool) -> Self {
        let (items, locks) = (FakeConfiguration::of(&[]), Arc::<FakeLocks>::default());
        let of_items: Arc<dyn ConfigurationStore> = Arc::<FakeConfiguration>::clone(&items);
        let of_locks: Arc<dyn LockStore> = Arc::<FakeLocks>::clone(&locks);
        let stores = Stores {
            configurations: vec![("s", of_items)],
            locks: vec![("l", of_locks)],
            ..Stores::default()
        };
        let stores = if has_stores {
            stores
        } else {
            Stores::default()
        };
        let registry = FakeRegistry::of(&stores);
        let app = FakeApp::start().await;
        let mut channel = config(AppProtocol::Http, app.address());
        channel.token = Some(token("app token"));
        let channel = AppChannel::new(channel).unwrap();
        let (configurations, supervisor) =
            Configurations::new(registry.registry(), "", Some(channel));
        let shutdown = CancellationToken::new();
        let intake = EarlyStop::new(&shutdown);
        let mut supervised = JoinSet::new();
        let running = supervisor.run(intake.part(), shutdown);
        supervised.spawn(async move { running.await.unwrap() });
        let blocks = Blocks {
            configurations: Arc::new(configurations),
            locks: Arc::new(Locks::new(registry.registry())),
            ..idle_blocks("app")
        };
        let door = Door {
            tokens: ApiTokens::new(api_token.map(token)),
            max_body: 1024,
            access,
            ..Door::default()
        };
        let api = HttpApi::new(Surface::Api, door.clone(), Cors::Off, blocks.clone());
        let (http, of_http) = listen(Plain, HttpService::new(api)).await;
        let api = GrpcApi::new(door, blocks);
        let (grpc, of_grpc) = listen(Plain, GrpcService::new(api)).await;
        Self {
            http,
            grpc,
            items,
            locks,
            app,
            intake,
            _tasks: vec![supervised, of_http, of_grpc],
        }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let request = Request::get(path).body(Full::<Bytes>::default());
        answered(self.http, request.unwrap()).await
    }

    async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let request = Request::post(path).body(Full::from(body.to_owned()));
        answered(self.http, request.unwrap()).await
    }

    async fn client(&self) -> DaprClient<Channel> {
        let address = format!("http://{}", self.grpc);
        DaprClient::connect(address).await.unwrap()
    }

    async fn followers(&self, count: usize) {
        eventually("so many follow", async || {
            (self.items.followers() == count).then_some(())
        })
        .await;
    }
}

async fn answered(address: SocketAddr, request: Request<Full<Bytes>>) -> (u16, Value) {
    let answer = send(address, request).await;
    let body = serde_json::from_slice(answer.body()).unwrap_or(Value::Null);
    (answer.status().as_u16(), body)
}

/// What a call of something that is not there is answered with.
fn failure(code: &str, message: &str) -> Value {
    json!({"errorCode": code, "message": message})
}

#[tokio::test]
async fn items_are_read_over_http() {
    let apis = Apis::start().await;
    for version in ["v1.0", "v1.0-alpha1"] {
        let path = format!("/{version}/configuration/s");
        apis.items.set("a b", "");
        assert_eq!(apis.get(&path).await, (204, Value::Null));
        apis.items.set("a b", "1");
        apis.items.set("c", "2");
        let (status, items) = apis.get(&path).await;
        assert_eq!((status, items.as_object().unwrap().len()), (200, 2));
        let (_, items) = apis.get(&format!("{path}?key=a+b&metadata.m=v")).await;
        assert_eq!(items["a b"]["value"], "1");
        assert!(items["a b"]["version"].is_string() && items.get("c").is_none());
        assert_eq!(apis.items.asked_with()["m"], "v");
        apis.items.set("c", "");
    }
    apis.items.go_down();
    let text = "failed to get [x y] from Configuration store s";
    let answer = apis.get("/v1.0/configuration/s?key=x&key=y").await;
    assert_eq!(answer, (500, failure("ERR_CONFIGURATION_GET", text)));
    let answer = apis.get("/v1.0/configuration/s/subscribe").await;
    let text = "failed to subscribe [] from Configuration store s";
    assert_eq!(answer, (500, failure("ERR_CONFIGURATION_SUBSCRIBE", text)));
}

#[tokio::test]
async fn the_app_is_told_of_changes_until_it_unsubscribes() {
    let apis = Apis::start().await;
    for version in ["v1.0", "v1.0-alpha1"] {
        let path = format!("/{version}/configuration/s");
        let (status, subscribed) = apis.get(&format!("{path}/subscribe?key=k")).await;
        assert_eq!(status, 200);
        let id = subscribed["id"].as_str().unwrap();
        let before = apis.app.recorded().len();
        apis.items.set("k", version);
        let request = eventually("the app is told", async || {
            apis.app.recorded().get(before).cloned()
        })
        .await;
        assert_eq!(request.uri.path(), "/configuration/s/k");
        assert_eq!(request.header("dapr-api-token"), ["app token"]);
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(
            (&body["id"], &body["items"]["k"]["value"]),
            (&json!(id), &json!(version))
        );
        let path = format!("{path}/{id}/unsubscribe");
        assert_eq!(apis.get(&path).await, (200, json!({"ok": true})));
        apis.followers(0).await;
        let text = format!(
            "failed to unsubscribe to configuration request {id}: subscription with id {id} does \
             not exist"
        );
        let expected = failure("ERR_CONFIGURATION_UNSUBSCRIBE", &text);
        assert_eq!(apis.get(&path).await, (500, expected));
    }
}

#[tokio::test]
async fn without_stores_both_apis_say_so() {
    let apis = Apis::guarded(Access::default(), None, false).await;
    let text = "configuration stores not configured";
    let expected = (500, failure("ERR_CONFIGURATION_STORE_NOT_CONFIGURED", text));
    for path in ["", "/subscribe", "/id/unsubscribe"] {
        let path = format!("/v1.0/configuration/s{path}");
        assert_eq!(apis.get(&path).await, expected);
    }
    let mut client = apis.client().await;
    let refused = client.get_configuration(proto::GetConfigurationRequest::default());
    let status = refused.await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::FailedPrecondition, text)
    );
    let body = r#"{"resourceId": "r", "lockOwner": "o", "expiryInSeconds": 1}"#;
    let expected = failure(
        "ERR_LOCK_STORE_NOT_CONFIGURED",
        "lock store is not configured",
    );
    for path in ["/v1.0-alpha1/lock/s", "/v1.0-alpha1/unlock/s"] {
        assert_eq!(apis.post(path, body).await, (500, expected.clone()));
    }
    let apis = Apis::start().await;
    let text = "configuration store x not found";
    let expected = (400, failure("ERR_CONFIGURATION_STORE_NOT_FOUND", text));
    assert_eq!(apis.get("/v1.0/configuration/x").await, expected);
    let mut client = apis.client().await;
    let wanted = proto::SubscribeConfigurationRequest {
        store_name: "x".to_owned(),
        ..Default::default()
    };
    let status = client.subscribe_configuration(wanted).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::InvalidArgument, text)
    );
}

fn wanted(keys: &[&str]) -> proto::SubscribeConfigurationRequest {
    proto::SubscribeConfigurationRequest {
        store_name: "s".to_owned(),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        metadata: Default::default(),
    }
}

#[tokio::test]
async fn a_stream_begins_with_its_id_and_ends_when_it_is_asked_to() {
    let apis = Apis::start().await;
    let mut client = apis.client().await;
    let opened = client.subscribe_configuration(wanted(&["k"])).await;
    let mut changes = opened.unwrap().into_inner();
    let begin = changes.message().await.unwrap().unwrap();
    assert!(!begin.id.is_empty() && begin.items.is_empty());
    apis.items.set("other", "1");
    apis.items.set("k", "1");
    let change = changes.message().await.unwrap().unwrap();
    assert_eq!((&change.id, &*change.items["k"].value), (&begin.id, "1"));
    apis.items.set("k", "");
    let change = changes.message().await.unwrap().unwrap();
    assert_eq!((change.items.len(), &*change.items["k"].value), (1, ""));

    let request = proto::GetConfigurationRequest {
        store_name: "s".to_owned(),
        ..Default::default()
    };
    let items = client.get_configuration_alpha1(request).await.unwrap();
    assert_eq!(items.into_inner().items["other"].value, "1");

    let unsubscribe = proto::UnsubscribeConfigurationRequest {
        store_name: "s".to_owned(),
        id: begin.id,
    };
    let answer = client.unsubscribe_configuration(unsubscribe.clone()).await;
    assert!(answer.unwrap().into_inner().ok);
    assert!(changes.message().await.unwrap().is_none());
    let answer = client.unsubscribe_configuration_alpha1(unsubscribe).await;
    let answer = answer.unwrap().into_inner();
    assert!(
        !answer.ok && answer.message.contains("does not exist"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_stream_that_its_client_leaves_follows_no_more_and_none_outlives_the_sidecar() {
    let apis = Apis::start().await;
    let mut client = apis.client().await;
    let left = client
        .subscribe_configuration_alpha1(wanted(&[]))
        .await
        .unwrap();
    let mut stays = client
        .subscribe_configuration(wanted(&[]))
        .await
        .unwrap()
        .into_inner();
    stays.message().await.unwrap();
    apis.followers(2).await;
    drop(left);
    apis.followers(1).await;
    apis.intake.stop();
    assert!(stays.message().await.unwrap().is_none());
    apis.followers(0).await;
}

#[tokio::test]
async fn locks_over_http_have_the_forms_of_dapr() {
    let apis = Apis::start().await;
    let body = r#"{"resourceId": "r", "lockOwner": "one", "expiryInSeconds": 60, "x": 1}"#;
    let other = r#"{"resource_id": "r", "lock_owner": "other", "expiry_in_seconds": "60"}"#;
    let (lock, unlock) = ("/v1.0-alpha1/lock/l", "/v1.0-alpha1/unlock/l");
    for (path, body, expected) in [
        (lock, body, json!({"success": true})),
        (lock, other, json!({"success": false})),
        (unlock, other, json!({"status": 2})),
        (unlock, body, json!({"status": 0})),
        (unlock, body, json!({"status": 1})),
        (lock, other, json!({"success": true})),
    ] {
        assert_eq!(apis.post(path, body).await, (200, expected));
    }
    for (body, text) in [
        ("{", "failed deserializing HTTP body: "),
        ("", "failed deserializing HTTP body: "),
        ("[1]", "failed deserializing HTTP body: "),
        (
            r#"{"expiryInSeconds": "x"}"#,
            "failed deserializing HTTP body: ",
        ),
        (
            r#"{"expiryInSeconds": 5000000000}"#,
            "failed deserializing HTTP body: ",
        ),
        ("{}", "ExpiryInSeconds is not positive in lock store l"),
        (
            r#"{"expiryInSeconds": 1}"#,
            "ResourceId is empty in lock store l",
        ),
        (
            r#"{"expiryInSeconds": 1, "resourceId": "r"}"#,
            "LockOwner is empty in lock store l",
        ),
    ] {
        let (status, answer) = apis.post(lock, body).await;
        assert_eq!(
            (status, &answer["errorCode"]),
            (400, &json!("ERR_MALFORMED_REQUEST"))
        );
        assert!(
            answer["message"].as_str().unwrap().starts_with(text),
            "{body}: {answer}"
        );
    }
    let missing = apis.post("/v1.0-alpha1/lock/x", body).await;
    assert_eq!(
        missing,
        (
            400,
            failure("ERR_LOCK_STORE_NOT_FOUND", "lock store x not found")
        )
    );
    apis.locks.set_down(true);
    let text = "failed to try acquiring lock: the store could not answer";
    assert_eq!(
        apis.post(lock, body).await,
        (500, failure("ERR_TRY_LOCK", text))
    );
    let text = "failed to release lock: the store could not answer";
    assert_eq!(
        apis.post(unlock, body).await,
        (500, failure("ERR_UNLOCK", text))
    );
}

#[tokio::test]
async fn locks_over_grpc_have_the_forms_of_dapr() {
    let apis = Apis::start().await;
    let mut client = apis.client().await;
    let request = |owner: &str, seconds| proto::TryLockRequest {
        store_name: "l".to_owned(),
        resource_id: "r".to_owned(),
        lock_owner: owner.to_owned(),
        expiry_in_seconds: seconds,
    };
    for (owner, expected) in [("one", true), ("other", false)] {
        let answer = client.try_lock_alpha1(request(owner, 60)).await;
        assert_eq!(answer.unwrap().into_inner().success, expected);
    }
    for (owner, expected) in [("other", 2), ("one", 0), ("one", 1)] {
        let unlock = proto::UnlockRequest {
            store_name: "l".to_owned(),
            resource_id: "r".to_owned(),
            lock_owner: owner.to_owned(),
        };
        let answer = client.unlock_alpha1(unlock).await;
        assert_eq!(answer.unwrap().into_inner().status, expected);
    }
    let status = client.try_lock_alpha1(request("one", 0)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    apis.locks.set_down(true);
    let status = client.try_lock_alpha1(request("one", 1)).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
}

#[tokio::test]
async fn both_are_behind_the_token_and_the_rules() {
    let apis = Apis::guarded(Access::default(), Some("t"), true).await;
    for path in [
        "/v1.0/configuration/s",
        "/v1.0-alpha1/configuration/s/subscribe",
    ] {
        assert_eq!(apis.get(path).await.0, 401);
    }
    assert_eq!(apis.post("/v1.0-alpha1/lock/l", "{}").await.0, 401);
    let mut client = apis.client().await;
    let status = client
        .subscribe_configuration(wanted(&[]))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(apis.items.followers(), 0);

    let rule = |name: &str, version: &str, protocol: &str| Rule {
        name: name.to_owned(),
        version: version.to_owned(),
        protocol: protocol.to_owned(),
    };
    let denied = [
        rule("configuration", "v1", "http"),
        rule("lock", "v1alpha1", "http"),
        rule("configuration", "v1alpha1", "grpc"),
    ];
    let apis = Apis::guarded(Access::parse(&[], &denied).unwrap(), None, true).await;
    assert_eq!(apis.get("/v1.0/configuration/s").await.0, 404);
    assert_eq!(apis.get("/v1.0-alpha1/configuration/s").await.0, 204);
    assert_eq!(apis.post("/v1.0-alpha1/lock/l", "{}").await.0, 404);
    let unlock = r#"{"resourceId": "r", "lockOwner": "o"}"#;
    assert_eq!(apis.post("/v1.0-alpha1/unlock/l", unlock).await.0, 200);
    let mut client = apis.client().await;
    let refused = client.subscribe_configuration_alpha1(wanted(&[])).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unimplemented);
    client.subscribe_configuration(wanted(&[])).await.unwrap();
}
