use std::path::Path;

use rusqlite::params;

use super::*;
use crate::base::uuid;
use crate::components::state::{Condition, Delete, ETag, Set, Ttl};
use crate::testing::contract::component;
use crate::testing::eventually::eventually;
use crate::testing::state_contract::{self, delete, get, set};

async fn try_open(properties: &[(&str, &str)]) -> Result<Sqlite, String> {
    let component = component("state.sqlite", properties);
    let mut reader = Reader::new(&component).unwrap();
    let store = Sqlite::open(&mut reader).await;
    store.map_err(|error| error.to_string())
}

async fn open(path: &Path, more: &[(&str, &str)]) -> Sqlite {
    let mut properties = vec![("connectionString", path.to_str().unwrap())];
    properties.extend(more);
    try_open(&properties).await.unwrap()
}

fn put(key: &str, value: impl AsRef<[u8]>) -> Operation {
    Operation::Set(set(key, value))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn StateStore> = Arc::new(open(&folder.path().join("wal.db"), &[]).await);
    state_contract::holds(&store, "app||").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keeps_the_contract_without_a_write_ahead_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("no wal.db");
    let store: Arc<dyn StateStore> = Arc::new(open(&path, &[("disableWAL", "true")]).await);
    state_contract::holds(&store, "app||").await;
    assert!(!folder.path().join("no wal.db-wal").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keeps_the_contract_in_memory() {
    let store = try_open(&[("connectionString", ":memory:")]).await;
    let store: Arc<dyn StateStore> = Arc::new(store.unwrap());
    state_contract::holds(&store, "app||").await;
}

#[tokio::test]
async fn outlives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let open = async || Arc::new(open(&path, &[]).await) as Arc<dyn StateStore>;
    state_contract::survives(open, "app||").await;
}

/// Two sidecars with one file: what one answered, the other one sees, and their conditions hold
/// against each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_share_a_file() {
    const EACH: usize = 50;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    // Fair enough that none of them waits for ever.
    let patient = [("busyTimeout", "60s"), ("timeout", "120s")];
    let (one, two) = tokio::join!(open(&path, &patient), open(&path, &patient));
    one.write(put("key", "0")).await.unwrap();
    let mut writers = JoinSet::new();
    for store in [Arc::new(one), Arc::new(two)] {
        writers.spawn(async move {
            let mut left = EACH;
            while left > 0 {
                let item = store.get(&get("key")).await.unwrap().unwrap();
                let text = std::str::from_utf8(&item.value).unwrap();
                let next = text.parse::<usize>().unwrap() + 1;
                let written = store.write(Operation::Set(Set {
                    condition: Condition::Matches(item.etag.unwrap()),
                    ..set("key", next.to_string())
                }));
                match written.await {
                    Ok(()) => left -= 1,
                    Err(error) => assert_eq!(error, StateError::Mismatch),
                }
            }
            store
        });
    }
    while let Some(store) = writers.join_next().await {
        if writers.is_empty() {
            let item = store.unwrap().get(&get("key")).await.unwrap().unwrap();
            assert_eq!(item.value, (2 * EACH).to_string());
        }
    }
}

#[tokio::test]
async fn a_locked_database_is_not_waited_for_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let store = open(&path, &[("busyTimeout", "50ms")]).await;
    store.write(put("key", "old")).await.unwrap();
    let mut other = Connection::open(&path).unwrap();
    let lock = other.transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive);
    let lock = lock.unwrap();
    let error = store.write(put("key", "new")).await.unwrap_err();
    let text = "the database failed: database is locked".to_owned();
    assert_eq!(error, StateError::Unavailable(text));
    let item = store.get(&get("key")).await.unwrap().unwrap();
    assert_eq!(item.value, "old", "readers go on");
    drop(lock);
    store.write(put("key", "new")).await.unwrap();
    let item = store.get(&get("key")).await.unwrap().unwrap();
    assert_eq!(item.value, "new");
}

/// One that does not answer in time says so, and what was given up is not written later.
#[tokio::test]
async fn waits_no_longer_than_the_timeout() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let store = open(&path, &[("busyTimeout", "60s"), ("timeout", "1s")]).await;
    let mut other = Connection::open(&path).unwrap();
    let lock = other.transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive);
    let lock = lock.unwrap();
    let slow = StateError::Unavailable("it did not answer within 1s".to_owned());
    let (one, two) = tokio::join!(
        store.write(put("first", "value")),
        store.write_all(vec![put("second", "value"), put("third", "value")]),
    );
    assert_eq!(one, Err(slow.clone()));
    assert_eq!(two, [Err(slow.clone()), Err(slow)]);
    drop(lock);
    eventually("the writer goes on", async || {
        store.write(put("last", "value")).await.ok()
    })
    .await;
    for key in ["first", "second", "third"] {
        let given_up = store.get(&get(key)).await.unwrap();
        assert_eq!(given_up, None, "{key}");
    }
}

/// Rows as Dapr writes them, and what it would read of ours.
#[tokio::test]
async fn shares_tables_with_dapr() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let dapr = Connection::open(&path).unwrap();
    dapr.execute_batch(
        "CREATE TABLE metadata (key text NOT NULL PRIMARY KEY, value text NOT NULL);
         INSERT INTO metadata VALUES ('migrations', '1');
         CREATE TABLE state (
           key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL, is_binary BOOLEAN NOT NULL,
           etag TEXT NOT NULL, expiration_time TIMESTAMP DEFAULT NULL,
           update_time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP);
         INSERT INTO state (key, value, is_binary, etag, expiration_time) VALUES
           ('app||json', '{\"a\":1}', 0, '2b1d6f9e-8a4c-4d0e-9c1b-2f3e4d5c6b7a', NULL),
           ('app||bytes', 'AP8=', 1, '2b1d6f9e-8a4c-4d0e-9c1b-2f3e4d5c6b7b', NULL),
           ('app||later', '1', 0, '2b1d6f9e-8a4c-4d0e-9c1b-2f3e4d5c6b7c',
             DATETIME(CURRENT_TIMESTAMP, '+3600 seconds')),
           ('app||ended', '1', 0, '2b1d6f9e-8a4c-4d0e-9c1b-2f3e4d5c6b7d', CURRENT_TIMESTAMP),
           ('app||odd', '1', 0, 'by hand', NULL),
           ('app||broken', '-', 1, '2b1d6f9e-8a4c-4d0e-9c1b-2f3e4d5c6b7e', NULL);",
    )
    .unwrap();
    let store = open(&path, &[]).await;
    let read = async |key: &str| store.get(&get(key)).await.unwrap();
    let json = read("app||json").await.unwrap();
    assert_eq!(json.value, "{\"a\":1}");
    let etag = ETag::of_version(0x2b1d_6f9e_8a4c_4d0e_9c1b_2f3e_4d5c_6b7a);
    assert_eq!(json.etag, Some(etag.clone()));
    assert_eq!(read("app||bytes").await.unwrap().value, &[0, 0xff][..]);
    let later = read("app||later").await.unwrap();
    assert!(later.metadata.contains_key("ttlExpireTime"), "{later:?}");
    assert_eq!(read("app||ended").await, None);
    assert_eq!(read("app||odd").await.unwrap().etag, None);
    let broken = store.get(&get("app||broken")).await;
    let text = "a binary value in the table is no base64".to_owned();
    assert_eq!(broken, Err(StateError::Refused(text)));

    let matching = Operation::Set(Set {
        condition: Condition::Matches(etag),
        ttl: Ttl::Seconds(60),
        ..set("app||json", "\"new\"")
    });
    store.write(matching).await.unwrap();
    store.write(put("app||bytes", [0xff])).await.unwrap();
    let row = |key: &str| {
        let sql = "SELECT value, is_binary, etag, expiration_time > CURRENT_TIMESTAMP,
                     typeof(value) FROM state WHERE key = ?1";
        dapr.query_row(sql, params![key], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, bool>(1)?,
                row.get::<_, String>(2)?,
                row.get::<_, Option<bool>>(3)?,
                row.get::<_, String>(4)?,
            ))
        })
        .unwrap()
    };
    let (value, is_binary, etag, lives, kind) = row("app||json");
    assert_eq!((value.as_str(), is_binary), ("\"new\"", false));
    assert_eq!((lives, kind.as_str()), (Some(true), "text"));
    let item = read("app||json").await.unwrap();
    let number = uuid::number(&etag).unwrap();
    assert_eq!(item.etag, Some(ETag::of_version(number)));
    let (value, is_binary, _, lives, _) = row("app||bytes");
    assert_eq!((value.as_str(), is_binary, lives), ("/w==", true, None));
}

#[tokio::test]
async fn notes_its_schema_and_refuses_a_later_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let names = [("tableName", "order"), ("metadataTableName", "7up")];
    drop(open(&path, &names).await);
    let database = Connection::open(&path).unwrap();
    let read = "SELECT value FROM \"7up\" WHERE key = 'migrations'";
    let version: String = database.query_row(read, [], |row| row.get(0)).unwrap();
    assert_eq!(version, "1");
    drop(open(&path, &names).await);
    let later = "UPDATE \"7up\" SET value = '2'";
    database.execute(later, []).unwrap();
    let mut properties = vec![("connectionString", path.to_str().unwrap())];
    properties.extend(names);
    assert_eq!(
        try_open(&properties).await.err().unwrap(),
        "cannot open the database: its schema has version \"2\"; accepted is 1, of Dapr 1.18"
    );
}

#[tokio::test]
async fn says_why_it_cannot_open() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("no/such/folder/state.db");
    let error = try_open(&[("connectionString", nowhere.to_str().unwrap())]).await;
    let error = error.err().unwrap();
    assert!(
        error.starts_with("cannot open the database: unable to open"),
        "{error}"
    );
    let text = folder.path().join("text.db");
    std::fs::write(&text, "x".repeat(10_000)).unwrap();
    let error = try_open(&[("connectionString", text.to_str().unwrap())]).await;
    let error = error.err().unwrap();
    assert_eq!(error, "cannot open the database: file is not a database");
}

#[tokio::test]
async fn rows_that_ended_are_deleted_by_one_of_two() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let cleaning = [("cleanupInterval", "1s")];
    let (one, _two) = (open(&path, &cleaning).await, open(&path, &cleaning).await);
    let ending = |number: usize| {
        Operation::Set(Set {
            ttl: Ttl::Seconds(1),
            ..set(&format!("key{number}"), "value")
        })
    };
    // More than are deleted at once.
    let outcomes = one.write_all((0..1_100).map(ending).collect()).await;
    assert!(outcomes.iter().all(Result::is_ok));
    one.write(put("stays", "value")).await.unwrap();
    let database = Connection::open(&path).unwrap();
    eventually("one row is left", async || {
        let count = "SELECT count(*) FROM state";
        let count: i64 = database.query_row(count, [], |row| row.get(0)).ok()?;
        (count == 1).then_some(())
    })
    .await;
    assert!(one.get(&get("stays")).await.unwrap().is_some());
    let noted = "SELECT value FROM metadata WHERE key = 'last-cleanup'";
    let noted: String = database.query_row(noted, [], |row| row.get(0)).unwrap();
    assert_eq!(noted.len(), "2026-01-31 12:00:00".len(), "{noted}");
}

/// Each of many writers that write at once gets its own answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refused_write_takes_no_other_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&folder.path().join("state.db"), &[]).await);
    store.write(put("there", "old")).await.unwrap();
    let mut writers = JoinSet::new();
    for number in 0..200 {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            let own = put(&format!("key{number}"), "value");
            let refused = number % 2 == 1;
            let other = match refused {
                true => Operation::Set(Set {
                    condition: Condition::Absent,
                    ..set("there", "new")
                }),
                false => Operation::Delete(Delete {
                    condition: Condition::Always,
                    ..delete("not there")
                }),
            };
            let outcome = store.transact(vec![own, other]).await;
            let expected = if refused {
                Err(StateError::Mismatch)
            } else {
                Ok(())
            };
            assert_eq!(outcome, expected, "{number}");
            number
        });
    }
    while let Some(number) = writers.join_next().await {
        let number = number.unwrap();
        let item = store.get(&get(&format!("key{number}"))).await.unwrap();
        assert_eq!(item.is_some(), number % 2 == 0, "{number}");
    }
    let item = store.get(&get("there")).await.unwrap().unwrap();
    assert_eq!(item.value, "old");
}
