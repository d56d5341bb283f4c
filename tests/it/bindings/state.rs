//! Answers to events that have state to save.

use dapr::dapr::proto::common::v1::StateItem;
use dapr::dapr::proto::runtime::v1::BindingEventResponse;
use http::Response;
use http_body_util::Full;
use sidegate::testing::eventually::eventually;
use sidegate::testing::fake_app::FakeApp;

use super::grpc_app::GrpcApp;
use super::*;

async fn is_saved(sidecar: &Running, key: &str, value: &str) {
    eventually(&format!("{key} is saved"), async || {
        let request = Request::get(format!("/v1.0/state/store/{key}"));
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let answer = send(sidecar.http, request).await;
        (answer.status() == 200).then(|| assert_eq!(answer.body(), value))
    })
    .await;
}

#[tokio::test]
async fn state_of_an_answer_is_saved() {
    let resources = Resources::new();
    resources
        .cron("clock", &[])
        .component("store", "state.in-memory", &[]);
    let app = FakeApp::answering(|request| {
        let body = match request.method.as_str() {
            "POST" => r#"{"storeName": "store", "state": [{"key": "k", "value": {"n": 1.0}}]}"#,
            _ => "",
        };
        Response::new(Full::from(body))
    })
    .await;
    let sidecar = resources.start(app.address(), &[], &[]).await;
    is_saved(&sidecar, "k", r#"{"n": 1.0}"#).await;

    let answer = BindingEventResponse {
        store_name: "store".to_owned(),
        states: vec![StateItem {
            key: "g".to_owned(),
            value: b"bytes".to_vec(),
            ..StateItem::default()
        }],
        ..BindingEventResponse::default()
    };
    let app = GrpcApp::wanting(&["clock"], 0, answer).await;
    let flags = ["--app-protocol=grpc"];
    let sidecar = resources.start(app.address, &flags, &[]).await;
    is_saved(&sidecar, "g", "bytes").await;
}

#[tokio::test]
async fn an_event_whose_state_is_not_saved_is_not_dealt_with() {
    let resources = Resources::new();
    resources
        .cron("unlucky", &[])
        .component("store", "state.in-memory", &[]);
    let app = FakeApp::answering(|request| {
        let body = match request.method.as_str() {
            "POST" => r#"{"storeName": "store", "state": [{"key": "a||b", "value": 1}]}"#,
            _ => "",
        };
        Response::new(Full::from(body))
    })
    .await;
    let sidecar = resources.start(app.address(), &[], &[]).await;
    let name = "dapr_component_input_binding_count";
    let failed = "component=\"unlucky\",namespace=\"\",success=\"false\"";
    eventually("a failed event", async || {
        let lines = sidecar.metrics(name).await;
        lines.iter().any(|line| line.contains(failed)).then_some(())
    })
    .await;
}
