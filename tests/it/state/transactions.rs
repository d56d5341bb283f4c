//! Transactions over HTTP.

use serde_json::json;

use super::*;

#[tokio::test]
async fn a_transaction_is_done_in_order() {
    let world = World::start().await;
    world.save("gone", "1").await;
    let body = json!({
        "operations": [
            {"operation": "upsert", "request": {"key": "a", "value": {"n": 1}}},
            {"operation": "upsert", "request": {"key": "b", "value": 1}},
            {"operation": "delete", "request": {"key": "gone"}},
            {"operation": "delete", "request": {"key": "b"}},
            {"operation": "upsert", "request": {"key": "a", "value": 2}},
        ],
    });
    for method in ["POST", "PUT"] {
        let answer = world.call(method, "s/transaction", &[], body.to_string());
        assert_eq!(answer.await.status(), 204);
        assert_eq!(world.value("a").await.unwrap(), "2");
        assert_eq!(world.value("b").await, None);
        assert_eq!(world.value("gone").await, None);
    }
}

#[tokio::test]
async fn a_condition_that_fails_leaves_everything_as_it_was() {
    let world = World::start().await;
    world.save("a", "1").await;
    let right = world.etag("a").await;
    let answer = |etag: &str| {
        let body = json!({"operations": [
            {"operation": "upsert", "request": {"key": "b", "value": 2}},
            {"operation": "upsert", "request": {"key": "a", "value": 2, "etag": etag}},
        ]});
        world.post("s/transaction", body.to_string())
    };
    let (status, code, message) = failure(&answer("1").await);
    assert_eq!((status, &*code), (409, "ERR_STATE_TRANSACTION"));
    let begin = "error while executing state transaction: possible etag mismatch.";
    assert!(message.starts_with(begin), "{message}");
    let (status, code, _) = failure(&answer("none").await);
    assert_eq!((status, &*code), (400, "ERR_STATE_TRANSACTION"));
    assert_eq!(world.value("b").await, None);
    assert_eq!(world.value("a").await.unwrap(), "1");
    assert_eq!(answer(&right).await.status(), 204);
    assert_eq!(world.value("a").await.unwrap(), "2");
    assert_eq!(world.value("b").await.unwrap(), "2");
}

#[tokio::test]
async fn what_is_said_of_a_transaction_counts_for_each_of_its_operations() {
    let world = World::start().await;
    let body = json!({
        "operations": [
            {"operation": "upsert", "request": {"key": "a", "value": 1}},
            {"operation": "upsert", "request": {"key": "b", "value": 1,
             "metadata": {"ttlInSeconds": "-1"}}},
        ],
        "metadata": {"ttlInSeconds": "1000"},
    });
    let body = body.to_string();
    let ends = async |key: &str| {
        let answer = world.get(&format!("s/{key}")).await;
        answer.headers().contains_key("metadata.ttlexpiretime")
    };
    assert_eq!(
        world.post("s/transaction", body.clone()).await.status(),
        204
    );
    assert_eq!((ends("a").await, ends("b").await), (true, false));
    let path = "s/transaction?metadata.ttlInSeconds=1000";
    assert_eq!(world.post(path, body).await.status(), 204);
    assert_eq!((ends("a").await, ends("b").await), (true, true));
}

#[tokio::test]
async fn transactions_that_are_none_are_refused() {
    let world = World::start().await;
    for body in ["{}", r#"{"operations": []}"#, r#"{"operations": null}"#] {
        let answer = world.post("s/transaction", body).await;
        assert_eq!(answer.status(), 204, "{body}");
    }
    let upsert = r#"{"operation": "upsert", "request": {"key": "a", "value": 1}}"#;
    for (second, code, message) in [
        (
            r#"{"operation": "bad", "request": 7}"#,
            "ERR_NOT_SUPPORTED_STATE_OPERATION",
            "operation type bad not supported",
        ),
        (
            r#"{"request": {"key": "k"}}"#,
            "ERR_NOT_SUPPORTED_STATE_OPERATION",
            "operation type  not supported",
        ),
        (
            r#"{"operation": "upsert"}"#,
            "ERR_MALFORMED_REQUEST",
            "\"key\" is a required field",
        ),
        (
            r#"{"operation": "delete", "request": {"key": "a||b"}}"#,
            "ERR_MALFORMED_REQUEST",
            "input key/keyPrefix 'a||b' can't contain '||'",
        ),
    ] {
        let body = format!(r#"{{"operations": [{upsert}, {second}]}}"#);
        let answer = world.post("s/transaction", body).await;
        assert_eq!(failure(&answer), (400, code.to_owned(), message.to_owned()));
        assert_eq!(world.value("a").await, None);
    }
    for body in ["", "[]", "rubbish", r#"{"operations": [7]}"#] {
        let answer = world.post("s/transaction", body).await;
        let (status, code, message) = failure(&answer);
        assert_eq!((status, &*code), (400, "ERR_MALFORMED_REQUEST"));
        let begin = "failed deserializing HTTP body: ";
        assert!(message.starts_with(begin), "{message}");
    }
}
