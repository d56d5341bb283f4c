//! Configuration and locks on Redis.

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use serde_json::{Value, json};
use sidegate::components::catalog::Backend;
use sidegate::components::configuration::{Changes, ConfigurationStore, Items};
use sidegate::components::lock::{LockStore, Unlocked};
use sidegate::components::message::Metadata;
use sidegate::testing::eventually::{eventually, in_time};
use sidegate::testing::fake_app::FakeApp;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::direct::build;
use crate::redis::ask;
use crate::servers::Server;
use crate::sidecar::Sidecar;

/// A server that tells of every change.
const TELLS: [&str; 2] = ["--notify-keyspace-events", "KA"];
/// Far below the time after which items are read again where the server tells of changes.
const AT_ONCE: Duration = Duration::from_secs(20);

async fn items_with(server: &Server, more: &[(&str, &str)]) -> Arc<dyn ConfigurationStore> {
    let address = server.address().to_string();
    let host = [("redisHost", address.as_str())];
    match build("configuration.redis", &[&host, more].concat()).await {
        Ok(Backend::Configuration(store)) => store,
        Ok(_) => panic!("no configuration store"),
        Err(error) => panic!("{error}"),
    }
}

async fn items(server: &Server) -> Arc<dyn ConfigurationStore> {
    items_with(server, &[]).await
}

fn owned(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

async fn get(store: &Arc<dyn ConfigurationStore>, keys: &[&str]) -> Items {
    store.get(&owned(keys), &Metadata::new()).await.unwrap()
}

async fn follow(store: &Arc<dyn ConfigurationStore>, keys: &[&str]) -> Box<dyn Changes> {
    let followed = store.subscribe(&owned(keys), &Metadata::new()).await;
    followed.unwrap()
}

/// Keys, values and versions.
fn texts(items: &Items) -> Vec<(&str, &str, &str)> {
    let texts = items.iter();
    texts
        .map(|(key, item)| (key.as_str(), item.value.as_str(), item.version.as_str()))
        .collect()
}

/// What changed next, as long as that is soon.
async fn soon(changes: &mut Box<dyn Changes>) -> Items {
    let next = timeout(AT_ONCE, changes.next()).await;
    next.expect("the server tells at once").unwrap()
}

#[tokio::test]
async fn items_are_those_of_dapr() {
    let server = Server::redis(&[]).await;
    ask(
        &server,
        &["MSET", "a", "1||v1", "b", "2", "empty", "", "gone", "||v1"],
    );
    ask(&server, &["HSET", "hash", "f", "v"]);
    ask(&server, &["-n", "1", "SET", "other", "1"]);
    let store = items(&server).await;
    let found = get(&store, &["a", "b", "empty", "hash", "missing"]).await;
    assert_eq!(texts(&found), [("a", "1", "v1"), ("b", "2", "")]);
    assert_eq!(get(&store, &[]).await, found);
    let other = items_with(&server, &[("redisDB", "1")]).await;
    assert_eq!(texts(&get(&other, &[]).await), [("other", "1", "")]);
    for number in 0..10 {
        // More keys than one command reads.
        let keys = (0..150).flat_map(|at| [format!("k{}", number * 150 + at), at.to_string()]);
        let keys: Vec<_> = std::iter::once("MSET".to_owned()).chain(keys).collect();
        let command: Vec<_> = keys.iter().map(String::as_str).collect();
        ask(&server, &command);
    }
    assert_eq!(get(&store, &[]).await.len(), 1502);
}

#[tokio::test]
async fn a_server_that_tells_of_changes_is_heard_at_once() {
    let server = Server::redis(&TELLS).await;
    ask(&server, &["MSET", "a", "1", "b", "1"]);
    let store = items(&server).await;
    let (mut one, mut all) = (
        follow(&store, &["a", "x:y"]).await,
        follow(&store, &[]).await,
    );
    ask(&server, &["SET", "b", "2||v2"]);
    assert_eq!(texts(&soon(&mut all).await), [("b", "2", "v2")]);
    ask(&server, &["SET", "a", "2"]);
    for changes in [&mut one, &mut all] {
        assert_eq!(texts(&soon(changes).await), [("a", "2", "")]);
    }
    ask(&server, &["SET", "x:y", "1"]);
    assert_eq!(texts(&soon(&mut one).await), [("x:y", "1", "")]);
    ask(&server, &["PEXPIRE", "x:y", "1"]);
    assert_eq!(texts(&soon(&mut one).await), [("x:y", "", "")]);
    ask(&server, &["DEL", "a"]);
    for changes in [&mut one, &mut all] {
        assert_eq!(texts(&soon(changes).await), [("a", "", "")]);
    }
}

#[tokio::test]
async fn changes_are_found_also_where_the_server_does_not_tell() {
    let server = Server::redis(&[]).await;
    ask(&server, &["SET", "a", "1"]);
    let store = items(&server).await;
    let mut changes = follow(&store, &["a", "b"]).await;
    ask(&server, &["MSET", "a", "2", "b", "1", "c", "1"]);
    let found = in_time("a change", changes.next()).await.unwrap();
    assert_eq!(texts(&found), [("a", "2", ""), ("b", "1", "")]);
    let setting = ask(&server, &["CONFIG", "GET", "notify-keyspace-events"]);
    assert_eq!(setting.trim(), "notify-keyspace-events", "it is left alone");
}

#[tokio::test]
async fn an_account_that_may_only_read_finds_changes() {
    let server = Server::redis(&TELLS).await;
    let rules = [
        "+mget",
        "+scan",
        "+ping",
        "+select",
        "+client",
        "resetchannels",
    ];
    let user = ["ACL", "SETUSER", "reader", "on", ">right", "~*"];
    assert_eq!(ask(&server, &[&user[..], &rules[..]].concat()), "OK");
    let login = [("redisUsername", "reader"), ("redisPassword", "right")];
    let store = items_with(&server, &login).await;
    let mut changes = follow(&store, &["a"]).await;
    ask(&server, &["SET", "a", "1"]);
    assert_eq!(
        texts(&in_time("a change", changes.next()).await.unwrap()),
        [("a", "1", "")]
    );
    for kind in ["configuration.redis", "lock.redis"] {
        let address = server.address().to_string();
        let wrong = [
            ("redisHost", address.as_str()),
            ("redisUsername", "reader"),
            ("redisPassword", "hunter2"),
        ];
        let error = build(kind, &wrong).await.err().unwrap().to_string();
        assert!(
            error.contains(&address) && !error.contains("hunter2"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_server_that_is_gone_ends_what_follows_it() {
    let mut server = Server::redis(&TELLS).await;
    let store = items(&server).await;
    let mut changes = follow(&store, &["a"]).await;
    server.kill();
    let error = soon_err(&mut changes).await;
    assert!(error.contains(&server.address().to_string()), "{error}");
    let asked = store.get(&owned(&["a"]), &Metadata::new()).await;
    assert!(asked.is_err());
    server.start_again().await;
    assert_eq!(get(&store, &["a"]).await, Items::new());
}

async fn soon_err(changes: &mut Box<dyn Changes>) -> String {
    let next = timeout(AT_ONCE, changes.next()).await;
    next.expect("it is noticed at once")
        .unwrap_err()
        .to_string()
}

/// What an app that takes everything was told so far, in order.
fn told(app: &FakeApp) -> Vec<(String, Value)> {
    let recorded = app.recorded().into_iter();
    let recorded = recorded.filter(|request| request.uri.path().starts_with("/configuration/"));
    recorded
        .map(|request| {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            (request.uri.path().to_owned(), body["items"].clone())
        })
        .collect()
}

#[tokio::test]
async fn an_app_is_told_of_what_changed_while_the_server_was_away() {
    let mut server = Server::redis(&TELLS).await;
    ask(&server, &["MSET", "same", "1", "other", "1"]);
    let resources = format!(
        "apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: config
spec:
  type: configuration.redis
  version: v1
  metadata:
  - name: redisHost
    value: {}
",
        server.address()
    );
    let app = FakeApp::answering(|_| Response::default()).await;
    let sidecar = Sidecar::start(Some(app.address()), &resources).await;
    let (status, body) = sidecar.get("/v1.0/configuration/config/subscribe").await;
    assert_eq!(status, 200, "{body}");
    ask(&server, &["SET", "other", "2"]);
    let expected = (
        "/configuration/config/other".to_owned(),
        json!({"other": {"value": "2"}}),
    );
    eventually("the app is told", async || {
        told(&app).contains(&expected).then_some(())
    })
    .await;
    server.kill();
    let (status, body) = sidecar.get("/v1.0/configuration/config?key=other").await;
    assert_eq!(status, 500, "{body}");
    server.start_again().await;
    // Before it can be followed again, or a moment after: both have to be told.
    ask(&server, &["SET", "other", "3"]);
    ask(&server, &["SET", "new", "1||v1"]);
    for expected in [
        json!({"other": {"value": "3"}}),
        json!({"new": {"value": "1", "version": "v1"}}),
    ] {
        eventually("the app is told", async || {
            told(&app)
                .iter()
                .any(|(_, items)| *items == expected)
                .then_some(())
        })
        .await;
    }
    assert!(told(&app).iter().all(|(path, _)| !path.ends_with("same")));
    let (status, body) = sidecar.get("/v1.0/configuration/config?key=other").await;
    assert_eq!(
        (status.as_u16(), &*body),
        (200, r#"{"other":{"value":"3"}}"#)
    );
}

async fn locks(server: &Server, more: &[(&str, &str)]) -> Arc<dyn LockStore> {
    let address = server.address().to_string();
    let host = [("redisHost", address.as_str())];
    match build("lock.redis", &[&host, more].concat()).await {
        Ok(Backend::Lock(store)) => store,
        Ok(_) => panic!("no lock store"),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_lock_is_held_by_one_and_expires() {
    let server = Server::redis(&[]).await;
    let store = locks(&server, &[]).await;
    let minute = Duration::from_secs(60);
    assert!(store.try_lock("r", "one", minute).await.unwrap());
    // Under the name and with the value that Dapr gives it.
    assert_eq!(ask(&server, &["GET", "lock||counter||r"]), "one");
    let left: u64 = ask(&server, &["PTTL", "lock||counter||r"]).parse().unwrap();
    assert!(left <= 60_000, "{left}");
    assert!(!store.try_lock("r", "one", minute).await.unwrap());
    assert_eq!(store.unlock("r", "other").await, Ok(Unlocked::OfOther));
    assert_eq!(store.unlock("r", "one").await, Ok(Unlocked::Done));
    assert_eq!(store.unlock("r", "one").await, Ok(Unlocked::Absent));
    let short = Duration::from_millis(100);
    assert!(store.try_lock("r", "one", short).await.unwrap());
    eventually("it expires", async || {
        let taken = store.try_lock("r", "other", minute).await;
        taken.unwrap().then_some(())
    })
    .await;
    assert_eq!(store.unlock("r", "one").await, Ok(Unlocked::OfOther));

    let shared = locks(&server, &[("keyPrefix", "none")]).await;
    assert!(shared.try_lock("r", "third", minute).await.unwrap());
    assert_eq!(ask(&server, &["GET", "lock||r"]), "third");
    let address = server.address().to_string();
    let refused = build(
        "lock.redis",
        &[("redisHost", &address), ("failover", "true")],
    )
    .await;
    let error = refused.err().unwrap().to_string();
    assert!(
        error.starts_with("\"failover\" is not served for locks"),
        "{error}"
    );
}

#[tokio::test]
async fn of_many_that_want_a_lock_one_gets_it() {
    let server = Server::redis(&[]).await;
    let stores = [locks(&server, &[]).await, locks(&server, &[]).await];
    for round in 0..20 {
        let mut racing = JoinSet::new();
        for owner in 0..32 {
            let (store, resource) = (Arc::clone(&stores[owner % 2]), format!("r{round}"));
            racing.spawn(async move {
                let owner = owner.to_string();
                let life = Duration::from_secs(60);
                store
                    .try_lock(&resource, &owner, life)
                    .await
                    .unwrap()
                    .then_some(owner)
            });
        }
        let won: Vec<_> = racing.join_all().await.into_iter().flatten().collect();
        let holder = ask(&server, &["GET", &format!("lock||counter||r{round}")]);
        assert_eq!(won, [holder]);
    }
}

#[tokio::test]
async fn locks_come_back_with_their_server() {
    let mut server = Server::redis(&[]).await;
    let store = locks(&server, &[]).await;
    let minute = Duration::from_secs(60);
    assert!(store.try_lock("r", "one", minute).await.unwrap());
    server.kill();
    assert!(store.try_lock("other", "one", minute).await.is_err());
    assert!(store.unlock("r", "one").await.is_err());
    server.start_again().await;
    assert_eq!(store.unlock("r", "other").await, Ok(Unlocked::OfOther));
    assert_eq!(store.unlock("r", "one").await, Ok(Unlocked::Done));
}
