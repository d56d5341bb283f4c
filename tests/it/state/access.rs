//! Who may call the API of state, and what is told of it elsewhere.

use dapr::dapr::proto::runtime::v1::GetStateRequest;
use sidegate::testing::eventually::eventually;
use tonic::Code;

use super::*;

fn get_request() -> GetStateRequest {
    GetStateRequest {
        store_name: "s".to_owned(),
        key: "k".to_owned(),
        ..GetStateRequest::default()
    }
}

#[tokio::test]
async fn state_needs_the_token() {
    let world = World::start_with(&[], &[("DAPR_API_TOKEN", "t0ken")]).await;
    let list = r#"[{"key": "k", "value": 1}]"#;
    let token = [("dapr-api-token", "t0ken")];
    for (method, path, body) in [
        ("POST", "s", list),
        ("GET", "s/k", ""),
        ("POST", "s/bulk", "{}"),
        ("POST", "s/transaction", "{}"),
        ("DELETE", "s/k", ""),
    ] {
        for wrong in [&[][..], &[("dapr-api-token", "guess")]] {
            let answer = world.call(method, path, wrong, body).await;
            assert_eq!(answer.status(), 401, "{method} {path}");
            assert_eq!(text(&answer), "invalid api token\n");
        }
        let answer = world.call(method, path, &token, body).await;
        assert!(answer.status().is_success(), "{method} {path} {answer:?}");
    }
    let answer = world.client().await.get_state(get_request()).await;
    assert_eq!(answer.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn state_can_be_denied_for_each_protocol_and_version() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yaml");
    let denying = |protocol: &str, version: &str| {
        let text = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {{name: c}}\nspec:\n  \
             api:\n    denied:\n    - {{name: state, version: {version}, protocol: {protocol}}}\n"
        );
        std::fs::write(&config, text).unwrap();
        format!("--config={}", config.display())
    };
    let statuses = async |flag: &str| {
        let world = World::start_with(&[flag], &[]).await;
        let http = world.get("s/k").await.status().as_u16();
        let request = Request::post("/v1.0-alpha1/state/s/query").body(Full::from("{}"));
        let query = send(world.sidecar.http(), request.unwrap()).await;
        let grpc = world.client().await.get_state(get_request()).await;
        let grpc = grpc.map_or_else(|status| status.code(), |_| Code::Ok);
        (http, query.status().as_u16(), grpc)
    };
    let found = statuses(&denying("http", "v1")).await;
    assert_eq!(found, (404, 500, Code::Ok));
    let found = statuses(&denying("http", "v1.0-alpha1")).await;
    assert_eq!(found, (204, 404, Code::Ok));
    let found = statuses(&denying("grpc", "v1")).await;
    assert_eq!(found, (204, 500, Code::Unimplemented));
}

#[tokio::test]
async fn stores_are_in_the_metadata_and_their_calls_in_the_metrics() {
    let world = World::start().await;
    let request = Request::get("/v1.0/metadata").body(Full::default());
    let answer = send(world.sidecar.http(), request.unwrap()).await;
    let body: Value = serde_json::from_slice(answer.body()).unwrap();
    let components = body["components"].as_array().unwrap();
    let own = components.iter().find(|one| one["name"] == "s").unwrap();
    assert_eq!(own["type"], "state.in-memory");
    let capabilities = serde_json::json!(["ETAG", "TRANSACTIONAL", "TTL"]);
    assert_eq!(own["capabilities"], capabilities);

    world.save("metered", "1").await;
    world.get("s/metered").await;
    world.post("s/bulk", r#"{"keys": ["a"]}"#).await;
    world
        .post("s", r#"[{"key": "metered", "value": 1, "etag": "1"}]"#)
        .await;
    let request = || Request::get("/metrics").body(Full::default()).unwrap();
    for (operation, success) in [
        ("set", "true"),
        ("set", "false"),
        ("get", "true"),
        ("bulk_get", "true"),
    ] {
        let labels = format!(
            "component=\"s\",namespace=\"\",operation=\"{operation}\",success=\"{success}\"}}"
        );
        eventually(&labels, async || {
            let page = text(&send(world.sidecar.metrics(), request()).await);
            let is_it = |line: &&str| {
                line.starts_with("dapr_component_state_count{") && line.contains(&labels)
            };
            page.lines().any(|line| is_it(&line)).then_some(())
        })
        .await;
    }
}
