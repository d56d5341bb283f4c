//! Secrets of both versions of the engine: names, versions, values, lists.

use std::time::Instant;

use futures_util::stream::{self, StreamExt as _};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use sidegate::components::secret_store::{RequestMetadata, StoreError};
use sidegate::testing::contract;
use sidegate::testing::faulty_road::FaultyRoad;

use super::{Admin, read, read_with, root_store, store, write};
use crate::servers::bao;

#[tokio::test]
async fn holds_what_was_written_in_each_version() {
    let server = bao().await;
    let admin = Admin::of(&server);
    admin
        .post(
            "sys/mounts/kv1",
            json!({"type": "kv", "options": {"version": "1"}}),
        )
        .await;
    let values = json!({"s": "text", "n": 3, "t": true, "z": null, "o": {"a": [1, "x y"]}});
    admin.post("kv1/dapr/db", values.clone()).await;
    admin
        .post("secret/data/dapr/db", json!({"data": values}))
        .await;
    admin.post("kv1/dapr/team/a/b", json!({"k": "deep"})).await;
    admin
        .post("secret/data/dapr/team/a/b", json!({"data": {"k": "deep"}}))
        .await;
    admin
        .post("secret/data/dapr/team/a", json!({"data": {}}))
        .await;
    admin.post("kv1/dapr/team/a", json!({"k": ""})).await;
    let db: &[(&str, &str)] = &[
        ("n", "3"),
        ("o", r#"{"a":[1,"x y"]}"#),
        ("s", "text"),
        ("t", "true"),
        ("z", "null"),
    ];
    let deep: &[(&str, &str)] = &[("k", "deep")];
    for more in [&[][..], &[("engineVersion", "2")]] {
        let two = root_store(&server.url(), more).await;
        assert!(two.has_multiple_keys());
        contract::holds(&*two, &[("db", db), ("team/a", &[]), ("team/a/b", deep)]).await;
    }
    for more in [
        &[("enginePath", "kv1")][..],
        &[("enginePath", "/kv1/"), ("engineVersion", "1")],
    ] {
        let one = root_store(&server.url(), more).await;
        contract::holds(
            &*one,
            &[("db", db), ("team/a", &[("k", "")]), ("team/a/b", deep)],
        )
        .await;
        let error = read_with(&*one, "db", &[("version_id", "1")])
            .await
            .unwrap_err();
        let expected = "\"version_id\" cannot be given: a KV engine of version 1 keeps one version";
        assert_eq!(error.to_string(), expected);
    }
    let bare = root_store(&server.url(), &[("vaultKVUsePrefix", "false")]).await;
    contract::holds(
        &*bare,
        &[
            ("dapr/db", db),
            ("dapr/team/a", &[]),
            ("dapr/team/a/b", deep),
        ],
    )
    .await;
    let team = root_store(&server.url(), &[("vaultKVPrefix", "dapr/team/")]).await;
    contract::holds(&*team, &[("a", &[]), ("a/b", deep)]).await;
    let text = root_store(&server.url(), &[("vaultValueType", "text")]).await;
    assert!(!text.has_multiple_keys());
    let db = r#"db={"n":3,"o":{"a":[1,"x y"]},"s":"text","t":true,"z":null}"#;
    assert_eq!(read(&*text, "db").await.unwrap().as_deref(), Some(db));
    let none = root_store(&server.url(), &[("vaultKVPrefix", "nothing")]).await;
    contract::holds(&*none, &[]).await;
}

#[tokio::test]
async fn survives_a_bad_way_to_the_server() {
    let server = bao().await;
    let admin = Admin::of(&server);
    write(&admin, "db", "v").await;
    admin
        .post(
            "sys/mounts/kv1",
            json!({"type": "kv", "options": {"version": "1"}}),
        )
        .await;
    admin.post("kv1/dapr/db", json!({"k": "v"})).await;
    for engine in ["secret", "kv1"] {
        let road = FaultyRoad::to(server.address).await;
        let make = async |more: &'static [(&'static str, &'static str)]| {
            let more = [more, &[("enginePath", engine)]].concat();
            root_store(&road.url(), &more).await
        };
        contract::survives(&road, make, ("db", &[("k", "v")])).await;
    }
}

#[tokio::test]
async fn reads_versions_and_leaves_out_what_was_deleted() {
    let server = bao().await;
    let admin = Admin::of(&server);
    for value in ["one", "two"] {
        write(&admin, "db", value).await;
        write(&admin, "deleted", value).await;
        write(&admin, "destroyed", value).await;
    }
    admin.delete("secret/data/dapr/deleted").await;
    admin
        .post("secret/destroy/dapr/destroyed", json!({"versions": [2]}))
        .await;
    let store = root_store(&server.url(), &[]).await;
    for (name, version, value) in [
        ("db", "", Some("k=two")),
        ("db", "0", Some("k=two")),
        ("db", "1", Some("k=one")),
        ("db", "2", Some("k=two")),
        ("db", "3", None),
        ("deleted", "", None),
        ("deleted", "1", Some("k=one")),
        ("destroyed", "2", None),
    ] {
        let read = read_with(&*store, name, &[("version_id", version)])
            .await
            .unwrap();
        assert_eq!(read.as_deref(), value, "{name} {version}");
    }
    for wrong in ["-1", "latest", "1&list=true", "2147483648", "1 ", "+-1"] {
        let error = read_with(&*store, "db", &[("version_id", wrong)])
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"version_id\" is not a whole number from 0",
            "{wrong}"
        );
    }
    contract::holds(&*store, &[("db", &[("k", "two")])]).await;
}

#[tokio::test]
async fn names_of_any_characters_are_names() {
    let server = bao().await;
    let admin = Admin::of(&server);
    let names = [
        "a b",
        "a+b",
        "a%b",
        "a%2fb",
        "%2e%2e",
        "a?b",
        "a#b",
        "a&list=true",
        "ä",
        "日本/語",
        "😀",
        "a;b",
        "a\\b",
        "..a",
        "a..",
        "a:b@c",
        "'\"<>`{}|^[]",
        "x/ y",
        "metadata",
        "data/x",
    ];
    for name in names {
        let segments = name
            .split('/')
            .map(|segment| utf8_percent_encode(segment, NON_ALPHANUMERIC).to_string());
        write(&admin, &segments.collect::<Vec<_>>().join("/"), name).await;
    }
    let store = root_store(&server.url(), &[]).await;
    let keys: Vec<_> = names.iter().map(|name| [("k", *name)]).collect();
    let expected: Vec<_> = names
        .iter()
        .zip(&keys)
        .map(|(name, keys)| (*name, &keys[..]))
        .collect();
    contract::holds(&*store, &expected).await;
}

#[tokio::test]
async fn no_spelling_gets_round_a_denied_name_or_out_of_the_prefix() {
    let server = bao().await;
    let admin = Admin::of(&server);
    write(&admin, "team/denied", "hunter2").await;
    admin
        .post("secret/data/outside", json!({"data": {"k": "hunter2"}}))
        .await;
    let store = root_store(&server.url(), &[]).await;
    let denied = "team/denied";
    assert!(read(&*store, denied).await.unwrap().is_some());
    for trick in [
        "/team/denied",
        "team/denied/",
        "team//denied",
        "./team/denied",
        "team/./denied",
        "team/x/../denied",
        "team/../team/denied",
        "%74eam/denied",
        "team%2Fdenied",
        "team%2fdenied",
        "team/denied%00",
        "team/denied\0",
        "team/denied?version=1",
        "team/denied?",
        "team/denied#",
        "team/denied;",
        "team/denied%3Fversion=1",
        "team\\denied",
        "team/DENIED",
        "TEAM/denied",
        "team/denied ",
        " team/denied",
        "team/denied\n",
        "\tteam/denied",
        "team/denied\u{200b}",
        "team/de\u{0301}nied",
        "team∕denied",
        "team/%2e/denied",
        "team/%2e%2e/team/denied",
        "dapr/team/denied",
        "../dapr/team/denied",
        "data/dapr/team/denied",
        "secret/data/dapr/team/denied",
        "/v1/secret/data/dapr/team/denied",
        "../outside",
        "..%2foutside",
        "%2e%2e/outside",
        "..%5coutside",
        "..\\outside",
        "team/../../outside",
        "/outside",
        "//outside",
        "../../metadata/dapr/team/denied",
        "?list=true",
        "..;/outside",
        "team/denied/.",
        "team/denied/..",
        "team/denied/x/..",
        "team/denied%20",
        "team/denied+",
    ] {
        // What the scopes of the app judge is the canonical name.
        if store.canonical_name(trick) == denied {
            continue;
        }
        let answer = read(&*store, trick).await;
        assert!(!matches!(answer, Ok(Some(_))), "{trick:?}");
    }
}

#[tokio::test]
async fn reads_ten_thousand_secrets_at_once() {
    let server = bao().await;
    let admin = Admin::of(&server);
    let start = Instant::now();
    stream::iter(0..10_000)
        .map(|number| {
            let admin = admin.clone();
            async move {
                let path = format!("secret/data/dapr/folder-{}/{number}", number % 10);
                admin.post(&path, json!({"data": {"k": number}})).await;
            }
        })
        .buffer_unordered(8)
        .for_each(async |()| ())
        .await;
    let written = start.elapsed();
    let store = root_store(&server.url(), &[("bulkTimeout", "5m")]).await;
    let secrets = store.bulk(&RequestMetadata::new()).await.unwrap();
    eprintln!(
        "written in {written:?}, read in {:?}",
        start.elapsed() - written
    );
    assert_eq!(secrets.len(), 10_000);
    assert_eq!(secrets["folder-7/4567"]["k"].expose(), "4567");
    let store = root_store(
        &server.url(),
        &[("bulkTimeout", "5m"), ("maxBulkSize", "8Ki")],
    )
    .await;
    let error = store.bulk(&RequestMetadata::new()).await.unwrap_err();
    assert!(error.to_string().contains("(\"maxBulkSize\")"), "{error}");
}

#[tokio::test]
async fn folders_have_a_largest_depth() {
    let server = bao().await;
    let admin = Admin::of(&server);
    write(&admin, &["d"; 40].join("/"), "v").await;
    let store = root_store(&server.url(), &[]).await;
    let error = store.bulk(&RequestMetadata::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "there are folders more than 32 deep");
}

#[tokio::test]
async fn what_the_policies_deny_is_named() {
    let server = bao().await;
    let admin = Admin::of(&server);
    for name in ["mine", "other"] {
        write(&admin, name, name).await;
    }
    admin
        .policy("mine", &[("secret/data/dapr/mine", "read")])
        .await;
    for more in [json!({}), json!({"no_default_policy": true})] {
        let mut fields = json!({"policies": ["mine"]});
        fields
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let token = admin.token(fields).await;
        let store = store(&[("vaultAddr", &server.url()), ("vaultToken", &token)]).await;
        assert_eq!(
            read(&*store, "mine").await.unwrap().as_deref(),
            Some("k=mine")
        );
        let error = read(&*store, "other").await.unwrap_err();
        assert!(matches!(error, StoreError::Failed(_)), "{error:?}");
        let expected = "the policies of the token deny it; one that allows it has: path \
                        \"secret/data/dapr/other\" { capabilities = [\"read\"] }";
        assert_eq!(error.to_string(), expected);
        let error = store.bulk(&RequestMetadata::new()).await.unwrap_err();
        assert!(matches!(error, StoreError::ListForbidden(_)), "{error:?}");
        let expected = "the policies of the token deny it; one that allows it has: path \
                        \"secret/metadata/dapr/\" { capabilities = [\"list\"] }";
        assert_eq!(error.to_string(), expected);
        assert_eq!(store.down_since(), None);
    }
}

#[tokio::test]
async fn an_engine_that_is_not_there_or_of_another_kind_is_named() {
    let server = bao().await;
    let admin = Admin::of(&server);
    admin.post("sys/mounts/pki", json!({"type": "pki"})).await;
    for (engine, expected) in [
        ("nope", "no engine is mounted at \"nope\" (\"enginePath\")"),
        (
            "pki",
            "the engine at \"pki\" (\"enginePath\") is no KV engine",
        ),
    ] {
        let store = root_store(&server.url(), &[("enginePath", engine)]).await;
        let error = read(&*store, "x").await.unwrap_err();
        assert_eq!(error.to_string(), expected);
        let error = store.bulk(&RequestMetadata::new()).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn reads_in_a_namespace() {
    let server = bao().await;
    let admin = Admin::of(&server);
    admin.post("sys/namespaces/team", json!({})).await;
    let team = admin.within("team");
    team.post(
        "sys/mounts/secret",
        json!({"type": "kv", "options": {"version": "2"}}),
    )
    .await;
    write(&team, "db", "of the team").await;
    write(&admin, "root", "v").await;
    let store = root_store(&server.url(), &[("vaultNamespace", "team")]).await;
    contract::holds(&*store, &[("db", &[("k", "of the team")])]).await;
    team.policy("reader", &[("secret/data/dapr/*", "read")])
        .await;
    team.post("sys/auth/approle", json!({"type": "approle"}))
        .await;
    let role = json!({"token_policies": ["reader"], "bind_secret_id": false,
        "secret_id_bound_cidrs": ["127.0.0.1/32"]});
    team.post("auth/approle/role/app", role).await;
    let id = team.get("auth/approle/role/app/role-id").await;
    let id = id["data"]["role_id"].as_str().unwrap();
    let logged_in = super::store(&[
        ("vaultAddr", &server.url()),
        ("vaultNamespace", "team"),
        ("authMethod", "approle"),
        ("roleId", id),
    ])
    .await;
    assert_eq!(
        read(&*logged_in, "db").await.unwrap().as_deref(),
        Some("k=of the team")
    );
}
