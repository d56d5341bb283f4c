//! `state.redis` with one server, and with sentinels.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sidegate::components::state::{
    Condition, Consistency, Delete, ETag, Item, Operation, Set, StateError, StateStore, Ttl,
};
use sidegate::testing::certificates::Authority;
use sidegate::testing::eventually::eventually;
use sidegate::testing::state_contract::{delete, get, holds, set, survives};
use tokio::sync::Mutex;

use crate::direct::state;
use crate::redis::{ask, with_tls};
use crate::servers::{Server, program};

/// A store at a server.
pub(crate) async fn store(server: &Server, more: &[(&str, &str)]) -> Arc<dyn StateStore> {
    let host = server.address().to_string();
    let properties = [&[("redisHost", host.as_str())], more].concat();
    state("state.redis", &properties).await.unwrap()
}

/// A write that counts with one server.
pub(crate) fn eventual(key: &str, value: &str) -> Set {
    Set {
        consistency: Consistency::Eventual,
        ..set(key, value)
    }
}

pub(crate) async fn put(
    store: &Arc<dyn StateStore>,
    key: &str,
    value: &str,
) -> Result<(), StateError> {
    store.write(Operation::Set(eventual(key, value))).await
}

/// Writes until every replica has it: on a slow machine not each does in time.
pub(crate) async fn put_strongly(store: &Arc<dyn StateStore>, key: &str, value: &str) {
    eventually("every replica has it", async || {
        store.write(Operation::Set(set(key, value))).await.ok()
    })
    .await;
}

pub(crate) async fn item(
    store: &Arc<dyn StateStore>,
    key: &str,
) -> Result<Option<Item>, StateError> {
    store.get(&get(key)).await
}

/// The value of a key that has one, as text.
pub(crate) async fn value(store: &Arc<dyn StateStore>, key: &str) -> Result<String, StateError> {
    let item = item(store, key)
        .await?
        .unwrap_or_else(|| panic!("{key} has a value"));
    Ok(String::from_utf8(item.value.to_vec()).unwrap())
}

async fn version(store: &Arc<dyn StateStore>, key: &str) -> u128 {
    let item = item(store, key).await.unwrap().unwrap();
    item.etag.unwrap().version().unwrap()
}

pub(crate) fn is_unavailable<T>(outcome: &Result<T, StateError>) -> bool {
    matches!(outcome, Err(StateError::Unavailable(_)))
}

#[tokio::test]
async fn keeps_the_contract() {
    let server = Server::redis(&["--requirepass", "right"]).await;
    let store = store(&server, &[("redisPassword", "right")]).await;
    holds(&store, "app||").await;
}

#[tokio::test]
async fn outlives_a_restart() {
    let server = Mutex::new(Server::redis(&[]).await);
    let open = async || {
        let mut server = server.lock().await;
        server.start_again().await;
        store(&server, &[]).await
    };
    survives(open, "app||").await;
}

#[tokio::test]
async fn speaks_tls() {
    let authority = Authority::new();
    let (_server, port) = with_tls(&authority).await;
    let (host, client) = (format!("localhost:{port}"), authority.issue(&["client"]));
    let properties = [
        ("redisHost", host.as_str()),
        ("redisPassword", "right"),
        ("enableTLS", "true"),
        ("clientCert", &client.certificate),
        ("clientKey", &client.key),
    ];
    let believed = authority.certificate();
    let store = state(
        "state.redis",
        &[&properties[..], &[("caCert", &believed)]].concat(),
    )
    .await;
    let store = store.unwrap();
    let large = "x".repeat(1 << 20);
    put(&store, "k", &large).await.unwrap();
    assert!(value(&store, "k").await.unwrap() == large);
    let other = Authority::new().certificate();
    let error = state(
        "state.redis",
        &[&properties[..], &[("caCert", &other)]].concat(),
    )
    .await;
    assert!(error.err().unwrap().contains("certificate"));
}

#[tokio::test]
async fn hashes_are_those_of_dapr() {
    let server = Server::redis(&[]).await;
    let store = store(&server, &[("ttlInSeconds", "600")]).await;
    // As a sidecar of Dapr's writes it.
    ask(&server, &["HSET", "a", "data", "\"v\"", "version", "5"]);
    let found = item(&store, "a").await.unwrap().unwrap();
    assert_eq!(
        (&found.value[..], found.etag),
        (&b"\"v\""[..], Some(ETag::of_version(5)))
    );
    let mut next = eventual("a", "w");
    next.condition = Condition::Matches(ETag::of_version(5));
    assert_eq!(store.write(Operation::Set(next)).await, Ok(()));
    assert_eq!(ask(&server, &["HGETALL", "a"]), "data\nw\nversion\n6");
    assert_eq!(ask(&server, &["TTL", "a"]), "600", "as the component says");
    // With first-write, which Dapr marks.
    let mut first = eventual("b", "v");
    first.condition = Condition::Absent;
    first.ttl = Ttl::Forever;
    assert_eq!(store.write(Operation::Set(first)).await, Ok(()));
    let hash = ask(&server, &["HGETALL", "b"]);
    assert!(hash.ends_with("first-write\n0"), "{hash}");
    assert_eq!(ask(&server, &["TTL", "b"]), "-1");
    assert!(
        version(&store, "b").await > 1_000_000_000_000_000,
        "of the clock"
    );
    // What others wrote: text, a version that is none, another type.
    ask(&server, &["SET", "text", "t"]);
    let text = item(&store, "text").await.unwrap().unwrap();
    assert_eq!((&text.value[..], text.etag), (&b"t"[..], None));
    ask(
        &server,
        &["HSET", "odd", "data", "o", "version", "9223372036854775807"],
    );
    ask(&server, &["RPUSH", "list", "l"]);
    let list = item(&store, "list").await;
    assert!(
        matches!(&list, Err(StateError::Refused(text)) if text.contains("neither")),
        "{list:?}"
    );
    for key in ["text", "odd", "list"] {
        let mut first = eventual(key, "new");
        first.condition = Condition::Absent;
        let first = store.write(Operation::Set(first)).await;
        assert_eq!(first, Err(StateError::Mismatch), "{key}");
        assert_eq!(put(&store, key, "new").await, Ok(()), "{key}");
        assert_eq!(value(&store, key).await.as_deref(), Ok("new"), "{key}");
    }
    ask(&server, &["RPUSH", "list2", "l"]);
    assert_eq!(
        store.write(Operation::Delete(delete("list2"))).await,
        Ok(())
    );
    assert_eq!(ask(&server, &["EXISTS", "list2"]), "0");
}

#[tokio::test]
async fn a_script_that_is_forgotten_is_sent_again() {
    let server = Server::redis(&[]).await;
    let store = store(&server, &[]).await;
    put(&store, "a", "1").await.unwrap();
    assert!(ask(&server, &["INFO", "commandstats"]).contains("cmdstat_eval:calls=1,"));
    put(&store, "a", "2").await.unwrap();
    ask(&server, &["SCRIPT", "FLUSH"]);
    let operations = ["a", "b", "c"].map(|key| Operation::Set(eventual(key, "3")));
    assert_eq!(
        store.write_all(operations.to_vec()).await,
        [Ok(()), Ok(()), Ok(())]
    );
    ask(&server, &["SCRIPT", "FLUSH"]);
    assert_eq!(store.transact(operations.to_vec()).await, Ok(()));
    for key in ["a", "b", "c"] {
        assert_eq!(value(&store, key).await.as_deref(), Ok("3"));
    }
}

#[tokio::test]
async fn who_is_not_let_in_is_told() {
    let server = Server::redis(&["--requirepass", "right"]).await;
    let host = server.address().to_string();
    let attempt = async |password: &str, more: (&str, &str)| {
        let properties = [
            ("redisHost", host.as_str()),
            ("redisPassword", password),
            more,
        ];
        state("state.redis", &properties).await.err().unwrap()
    };
    let error = attempt("hunter2", ("redisDB", "0")).await;
    assert!(
        error.contains(&host) && error.contains("assword"),
        "{error}"
    );
    assert!(!error.contains("hunter2"), "{error}");
    assert!(attempt("", ("redisDB", "0")).await.contains("NOAUTH"));
    // It is none.
    let error = attempt("right", ("redisType", "cluster")).await;
    assert!(error.contains("cluster support disabled"), "{error}");
    // A password that changes: those who are in stay, and nobody else gets in.
    let store = store(&server, &[("redisPassword", "right")]).await;
    ask(
        &server,
        &["-a", "right", "CONFIG", "SET", "requirepass", "other"],
    );
    put(&store, "a", "1").await.unwrap();
    ask(
        &server,
        &["-a", "other", "CLIENT", "KILL", "TYPE", "normal"],
    );
    let refused = eventually("the connection is gone", async || {
        put(&store, "a", "2").await.err()
    });
    assert!(matches!(refused.await, StateError::Refused(_)));
}

#[tokio::test]
async fn a_server_that_is_down_is_said_at_once_and_found_again() {
    let mut server = Server::redis(&[]).await;
    let store = store(&server, &[]).await;
    put(&store, "a", "1").await.unwrap();
    server.kill();
    for outcome in [
        put(&store, "a", "2").await,
        item(&store, "a").await.map(drop),
    ] {
        let Err(StateError::Unavailable(text)) = outcome else {
            panic!("{outcome:?}");
        };
        assert!(text.contains(&server.address().to_string()), "{text}");
    }
    server.start_again().await;
    eventually("it is found again", async || {
        put(&store, "a", "3").await.ok()
    })
    .await;
    assert_eq!(value(&store, "a").await.as_deref(), Ok("3"));
}

#[tokio::test]
async fn many_do_not_wait_one_after_the_other_for_a_server_that_hangs() {
    let server = Server::redis(&[]).await;
    let limits = [("readTimeout", "300"), ("dialTimeout", "300")];
    let store = store(&server, &limits).await;
    server.freeze();
    let start = Instant::now();
    let reads = (0..200).map(|_| item(&store, "a"));
    let outcomes = join_all(reads).await;
    assert!(outcomes.iter().all(is_unavailable), "{outcomes:?}");
    // Two limits for each, one after the other, would be a minute and more.
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
    server.thaw();
    eventually("it is found again", async || item(&store, "a").await.ok()).await;
}

#[tokio::test]
async fn a_conditional_write_whose_answer_is_lost_is_not_repeated() {
    let server = Server::redis(&[]).await;
    let limits = [("readTimeout", "1s"), ("dialTimeout", "30s")];
    let store = store(&server, &limits).await;
    put(&store, "a", "1").await.unwrap();
    let before = version(&store, "a").await;
    let mut next = eventual("a", "2");
    next.condition = Condition::Matches(ETag::of_version(before));
    let deleted = Delete {
        condition: Condition::Matches(ETag::of_version(before)),
        ..delete("a")
    };
    server.freeze();
    let write = store.write(Operation::Set(next)).await;
    assert!(is_unavailable(&write), "{write:?}");
    server.thaw();
    eventually("it is done", async || {
        (value(&store, "a").await.ok()? == "2").then_some(())
    })
    .await;
    assert_eq!(version(&store, "a").await, before + 1, "once");
    let late = store.write(Operation::Delete(deleted)).await;
    assert_eq!(late, Err(StateError::Mismatch));
    // One without a condition is: it was sent before the other, whose time is over.
    server.freeze();
    let mut other = eventual("b", "1");
    other.condition = Condition::Absent;
    let thaw = async {
        let other = store.write(Operation::Set(other)).await;
        assert!(is_unavailable(&other), "{other:?}");
        server.thaw();
    };
    let (write, ()) = tokio::join!(put(&store, "a", "3"), thaw);
    assert_eq!(write, Ok(()));
    assert_eq!(value(&store, "a").await.as_deref(), Ok("3"));
}

/// A replica of a server that has all of it by now.
pub(crate) async fn replica(primary: &Server) -> Server {
    let port = primary.address().port().to_string();
    let replica = Server::redis(&["--replicaof", "127.0.0.1", &port]).await;
    eventually("the replica follows", async || {
        let told = ask(primary, &["INFO", "replication"]);
        told.contains("state=online").then_some(())
    })
    .await;
    replica
}

#[tokio::test]
async fn strong_writes_wait_for_replicas() {
    let primary = Server::redis(&["--repl-diskless-sync-delay", "0"]).await;
    let alone = store(&primary, &[]).await;
    alone.write(Operation::Set(set("a", "0"))).await.unwrap();
    let follower = replica(&primary).await;
    let (writer, reader) = (store(&primary, &[]).await, store(&follower, &[]).await);
    for round in 0..50 {
        let text = round.to_string();
        put_strongly(&writer, "a", &text).await;
        assert_eq!(value(&reader, "a").await, Ok(text), "the replica has it");
    }
    follower.freeze();
    let mut strong = writer.write(Operation::Set(set("a", "late")));
    let mut others = 0;
    let strong = loop {
        tokio::select! {
            strong = &mut strong => break strong,
            other = put(&writer, "b", "1") => other.unwrap(),
        }
        others += 1;
    };
    assert!(others > 1, "others do not wait with it");
    let Err(StateError::Unavailable(text)) = strong else {
        panic!("{strong:?}");
    };
    assert!(text.contains("not every replica"), "{text}");
    follower.thaw();

    // A replica takes no writes, whatever the component hopes for.
    let write = put(&reader, "a", "1").await;
    assert!(
        matches!(&write, Err(StateError::Unavailable(text)) if text.contains("READONLY")
            || text.contains("read only")),
        "{write:?}"
    );
}

#[tokio::test]
async fn follows_a_failover() {
    let mut primary = Server::redis(&["--repl-diskless-sync-delay", "0"]).await;
    let follower = replica(&primary).await;
    let port = primary.address().port();
    let sentinel = Server::run(move |address, folder| {
        let file = folder.join("sentinel.conf");
        let text = format!(
            "bind 127.0.0.1\nport {}\nsentinel monitor main 127.0.0.1 {port} 1\n\
             sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n",
            address.port()
        );
        std::fs::write(&file, text).unwrap();
        let mut command = program("redis-server");
        command.arg(file).arg("--sentinel");
        command
    })
    .await;
    eventually("the sentinel knows the replica", async || {
        let replicas = ask(&sentinel, &["SENTINEL", "REPLICAS", "main"]);
        replicas
            .contains(&follower.address().port().to_string())
            .then_some(())
    })
    .await;
    let store = store(
        &sentinel,
        &[("failover", "true"), ("sentinelMasterName", "main")],
    )
    .await;
    for number in 0..100 {
        put_strongly(&store, &format!("k{number}"), &number.to_string()).await;
    }
    primary.kill();
    let first = put(&store, "after", "1").await;
    assert!(is_unavailable(&first), "{first:?}");
    eventually("the replica takes over", async || {
        put(&store, "after", "1").await.ok()
    })
    .await;
    for number in 0..100 {
        let key = format!("k{number}");
        assert_eq!(value(&store, &key).await, Ok(number.to_string()));
    }
    assert_eq!(ask(&follower, &["HGET", "after", "data"]), "1");
}
