//! Configuration in PostgreSQL.

use std::sync::Arc;

use sidegate::components::catalog::Backend;
use sidegate::components::configuration::{Changes, ConfigurationStore};
use sidegate::components::message::Metadata;
use sidegate::testing::eventually::{eventually, in_time};

use crate::direct::build_version;
use crate::postgres_server::PostgresServer;

/// The table and the trigger of docs/configuration.md.
const TABLE: &str = "
    CREATE TABLE settings (
        key VARCHAR NOT NULL,
        value VARCHAR NOT NULL,
        version VARCHAR NOT NULL,
        metadata JSON
    );
    CREATE FUNCTION tell_of_a_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_notify('config', json_build_object(
            'table', TG_TABLE_NAME,
            'action', TG_OP,
            'data', CASE TG_OP WHEN 'DELETE' THEN row_to_json(OLD) ELSE row_to_json(NEW) END
        )::text);
        RETURN NULL;
    END $$;
    CREATE TRIGGER config AFTER INSERT OR UPDATE OR DELETE ON settings
        FOR EACH ROW EXECUTE FUNCTION tell_of_a_change();";

#[tokio::test(flavor = "multi_thread")]
async fn configuration_is_read_and_followed() {
    let mut server = PostgresServer::start().await;
    let (somebody, _driver) = server.somebody().await;
    let error = configuration(&server).await.err().unwrap();
    assert_eq!(
        error,
        "the table \"settings\" is not there, or not for this user; it is made by its owner"
    );
    somebody.batch_execute(TABLE).await.unwrap();
    somebody
        .batch_execute(
            "INSERT INTO settings VALUES ('a', 'one', '1', '{\"owner\": \"me\"}'), \
             ('a', 'two', '2', NULL), ('b', 'x', '1', NULL)",
        )
        .await
        .unwrap();
    let store = configuration(&server).await.unwrap();
    let none = Metadata::new();
    let items = store.get(&[], &none).await.unwrap();
    assert_eq!(items.len(), 2);
    assert_eq!(
        (items["a"].value.as_str(), items["a"].version.as_str()),
        ("two", "2")
    );
    let keys = ["b".to_owned(), "c'; DROP TABLE settings; --".to_owned()];
    let items = store.get(&keys, &none).await.unwrap();
    assert_eq!(items.keys().collect::<Vec<_>>(), ["b"]);
    let error = store.subscribe(&[], &none).await.err().unwrap();
    assert!(
        error.to_string().contains("\"pgNotifyChannel\" is missing"),
        "{error}"
    );

    let channel = Metadata::from([("PgNotifyChannel".to_owned(), "Config".to_owned())]);
    let mut all = store.subscribe(&[], &channel).await.unwrap();
    let mut some = store.subscribe(&keys[..1], &channel).await.unwrap();
    somebody
        .batch_execute(
            "NOTIFY config, 'hunter2'; \
             SELECT pg_notify('config', '{\"table\": \"t\", \"data\": {\"key\": \"b\"}}'); \
             UPDATE settings SET value = 'three' WHERE version = '2'; \
             UPDATE settings SET value = 'y', metadata = '{\"n\": 1}' WHERE key = 'b'; \
             DELETE FROM settings WHERE key = 'b'",
        )
        .await
        .unwrap();
    assert_eq!(next(&mut all).await, ("a".to_owned(), "three".to_owned()));
    for changes in [&mut all, &mut some] {
        assert_eq!(next(changes).await, ("b".to_owned(), "y".to_owned()));
        assert_eq!(next(changes).await, ("b".to_owned(), String::new()));
    }

    server.server.kill();
    for changes in [&mut all, &mut some] {
        let ended = in_time("it ends", changes.next()).await;
        assert!(ended.is_err());
    }
    assert!(store.get(&[], &none).await.is_err());
    server.server.start_again().await;
    let mut again = eventually("it follows again", async || {
        store.subscribe(&[], &channel).await.ok()
    })
    .await;
    let (somebody, _driver) = server.somebody().await;
    let change = "UPDATE settings SET value = 'four' WHERE version = '2'";
    somebody.batch_execute(change).await.unwrap();
    assert_eq!(next(&mut again).await, ("a".to_owned(), "four".to_owned()));
    assert_eq!(store.get(&[], &none).await.unwrap()["a"].value, "four");
}

async fn configuration(server: &PostgresServer) -> Result<Arc<dyn ConfigurationStore>, String> {
    let text = server.connection_string("");
    let fields = [("connectionString", text.as_str()), ("table", "settings")];
    match build_version("configuration.postgresql", "v1", &fields).await {
        Ok(Backend::Configuration(store)) => Ok(store),
        Ok(_) => panic!("it is a configuration store"),
        Err(error) => Err(error.to_string()),
    }
}

async fn next(changes: &mut Box<dyn Changes>) -> (String, String) {
    let items = in_time("a change", changes.next()).await.unwrap();
    let mut items = items.into_iter().map(|(key, item)| (key, item.value));
    items.next().unwrap()
}
