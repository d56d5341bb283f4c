//! What goes wrong over HTTP, with its status, its code and its details.

use serde_json::json;

use super::*;

#[tokio::test]
async fn a_store_that_is_not_there_comes_before_everything_else() {
    let world = World::start().await;
    for (method, path) in [
        ("GET", "x/k"),
        ("DELETE", "x/k"),
        ("POST", "x"),
        ("POST", "x/bulk"),
        ("PUT", "x/transaction"),
    ] {
        let answer = world.call(method, path, &[], "rubbish").await;
        assert_eq!(answer.status(), 400, "{method} {path}");
        let body: Value = serde_json::from_slice(answer.body()).unwrap();
        let expected = json!({
            "errorCode": "ERR_STATE_STORE_NOT_FOUND",
            "message": "state store x is not found",
            "details": [{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "domain": "dapr.io",
                "reason": "DAPR_STATE_NOT_FOUND",
                "metadata": {"appID": "app"},
            }],
        });
        assert_eq!(body, expected);
    }
    let sidecar = Running::start(&[], &[]).await;
    let request = Request::get("/v1.0/state/s/k").body(Full::default());
    let answer = send(sidecar.http(), request.unwrap()).await;
    let (status, code, message) = failure(&answer);
    assert_eq!((status, &*code), (500, "ERR_STATE_STORE_NOT_CONFIGURED"));
    assert_eq!(message, "state store s is not configured");
    let body: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(body["details"][0]["reason"], "DAPR_STATE_NOT_CONFIGURED");
}

#[tokio::test]
async fn bodies_that_are_no_list_of_values_are_refused() {
    let world = World::start().await;
    for body in [
        "",
        "{}",
        "foobar",
        "[{}]",
        r#"[{"key": "k", "value": 1},]"#,
        r#"[{"key": "k", "value": 1, "etag": 123}]"#,
        r#"[{"ey": "k", "value": 1}]"#,
        r#"[{"key": "k", "value": 1, "options": {"concurrency": "some"}}]"#,
        "[{\"key\": \"\\ud800\", \"value\": 1}]",
    ] {
        let answer = world.post("s", body).await;
        let (status, code, _) = failure(&answer);
        assert_eq!((status, &*code), (400, "ERR_MALFORMED_REQUEST"), "{body}");
    }
    for body in ["", "[]", r#"{"keys": [1]}"#, r#"{"keys": ["a", ""]}"#] {
        let answer = world.post("s/bulk", body).await;
        assert_eq!(failure(&answer).1, "ERR_MALFORMED_REQUEST", "{body}");
    }
    for path in ["s/k?consistency=some", "s/k?concurrency=some"] {
        let answer = world.call("DELETE", path, &[], "").await;
        assert_eq!(failure(&answer).1, "ERR_MALFORMED_REQUEST", "{path}");
    }
    let answer = world.get("s/k?consistency=some").await;
    assert_eq!(failure(&answer).1, "ERR_MALFORMED_REQUEST");
    let answer = world.get("s/k?consistency=strong").await;
    assert_eq!(answer.status(), 204);
    assert_eq!(world.get("s/%ff").await.status(), 400);
}

#[tokio::test]
async fn a_key_with_the_separator_is_named() {
    let world = World::start().await;
    let message = "input key/keyPrefix 'ke||y1' can't contain '||'";
    let expected = json!({
        "errorCode": "ERR_MALFORMED_REQUEST",
        "message": message,
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "domain": "dapr.io",
                "reason": "DAPR_STATE_ILLEGAL_KEY",
                "metadata": null,
            },
            {
                "@type": "type.googleapis.com/google.rpc.ResourceInfo",
                "resource_type": "state",
                "resource_name": "s",
                "owner": "",
                "description": "",
            },
            {
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "field_violations": [{"field": "ke||y1", "description": message}],
            },
        ],
    });
    let list = r#"[{"key": "ke||y1", "value": 1}]"#;
    for (method, path, body) in [
        ("POST", "s", list),
        ("GET", "s/ke%7C%7Cy1", ""),
        ("DELETE", "s/ke%7C%7Cy1", ""),
        ("POST", "s/bulk", r#"{"keys": ["ke||y1"]}"#),
    ] {
        let answer = world.call(method, path, &[], body).await;
        assert_eq!(answer.status(), 400);
        let body: Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(body, expected, "{method} {path}");
    }
}

#[tokio::test]
async fn an_etag_has_to_be_that_of_the_value() {
    let world = World::start().await;
    world.save("k", "1").await;
    let old = world.etag("k").await;
    world.save("k", "2").await;
    let save = |etag: &str| {
        let body = json!([{"key": "k", "value": 3, "etag": etag}]);
        world.post("s", body.to_string())
    };
    let (status, code, message) = failure(&save(&old).await);
    assert_eq!((status, &*code), (409, "ERR_STATE_SAVE"));
    let begin = "failed saving state in state store s: possible etag mismatch. error from state \
                 store: ";
    assert!(message.starts_with(begin), "{message}");
    let (status, code, message) = failure(&save("none").await);
    assert_eq!((status, &*code), (400, "ERR_STATE_SAVE"));
    assert!(message.contains("invalid etag value"), "{message}");
    let etag = world.etag("k").await;
    assert_eq!(save(&etag).await.status(), 204);

    let delete = async |etag: &str| {
        let headers = [("if-match", etag)];
        world.call("DELETE", "s/k", &headers, "").await
    };
    let (status, code, message) = failure(&delete(&old).await);
    assert_eq!((status, &*code), (409, "ERR_STATE_DELETE"));
    let begin = "failed deleting state with key k: possible etag mismatch.";
    assert!(message.starts_with(begin), "{message}");
    for invalid in ["none", "*", "W/\"1\"", "\"1\", \"2\""] {
        let (status, code, _) = failure(&delete(invalid).await);
        assert_eq!((status, &*code), (400, "ERR_STATE_DELETE"), "{invalid}");
    }
    let quoted = format!("\"{}\"", world.etag("k").await);
    assert_eq!(delete(&quoted).await.status(), 204);
    assert_eq!(world.value("k").await, None);
    // A value that is gone has no ETag any more.
    assert_eq!(failure(&delete(&etag).await).0, 409);
    assert_eq!(failure(&save(&etag).await).0, 409);
}

#[tokio::test]
async fn the_first_write_finds_no_value() {
    let world = World::start().await;
    let body = r#"[{"key": "k", "value": 1, "options": {"concurrency": "first-write"}}]"#;
    assert_eq!(world.post("s", body).await.status(), 204);
    assert_eq!(failure(&world.post("s", body).await).0, 409);
    // Without an ETag, whatever is there is deleted.
    let answer = world
        .call("DELETE", "s/k?concurrency=first-write", &[], "")
        .await;
    assert_eq!(answer.status(), 204);
    assert_eq!(world.post("s", body).await.status(), 204);
}

#[tokio::test]
async fn nothing_can_be_queried() {
    let world = World::start().await;
    let request = Request::post("/v1.0-alpha1/state/s/query").body(Full::from("{}"));
    let answer = send(world.sidecar.http(), request.unwrap()).await;
    let (status, code, message) = failure(&answer);
    assert_eq!((status, &*code), (500, "ERR_STATE_STORE_NOT_SUPPORTED"));
    assert_eq!(message, "state store does not support querying");
    let body: Value = serde_json::from_slice(answer.body()).unwrap();
    let details = &body["details"];
    assert_eq!(details[0]["reason"], "DAPR_STATE_QUERYING_NOT_SUPPORTED");
    assert_eq!(details[1]["resource_name"], "s");
}
