//! One value over HTTP: its life, its bytes, its key.

use sidegate::testing::eventually::eventually;

use super::*;

#[tokio::test]
async fn a_value_is_saved_read_and_deleted() {
    let world = World::start().await;
    assert_eq!(world.value("k").await, None);
    world.save("k", r#"{"n": 1}"#).await;
    let answer = world.get("s/k").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/json");
    let etag = answer.headers()["etag"].to_str().unwrap();
    assert!(etag.bytes().all(|byte| byte.is_ascii_digit()), "{etag}");
    assert_eq!(text(&answer), r#"{"n": 1}"#);
    // Another store has keys of its own.
    assert_eq!(world.get("t/k").await.status(), 204);
    let answer = world.call("PUT", "s", &[], r#"[{"key": "k", "value": 2}]"#);
    assert_eq!(answer.await.status(), 204);
    assert_eq!(world.value("k").await.unwrap(), "2");
    for _ in 0..2 {
        let answer = world.call("DELETE", "s/k", &[], "").await;
        assert_eq!((answer.status().as_u16(), answer.body().len()), (204, 0));
        assert_eq!(world.value("k").await, None);
    }
}

#[tokio::test]
async fn json_is_kept_byte_for_byte() {
    let world = World::start().await;
    for json in [
        "null",
        "true",
        "1.0",
        "123456789012345678901234567890",
        r#""te\u0078t <&>""#,
        r#"{ "b":1,  "a" : [ ] }"#,
        "\"\u{1F980}\"",
    ] {
        world.save("k", json).await;
        assert_eq!(world.value("k").await.unwrap(), json);
    }
    // What has no value is null, as in Dapr.
    let answer = world.post("s", r#"[{"key": "k", "vae": 1}]"#).await;
    assert_eq!(answer.status(), 204);
    assert_eq!(world.value("k").await.unwrap(), "null");
}

#[tokio::test]
async fn a_key_is_any_text() {
    let world = World::start().await;
    let long = "k".repeat(3000);
    for (key, in_path) in [
        ("a b", "a%20b"),
        ("a/b", "a%2Fb"),
        ("a%2Fb", "a%252Fb"),
        ("a+b", "a+b"),
        ("a|b", "a%7Cb"),
        ("..", "%2e%2e"),
        ("\u{e9}\u{1F980}", "%C3%A9%F0%9F%A6%80"),
        ("bulk", "bulk"),
        ("transaction", "transaction"),
        ("a?b#c", "a%3Fb%23c"),
        ("app", "app"),
        (&long, &long),
    ] {
        world.save(key, &format!("{key:?}")).await;
        let value = world.value(in_path).await;
        assert_eq!(value.unwrap(), format!("{key:?}"));
        let deleted = world.call("DELETE", &format!("s/{in_path}"), &[], "").await;
        assert_eq!(deleted.status(), 204, "{key}");
        assert_eq!(world.value(in_path).await, None, "{key}");
    }
}

#[tokio::test]
async fn a_value_ends_by_itself() {
    let world = World::start().await;
    let body = r#"[{"key": "k", "value": 1, "metadata": {"ttlInSeconds": "1000"}}]"#;
    assert_eq!(world.post("s", body).await.status(), 204);
    let ends = |answer: &Response<Bytes>| {
        let header = answer.headers().get("metadata.ttlExpireTime")?;
        Some(header.to_str().unwrap().to_owned())
    };
    let first = ends(&world.get("s/k").await).unwrap();
    assert!(first.ends_with('Z'), "{first}");
    // The query goes before what is said of the value.
    let answer = world.post("s?metadata.ttlInSeconds=100000", body).await;
    assert_eq!(answer.status(), 204);
    let second = ends(&world.get("s/k").await).unwrap();
    assert!(second > first, "{first} {second}");
    for forever in ["0", "-1"] {
        let path = format!("s?metadata.ttlInSeconds={forever}");
        assert_eq!(world.post(&path, body).await.status(), 204);
        assert_eq!(ends(&world.get("s/k").await), None);
    }
    let answer = world.post("s?metadata.ttlInSeconds=1", body).await;
    assert_eq!(answer.status(), 204);
    eventually("the value ends", async || {
        world.value("k").await.is_none().then_some(())
    })
    .await;
    let answer = world.post("s?metadata.ttlInSeconds=soon", body).await;
    let (status, code, message) = failure(&answer);
    assert_eq!((status, &*code), (400, "ERR_MALFORMED_REQUEST"));
    let begin = "incorrect value for metadata 'ttlInSeconds': \"soon\"";
    assert!(message.starts_with(begin), "{message}");
}

#[tokio::test]
async fn a_value_is_at_most_as_large_as_a_body() {
    let limit = 128 * 1024;
    let world = World::start_with(&["--max-body-size=128Ki"], &[]).await;
    let body = |size: usize| {
        let around = r#"[{"key":"k","value":""}]"#.len();
        format!(r#"[{{"key":"k","value":"{}"}}]"#, "x".repeat(size - around))
    };
    assert_eq!(world.post("s", body(limit)).await.status(), 204);
    let kept = world.value("k").await.unwrap();
    assert_eq!(kept.len(), limit - r#"[{"key":"k","value":}]"#.len());
    let answer = world.post("s", body(limit + 1)).await;
    assert_eq!(failure(&answer).0, 413);
    assert_eq!(world.value("k").await.unwrap(), kept);
}
