//! Several values in one call over HTTP.

use dapr::dapr::proto::common::v1::StateItem;
use dapr::dapr::proto::runtime::v1::SaveStateRequest;
use serde_json::json;

use super::*;

#[tokio::test]
async fn several_values_are_saved_and_read() {
    let world = World::start().await;
    let body = json!([
        {"key": "a", "value": 1},
        {"key": "b", "value": {"n": 1}, "metadata": {"ttlInSeconds": "1000"}},
        {"key": "a", "value": 2},
    ]);
    assert_eq!(world.post("s", body.to_string()).await.status(), 204);
    let binary = StateItem {
        key: "binary".to_owned(),
        value: vec![0xff, 0],
        ..StateItem::default()
    };
    let empty = StateItem {
        key: "empty".to_owned(),
        ..StateItem::default()
    };
    let request = SaveStateRequest {
        store_name: "s".to_owned(),
        states: vec![binary, empty],
    };
    world.client().await.save_state(request).await.unwrap();
    let body = json!({"keys": ["a", "none", "b", "binary", "empty", "a"], "parallelism": 2});
    let answer = world.post("s/bulk", body.to_string()).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/json");
    let read: Value = serde_json::from_slice(answer.body()).unwrap();
    let etag = world.etag("a").await;
    let a = json!({"key": "a", "data": 2, "etag": etag});
    assert_eq!(read[0], a);
    assert_eq!(read[1], json!({"key": "none"}));
    assert_eq!(read[2]["data"], json!({"n": 1}));
    assert!(read[2]["metadata"]["ttlExpireTime"].is_string(), "{read}");
    // What JSON cannot hold is told, and not left out.
    let error = read[3]["error"].as_str().unwrap();
    assert!(error.starts_with("the value is not JSON"), "{error}");
    assert_eq!(read[3].get("data"), None);
    let keys: Vec<_> = read[4].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["key", "etag"]);
    assert_eq!(read[5], a);
}

#[tokio::test]
async fn lists_without_keys_are_empty() {
    let world = World::start().await;
    assert_eq!(world.post("s", "[]").await.status(), 204);
    for body in ["{}", r#"{"keys": []}"#, r#"{"keys": null, "metadata": {}}"#] {
        let answer = world.post("s/bulk", body).await;
        assert_eq!((answer.status().as_u16(), &*text(&answer)), (200, "[]"));
    }
}

#[tokio::test]
async fn each_value_of_a_list_is_tried() {
    let world = World::start().await;
    world.save("b", "1").await;
    let body = json!([
        {"key": "a", "value": 2},
        {"key": "b", "value": 2, "etag": "1"},
        {"key": "c", "value": 2},
    ]);
    let answer = world.post("s", body.to_string()).await;
    let (status, code, message) = failure(&answer);
    assert_eq!((status, &*code), (409, "ERR_STATE_SAVE"));
    let begin = "failed saving state in state store s: 1 of 3 keys failed: key \"b\": possible \
                 etag mismatch. error from state store: ";
    assert!(message.starts_with(begin), "{message}");
    let mut values = Vec::new();
    for key in ["a", "b", "c"] {
        values.push(world.value(key).await.unwrap());
    }
    assert_eq!(values, ["2", "1", "2"]);
    // A list that cannot be read as a whole changes nothing.
    for broken in [
        json!([{"key": "a", "value": 3}, {"key": "a||b", "value": 3}]),
        json!([{"key": "a", "value": 3}, {"value": 3}]),
        json!([{"key": "a", "value": 3}, {"key": "b", "metadata": {"ttlInSeconds": "x"}}]),
    ] {
        let answer = world.post("s", broken.to_string()).await;
        assert_eq!(failure(&answer).1, "ERR_MALFORMED_REQUEST");
        assert_eq!(world.value("a").await.unwrap(), "2");
    }
}
