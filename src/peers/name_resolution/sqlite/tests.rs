//! Against real database files.

use std::path::Path;

use super::*;
use crate::testing::eventually::eventually;

const APP: Lookup<'static> = Lookup {
    app_id: "shop",
    namespace: "prod",
};

fn names(path: &Path) -> SqliteNames {
    SqliteNames {
        connection_string: path.to_str().unwrap().to_owned(),
        table: "hosts".to_owned(),
        metadata_table: "metadata".to_owned(),
        // No time limit of a test depends on it.
        update_interval: Duration::from_secs(3600),
        timeout: Duration::from_secs(60),
        busy_timeout: Duration::from_secs(60),
        cleanup_interval: None,
        disable_wal: false,
    }
}

fn registration(port: u16) -> Registration {
    Registration {
        app_id: "shop".to_owned(),
        namespace: "prod".to_owned(),
        host_address: [127, 0, 0, 1].into(),
        internal_port: port,
    }
}

fn row(id: &str, port: u16) -> Row {
    Row {
        id: id.to_owned(),
        address: format!("127.0.0.1:{port}"),
        app_id: "shop".to_owned(),
        namespace: "prod".to_owned(),
    }
}

async fn found(hosts: &Hosts) -> Vec<String> {
    hosts.list().await.unwrap().sorted(&APP)
}

async fn start_error(names: &SqliteNames) -> String {
    let mut tasks = Tasks::new(CancellationToken::new());
    let error = start(names, registration(1), &mut tasks).await.unwrap_err();
    with_causes(&error)
}

#[tokio::test]
async fn sidecars_find_each_other_until_they_withdraw() {
    let dir = tempfile::tempdir().unwrap();
    let names = names(&dir.path().join("hosts.db"));
    let mut tasks = Tasks::new(CancellationToken::new());
    let one = start(&names, registration(1), &mut tasks).await.unwrap();
    let mut others = Tasks::new(CancellationToken::new());
    let _other = start(&names, registration(2), &mut others).await.unwrap();
    let both = eventually("the other one", async || {
        let found = one.resolve(&APP).await.unwrap();
        (found.len() == 2).then_some(found)
    });
    let mut both = both.await;
    both.sort();
    assert_eq!(both[0].as_str(), "127.0.0.1:1");
    assert_eq!(both[1].as_str(), "127.0.0.1:2");
    others.shutdown().cancel();
    others.finish().await.unwrap();
    let hosts = Hosts::open(&names).await.unwrap();
    assert_eq!(found(&hosts).await, ["127.0.0.1:1"]);
    tasks.shutdown().cancel();
    tasks.finish().await.unwrap();
    assert_eq!(found(&hosts).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_row_is_alive_as_long_as_it_is_renewed() {
    let dir = tempfile::tempdir().unwrap();
    let hosts = Hosts::open(&names(&dir.path().join("hosts.db")))
        .await
        .unwrap();
    let shop = row("a", 1);
    hosts.register(shop.clone()).await.unwrap();
    let age = |seconds: u32| {
        hosts.with(move |connection, _| {
            let sql = format!("UPDATE hosts SET last_update = unixepoch() - {seconds}");
            Ok(connection.execute(&sql, [])?)
        })
    };
    age(3600 - 60).await.unwrap();
    assert_eq!(found(&hosts).await, ["127.0.0.1:1"]);
    age(2 * 3600).await.unwrap();
    assert_eq!(found(&hosts).await, Vec::<String>::new());
    assert!(hosts.renew(&shop).await.unwrap());
    assert_eq!(found(&hosts).await, ["127.0.0.1:1"]);
    age(2 * 3600).await.unwrap();
    assert_eq!(hosts.clean(Duration::from_secs(3 * 3600)).await.unwrap(), 0);
    assert_eq!(hosts.clean(Duration::from_secs(3600)).await.unwrap(), 1);
    assert!(!hosts.renew(&shop).await.unwrap());
}

#[tokio::test]
async fn the_newest_sidecar_at_an_address_counts_and_a_lost_row_is_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let hosts = Arc::new(
        Hosts::open(&names(&dir.path().join("hosts.db")))
            .await
            .unwrap(),
    );
    hosts.register(row("killed", 1)).await.unwrap();
    hosts.register(row("restarted", 1)).await.unwrap();
    assert_eq!(found(&hosts).await, ["127.0.0.1:1"]);
    assert!(!hosts.renew(&row("killed", 1)).await.unwrap());
    // What withdraws is the own row only.
    hosts.withdraw(&row("killed", 1)).await.unwrap();
    assert_eq!(found(&hosts).await, ["127.0.0.1:1"]);
    hosts.withdraw(&row("restarted", 1)).await.unwrap();
    let keep = Keep {
        hosts: Arc::clone(&hosts),
        row: row("restarted", 1),
        renew: Duration::from_secs(3600),
        clean: None,
    };
    keep.renew().await;
    assert_eq!(found(&hosts).await, ["127.0.0.1:1"]);
}

#[tokio::test]
async fn shares_a_file_with_dapr() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hosts.db");
    let connection = Connection::open(&path).unwrap();
    // As Dapr 1.18 makes it, with a live sidecar, an old one and one that makes no sense.
    let made = connection.execute_batch(
        "CREATE TABLE metadata (key text NOT NULL PRIMARY KEY, value text NOT NULL);
         INSERT INTO metadata VALUES ('nr-migrations', '1');
         CREATE TABLE hosts (registration_id TEXT NOT NULL PRIMARY KEY, address TEXT NOT NULL,
           app_id TEXT NOT NULL, namespace TEXT NOT NULL, last_update INTEGER NOT NULL);
         CREATE UNIQUE INDEX hosts_address_idx ON hosts (address);
         INSERT INTO hosts VALUES
           ('r1', '[::1]:3', 'shop', 'prod', unixepoch(CURRENT_TIMESTAMP)),
           ('r2', '127.0.0.1:4', 'shop', 'prod', unixepoch(CURRENT_TIMESTAMP) - 7200),
           ('r3', '127.0.0.1:5', 'shop', 'test', unixepoch(CURRENT_TIMESTAMP)),
           ('r4', 'nonsense', 'shop', 'prod', unixepoch(CURRENT_TIMESTAMP));",
    );
    made.unwrap();
    let hosts = Hosts::open(&names(&path)).await.unwrap();
    assert_eq!(found(&hosts).await, ["[::1]:3"]);
    hosts.register(row("ours", 6)).await.unwrap();
    assert_eq!(found(&hosts).await, ["127.0.0.1:6", "[::1]:3"]);
}

#[tokio::test]
async fn many_sidecars_may_start_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let names = names(&dir.path().join("hosts.db"));
    let opened = futures_util::future::join_all((0..8).map(|_| Hosts::open(&names))).await;
    for hosts in opened {
        assert_eq!(found(&hosts.unwrap()).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn says_why_a_database_cannot_be_used() {
    let dir = tempfile::tempdir().unwrap();
    let cannot = "name resolver \"sqlite\" cannot start";
    for memory in [
        ":memory:",
        "file::memory:?cache=shared",
        "file:a?mode=memory",
    ] {
        let in_memory = names(Path::new(memory));
        assert_eq!(
            start_error(&in_memory).await,
            format!(
                "{cannot}: a database in memory has no other sidecars in it; accepted is a file"
            )
        );
    }
    let path = dir.path().join("newer.db");
    let connection = Connection::open(&path).unwrap();
    let made = connection.execute_batch(
        "CREATE TABLE metadata (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL);
         INSERT INTO metadata VALUES ('nr-migrations', '2');",
    );
    made.unwrap();
    assert_eq!(
        start_error(&names(&path)).await,
        format!("{cannot}: its schema has version 2; accepted is 1, of Dapr 1.18")
    );
    let missing = names(&dir.path().join("missing/hosts.db"));
    let error = start_error(&missing).await;
    assert!(
        error.starts_with(&format!("{cannot}: the database failed: ")),
        "{error}"
    );
}

#[test]
fn a_connection_string_may_be_a_uri() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a b.db");
    let path = path.to_str().unwrap();
    let uri = format!("file:{}?cache=private", path.replace(' ', "%20"));
    for text in [uri.as_str(), uri.trim_start_matches("file:"), path] {
        connect(&names(Path::new(text))).unwrap();
    }
    let files = std::fs::read_dir(dir.path()).unwrap();
    let files: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    assert!(
        files
            .iter()
            .all(|name| name.to_str().unwrap().starts_with("a b.db")),
        "{files:?}"
    );
}
