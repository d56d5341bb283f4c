//! State in PostgreSQL.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sidegate::components::catalog::Backend;
use sidegate::components::state::{Condition, ETag, Operation, Set, StateError, StateStore, Ttl};
use sidegate::testing::eventually::eventually;
use sidegate::testing::state_contract::{self, get, set};
use tokio::task::JoinSet;

use crate::direct::build_version;
use crate::postgres_server::{PASSWORD, PostgresServer};

/// How many write while the server is killed.
const WRITERS: usize = 6;
/// How often it is killed.
const KILLS: usize = 2;
/// How many writes are acknowledged before each kill.
const BEFORE: u64 = 100;

/// Makes a store, in the tables of a schema.
async fn store(
    server: &PostgresServer,
    version: &str,
    more: &[(&str, &str)],
) -> Result<Arc<dyn StateStore>, String> {
    let text = server.connection_string("");
    let mut fields = vec![("connectionString", text.as_str())];
    for &(name, value) in more {
        fields.retain(|(given, _)| *given != name);
        fields.push((name, value));
    }
    match build_version("state.postgresql", version, &fields).await {
        Ok(Backend::State(state)) => Ok(state.store),
        Ok(_) => panic!("it is a state store"),
        Err(error) => Err(error.to_string()),
    }
}

fn json(key: &str, value: &str) -> Operation {
    Operation::Set(Set {
        content_type: Some("application/json".to_owned()),
        ..set(key, value)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_in_both_layouts() {
    let server = PostgresServer::start().await;
    let first = store(&server, "v1", &[("tableName", "first")])
        .await
        .unwrap();
    state_contract::holds(&first, "app||").await;
    let fields = [
        ("tablePrefix", "second_"),
        // As behind a proxy that changes the server between two transactions.
        ("queryExecMode", "exec"),
    ];
    let second = store(&server, "v2", &fields).await.unwrap();
    state_contract::holds(&second, "app||").await;
    for (version, name) in [("v1", "tableName"), ("v2", "tablePrefix")] {
        let fields = [(name, "kept_")];
        let open = async || store(&server, version, &fields).await.unwrap();
        state_contract::survives(open, "app||").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_its_tables_and_says_what_is_wrong() {
    let server = PostgresServer::start().await;
    many_make_the_tables(&server).await;
    reads_what_dapr_wrote(&server).await;
    cleans_once(&server).await;
    says_why_it_cannot_start(&server).await;
    checks_the_server(&server).await;
    waits_for_a_connection_for_a_while(&server).await;
    deadlocks_with_nobody(&server).await;
    gives_way_and_tries_again(&server).await;
}

async fn many_make_the_tables(server: &PostgresServer) {
    let (somebody, _driver) = server.somebody().await;
    somebody.batch_execute("CREATE SCHEMA many").await.unwrap();
    for (version, name) in [("v1", "tableName"), ("v2", "tablePrefix")] {
        let fields = [(name, "many.s_"), ("metadataTableName", "many.metadata")];
        let start = |_| store(server, version, &fields);
        let started = futures_util::future::join_all((0..8).map(start)).await;
        for store in started {
            let store = store.unwrap_or_else(|error| panic!("{version}: {error}"));
            assert_eq!(store.write(Operation::Set(set("k", "v"))).await, Ok(()));
        }
    }
    let rows = somebody
        .query("SELECT key, value FROM many.metadata ORDER BY key", &[])
        .await
        .unwrap();
    let rows: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let rows: Vec<_> = rows.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let expected = [
        ("lock", "lock"),
        ("migrations", "2"),
        ("migrations-state-v2-many.s_", "1"),
    ];
    assert_eq!(rows, expected, "as Dapr counts them");
}

async fn reads_what_dapr_wrote(server: &PostgresServer) {
    let (somebody, _driver) = server.somebody().await;
    let first = store(server, "v1", &[]).await.unwrap();
    let second = store(server, "v2", &[("tablePrefix", "v2_")])
        .await
        .unwrap();
    somebody
        .batch_execute(
            "INSERT INTO state (key, value, isbinary) VALUES \
             ('app||json', '{\"b\": 1, \"a\": [true]}', false), \
             ('app||bytes', '\"AP/+\"', true); \
             INSERT INTO v2_state (key, value, expires_at) VALUES \
             ('app||text', 'text', NULL), \
             ('app||ends', 'text', '2999-12-31 23:59:59.5+00'), \
             ('app||over', 'text', now() - interval '1 second')",
        )
        .await
        .unwrap();
    let item = first.get(&get("app||json")).await.unwrap().unwrap();
    assert_eq!(item.value, r#"{"a": [true], "b": 1}"#);
    assert_eq!(item.content_type.as_deref(), Some("application/json"));
    let item = first.get(&get("app||bytes")).await.unwrap().unwrap();
    assert_eq!(item.value, &b"\x00\xff\xfe"[..]);
    let item = second.get(&get("app||text")).await.unwrap().unwrap();
    assert_eq!(item.value, "text");
    let uuid = somebody
        .query_one(
            "SELECT etag::text FROM v2_state WHERE key = 'app||text'",
            &[],
        )
        .await
        .unwrap();
    let digits = uuid.get::<_, String>(0).replace('-', "");
    let number = u128::from_str_radix(&digits, 16).unwrap();
    assert_eq!(item.etag, Some(ETag::of_version(number)));
    let item = second.get(&get("app||ends")).await.unwrap().unwrap();
    assert_eq!(item.metadata["ttlExpireTime"], "2999-12-31T23:59:59Z");
    assert_eq!(second.get(&get("app||over")).await, Ok(None));

    // The other way round: what is JSON is so for whoever asks for a piece of it.
    assert_eq!(first.write(json("ours", r#"{"a":{"b":1}}"#)).await, Ok(()));
    assert_eq!(first.write(Operation::Set(set("raw", "x"))).await, Ok(()));
    let rows = somebody
        .query(
            "SELECT value #>> '{a,b}', value #>> '{}', isbinary, updatedate IS NULL FROM state \
             WHERE key IN ('ours', 'raw') ORDER BY key",
            &[],
        )
        .await
        .unwrap();
    let (piece, is_binary): (String, bool) = (rows[0].get(0), rows[0].get(2));
    assert_eq!((piece.as_str(), is_binary), ("1", false));
    let (text, is_binary): (String, bool) = (rows[1].get(1), rows[1].get(2));
    assert_eq!((text.as_str(), is_binary), ("eA==", true));
    assert!(rows[0].get::<_, bool>(3), "nobody has changed it since");
}

async fn cleans_once(server: &PostgresServer) {
    let (somebody, _driver) = server.somebody().await;
    let fields = [("tablePrefix", "cleaned_"), ("cleanupInterval", "200ms")];
    let one = store(server, "v2", &fields).await.unwrap();
    let other = store(server, "v2", &fields).await.unwrap();
    for (key, ttl) in [("ends", Ttl::Seconds(1)), ("stays", Ttl::Seconds(3600))] {
        let written = Operation::Set(Set {
            ttl,
            ..set(key, "value")
        });
        assert_eq!(one.write(written).await, Ok(()));
    }
    eventually("what ended is deleted", async || {
        let keys = somebody.query("SELECT key FROM cleaned_state", &[]).await;
        (keys.unwrap().len() == 1).then_some(())
    })
    .await;
    let key = "last-cleanup-state-v2-cleaned_";
    let last = "SELECT value::timestamptz <= now() FROM dapr_metadata WHERE key = $1";
    let row = somebody.query_one(last, &[&key]).await.unwrap();
    assert!(row.get::<_, bool>(0), "when, where Dapr looks for it");
    // The job ends with its store.
    drop((one, other));
    let change = "UPDATE cleaned_state SET expires_at = now() - interval '1 day'";
    eventually("nobody is connected any more", async || {
        let left = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%cleaned_state%' \
                    AND pid <> pg_backend_pid()";
        let left: i64 = somebody.query_one(left, &[]).await.unwrap().get(0);
        (left == 0).then_some(())
    })
    .await;
    somebody.batch_execute(change).await.unwrap();
}

async fn says_why_it_cannot_start(server: &PostgresServer) {
    let address = server.address();
    for (fields, expected) in [
        (
            vec![("password", "swordfish")],
            "password authentication failed for user \"store\" (28P01)",
        ),
        (
            vec![("database", "nowhere")],
            "database \"nowhere\" does not exist (3D000)",
        ),
        (
            vec![("user", "nobody")],
            "password authentication failed for user \"nobody\" (28P01)",
        ),
        (
            vec![("tableName", "nowhere.state")],
            "schema \"nowhere\" does not exist (3F000)",
        ),
    ] {
        let error = store(server, "v1", &fields).await.err().unwrap();
        let expected = format!("PostgreSQL at {address}: {expected}");
        assert_eq!(error, expected);
    }
    // The table of the other version is left as it is.
    for (version, fields, column) in [
        ("v2", vec![], "expires_at"),
        ("v1", vec![("tableName", "v2_state")], "isbinary"),
    ] {
        let error = store(server, version, &fields).await.err().unwrap();
        let expected = format!("column \"{column}\" does not exist (42703)");
        assert!(error.ends_with(&expected), "{error}");
    }
    let (somebody, _driver) = server.somebody().await;
    let changed = "SELECT count(*) FROM information_schema.columns \
                   WHERE table_name = 'v2_state' AND column_name = 'expiredate'";
    let changed: i64 = somebody.query_one(changed, &[]).await.unwrap().get(0);
    assert_eq!(changed, 0);
    let error = store(server, "v2", &[("port", "1")]).await.err().unwrap();
    let begin = "PostgreSQL at 127.0.0.1:1: error connecting to server: ";
    assert!(error.starts_with(begin), "{error}");
}

async fn checks_the_server(server: &PostgresServer) {
    let (somebody, _driver) = server.somebody().await;
    let encrypted = async |fields: &[(&str, &str)], more: &str| {
        let text = server.connection_string(more);
        let mut all = vec![("connectionString", text.as_str()), ("tablePrefix", "tls_")];
        all.extend(fields);
        let store = store(server, "v2", &all).await?;
        assert_eq!(store.write(Operation::Set(set("k", "v"))).await, Ok(()));
        let count = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                     WHERE ssl AND query LIKE '%tls_state%'";
        let encrypted: i64 = somebody.query_one(count, &[]).await.unwrap().get(0);
        drop(store);
        eventually("its connections end", async || {
            let left = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%tls_state%' \
                        AND pid <> pg_backend_pid()";
            let left: i64 = somebody.query_one(left, &[]).await.unwrap().get(0);
            (left == 0).then_some(())
        })
        .await;
        Ok::<_, String>(encrypted > 0)
    };
    let authority = ("sslRootCert", server.authority.as_str());
    let named = [authority, ("host", "localhost"), ("hostaddr", "127.0.0.1")];
    assert_eq!(encrypted(&[], "sslmode=disable").await, Ok(false));
    assert_eq!(
        encrypted(&[], "").await,
        Ok(true),
        "where the server has it"
    );
    assert_eq!(encrypted(&[], "sslmode=require").await, Ok(true));
    assert_eq!(encrypted(&[authority], "sslmode=require").await, Ok(true));
    assert_eq!(encrypted(&[authority], "sslmode=verify-ca").await, Ok(true));
    assert_eq!(encrypted(&named, "sslmode=verify-full").await, Ok(true));
    let other = sidegate::testing::certificates::Authority::new().certificate();
    for (fields, mode) in [
        (vec![authority], "verify-full"),
        (vec![("sslRootCert", other.as_str())], "verify-ca"),
        (vec![("sslRootCert", other.as_str())], "require"),
    ] {
        let error = encrypted(&fields, &format!("sslmode={mode}")).await;
        let error = error.err().unwrap();
        assert!(error.contains("TLS handshake"), "{mode}: {error}");
    }
}

async fn waits_for_a_connection_for_a_while(server: &PostgresServer) {
    let (somebody, _driver) = server.somebody().await;
    let fields = [
        ("tablePrefix", "few_"),
        ("maxConns", "2"),
        ("timeout", "1s"),
        ("connectionMaxIdleTime", "300ms"),
    ];
    let store = store(server, "v2", &fields).await.unwrap();
    assert_eq!(store.write(Operation::Set(set("k", "0"))).await, Ok(()));
    somebody
        .batch_execute("BEGIN; SELECT * FROM few_state WHERE key = 'k' FOR UPDATE")
        .await
        .unwrap();
    let mut writers = JoinSet::new();
    for number in 0..6 {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            let value = number.to_string();
            let written = Operation::Set(Set {
                // Tried once: a second try would meet the first.
                condition: Condition::Absent,
                ..set("k", value)
            });
            store.write(written).await
        });
    }
    let mut texts = BTreeMap::new();
    while let Some(ended) = writers.join_next().await {
        match ended.unwrap() {
            Err(StateError::Unavailable(text)) => *texts.entry(text).or_insert(0) += 1,
            other => panic!("{other:?}"),
        }
    }
    let address = server.address();
    let full = format!("PostgreSQL at {address}: every connection of the pool was in use for 1 s");
    assert!(texts.contains_key(&full), "{texts:?}");
    somebody.batch_execute("COMMIT").await.unwrap();
    assert_eq!(store.write(Operation::Set(set("k", "1"))).await, Ok(()));
    eventually("connections that nobody uses end", async || {
        let left = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%few_state%' \
                    AND pid <> pg_backend_pid()";
        let left: i64 = somebody.query_one(left, &[]).await.unwrap().get(0);
        (left == 0).then_some(())
    })
    .await;
}

/// Transactions over the same keys in opposite orders: none gives way.
async fn deadlocks_with_nobody(server: &PostgresServer) {
    let store = store(server, "v2", &[("tablePrefix", "orders_")]).await;
    let store = store.unwrap();
    let mut writers = JoinSet::new();
    for number in 0..4 {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            for round in 0..10 {
                let mut operations: Vec<_> = (0..4)
                    .map(|key| Operation::Set(set(&key.to_string(), round.to_string())))
                    .collect();
                if number % 2 == 0 {
                    operations.reverse();
                }
                assert_eq!(store.transact(operations).await, Ok(()));
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    let (somebody, _driver) = server.somebody().await;
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    let deadlocks: i64 = somebody.query_one(deadlocks, &[]).await.unwrap().get(0);
    assert_eq!(deadlocks, 0);
}

/// A transaction that the server ends for the sake of another is done after all.
async fn gives_way_and_tries_again(server: &PostgresServer) {
    let strict = server.connection_string("default_transaction_isolation=serializable");
    let fields = [
        ("connectionString", strict.as_str()),
        ("tablePrefix", "strict_"),
    ];
    let store = store(server, "v2", &fields).await.unwrap();
    let write = |value: &str| {
        vec![
            Operation::Set(set("a", value)),
            Operation::Set(set("b", value)),
        ]
    };
    assert_eq!(store.transact(write("1")).await, Ok(()));
    let (somebody, _driver) = server.somebody().await;
    somebody
        .batch_execute("BEGIN; UPDATE strict_state SET value = '2' WHERE key = 'a'")
        .await
        .unwrap();
    let (watcher, _other_driver) = server.somebody().await;
    let steps = async {
        eventually("the store waits for the other", async || {
            let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
            let waits: i64 = watcher.query_one(waits, &[]).await.unwrap().get(0);
            (waits > 0).then_some(())
        })
        .await;
        somebody.batch_execute("COMMIT").await.unwrap();
    };
    let (written, ()) = tokio::join!(store.transact(write("3")), steps);
    assert_eq!(written, Ok(()));
    for key in ["a", "b"] {
        assert_eq!(value(store.as_ref(), key).await, 3);
    }
}

/// Counters that grow by one with each acknowledged write, while the server is killed again and
/// again: none of them is ever less than what was acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost_when_the_server_is_killed() {
    let mut server = PostgresServer::start().await;
    let fields = [("timeout", "2s"), ("maxConns", "4")];
    let store = store(&server, "v2", &fields).await.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let acknowledged: Arc<Vec<AtomicU64>> =
        Arc::new((0..WRITERS).map(|_| AtomicU64::new(0)).collect());
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (store, acknowledged) = (Arc::clone(&store), Arc::clone(&acknowledged));
        let is_over = Arc::clone(&is_over);
        writers.spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                count(store.as_ref(), writer, &acknowledged[writer]).await;
            }
        });
    }
    let total = || -> u64 {
        let all = acknowledged.iter();
        all.map(|count| count.load(Ordering::Relaxed)).sum()
    };
    let mut down = Duration::ZERO;
    for _ in 0..KILLS {
        let goal = total() + BEFORE;
        eventually("writes are acknowledged", async || {
            (total() >= goal).then_some(())
        })
        .await;
        server.server.kill();
        let start = Instant::now();
        server.server.start_again().await;
        let before = total();
        eventually("the store recovers", async || {
            (total() > before).then_some(())
        })
        .await;
        down = down.max(start.elapsed());
    }
    is_over.store(true, Ordering::Relaxed);
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    let total = total();
    println!("PostgreSQL, killed {KILLS} times: {total} writes acknowledged, none lost, {down:?}");
    for (writer, acknowledged) in acknowledged.iter().enumerate() {
        let one = value(store.as_ref(), &format!("a{writer}")).await;
        let other = value(store.as_ref(), &format!("b{writer}")).await;
        let acknowledged = acknowledged.load(Ordering::Relaxed);
        assert!(one >= acknowledged, "{one} is less than {acknowledged}");
        assert_eq!(one, other, "both halves of a transaction");
    }
}

/// Adds one to two counters at once, where nobody else did; counts what was acknowledged.
async fn count(store: &dyn StateStore, writer: usize, acknowledged: &AtomicU64) {
    let keys = [format!("a{writer}"), format!("b{writer}")];
    let Ok(item) = store.get(&get(&keys[0])).await else {
        tokio::task::yield_now().await;
        return;
    };
    let (number, condition) = match item {
        None => (0, Condition::Absent),
        Some(item) => {
            let number: u64 = std::str::from_utf8(&item.value).unwrap().parse().unwrap();
            (number, Condition::Matches(item.etag.unwrap()))
        }
    };
    let next = (number + 1).to_string();
    let operations = vec![
        Operation::Set(Set {
            condition,
            ..set(&keys[0], &next)
        }),
        Operation::Set(set(&keys[1], &next)),
    ];
    match store.transact(operations).await {
        Ok(()) => acknowledged.store(number + 1, Ordering::Relaxed),
        Err(StateError::Unavailable(text)) => assert!(!text.contains(PASSWORD), "{text}"),
        Err(error) => panic!("{error:?}"),
    }
}

async fn value(store: &dyn StateStore, key: &str) -> u64 {
    let item = store.get(&get(key)).await.unwrap().unwrap();
    std::str::from_utf8(&item.value).unwrap().parse().unwrap()
}
