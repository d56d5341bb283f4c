//! Operations of output bindings over both APIs.

use dapr::dapr::proto::runtime::v1::InvokeBindingRequest;
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use sidegate::testing::certificates::Authority;
use sidegate::testing::eventually::eventually;
use sidegate::testing::fake_app::FakeApp;
use tonic::Code;

use super::grpc_app::GrpcApp;
use super::*;

/// A service that answers what the path says.
async fn service() -> FakeApp {
    FakeApp::answering(|request| {
        let (status, body) = match request.uri.path() {
            "/missing" => (404, "nothing"),
            "/empty" => (204, ""),
            _ => (200, "said"),
        };
        let response = Response::builder().status(status).header("x-told", "yes");
        response.body(Full::from(body)).unwrap()
    })
    .await
}

/// The binding `web` to a service.
fn web(service: &FakeApp) -> Resources {
    let resources = Resources::new();
    let roots = Authority::new().certificate();
    std::fs::write(resources.path("roots.pem"), roots).unwrap();
    let url = format!("http://{}/", service.address());
    let roots = resources.path("roots.pem");
    let settings = [
        ("url", url.as_str()),
        ("MTLSRootCA", roots.to_str().unwrap()),
    ];
    resources.component("web", "bindings.http", &settings);
    resources
}

#[tokio::test]
async fn an_operation_is_done_and_its_answer_told() {
    let (app, service) = (FakeApp::start().await, service().await);
    let sidecar = web(&service).start(app.address(), &[], &[]).await;
    for (data, sent) in [
        (
            r#", "data": {"n": 1.0, "big": 12345678901234567890}"#,
            r#"{"n": 1.0, "big": 12345678901234567890}"#,
        ),
        (r#", "data": "text""#, r#""text""#),
        (r#", "data": [1, "<&>"]"#, r#"[1, "<&>"]"#),
        (r#", "data": null"#, ""),
        ("", ""),
    ] {
        let body = format!(r#"{{"operation": "create"{data}, "metadata": {{"X-A": "b"}}}}"#);
        let answer = sidecar.post("/v1.0/bindings/web", &body).await;
        assert_eq!(
            (answer.status().as_u16(), &**answer.body()),
            (200, &b"said"[..])
        );
        assert_eq!(answer.headers()["metadata.statuscode"], "200");
        assert_eq!(answer.headers()["metadata.x-told"], "yes");
        let asked = service.recorded().pop().unwrap();
        assert_eq!(
            (asked.method.as_str(), &*asked.body),
            ("POST", sent.as_bytes())
        );
        assert_eq!(asked.header("x-a"), ["b"]);
    }
    let body = r#"{"operation": "get", "metadata": {"path": "empty"}}"#;
    let request = Request::put("/v1.0/bindings/web")
        .body(Full::from(body))
        .unwrap();
    let answer = send(sidecar.http, request).await;
    assert_eq!(
        (answer.status(), answer.body().len()),
        (http::StatusCode::NO_CONTENT, 0)
    );
    assert_eq!(answer.headers()["metadata.status"], "204 No Content");
    let counted = sidecar.metrics("dapr_component_output_binding_count").await;
    let is_counted = |line: &String| {
        line.contains(r#"component="web""#) && line.contains(r#"operation="create""#)
    };
    assert!(counted.iter().any(is_counted), "{counted:?}");
}

#[tokio::test]
async fn failures_are_those_of_dapr() {
    let (app, service) = (FakeApp::start().await, service().await);
    let resources = web(&service);
    resources.cron("tick", &[]);
    let sidecar = resources.start(app.address(), &[], &[]).await;
    let unsupported = "binding web does not support operation fly. supported operations:create get \
                       head post put patch delete options";
    for (binding, body, why) in [
        (
            "none",
            r#"{"operation": "create"}"#,
            "couldn't find output binding none",
        ),
        (
            "tick",
            r#"{"operation": "create"}"#,
            "couldn't find output binding tick",
        ),
        (
            "web",
            r#"{"data": 1}"#,
            "operation field is missing from request",
        ),
        ("web", r#"{"operation": "fly"}"#, unsupported),
        (
            "web",
            r#"{"operation": "get", "metadata": {"path": "missing"}}"#,
            "received status code 404",
        ),
    ] {
        let answer = sidecar
            .post(&format!("/v1.0/bindings/{binding}"), body)
            .await;
        assert_eq!(answer.status().as_u16(), 500, "{body}");
        let said: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(said["errorCode"], "ERR_INVOKE_OUTPUT_BINDING", "{body}");
        let expected = format!("error invoking output binding {binding}: {why}");
        assert_eq!(said["message"], expected, "{body}");
        let told = answer.headers().get("metadata.statuscode");
        assert_eq!(told.is_some(), body.contains("missing"), "{body}");
    }
    let answer = sidecar.post("/v1.0/bindings/web", "").await;
    assert_eq!(answer.status().as_u16(), 400);
    let said: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(said["errorCode"], "ERR_MALFORMED_REQUEST");
    assert_eq!(said["message"], "failed deserializing HTTP body: EOF");
    for body in [
        "{",
        "[]",
        r#"{"operation": 1}"#,
        r#"{"metadata": {"k": 1}}"#,
    ] {
        let answer = sidecar.post("/v1.0/bindings/web", body).await;
        assert_eq!(answer.status().as_u16(), 400, "{body}");
    }
}

#[tokio::test]
async fn over_grpc_it_is_the_same() {
    let (app, service) = (FakeApp::start().await, service().await);
    let sidecar = web(&service).start(app.address(), &[], &[]).await;
    let mut client = DaprClient::connect(format!("http://{}", sidecar.grpc))
        .await
        .unwrap();
    let call = |name: &str, operation: &str, path: &str| InvokeBindingRequest {
        name: name.to_owned(),
        operation: operation.to_owned(),
        data: b"as it is".to_vec(),
        metadata: [("path".to_owned(), path.to_owned())].into(),
    };
    let mut request = tonic::Request::new(call("web", "post", "x"));
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request
        .metadata_mut()
        .insert("traceparent", parent.parse().unwrap());
    request
        .metadata_mut()
        .insert("x-other", "stays".parse().unwrap());
    let answer = client.invoke_binding(request).await.unwrap().into_inner();
    assert_eq!(answer.data, b"said");
    assert_eq!(answer.metadata["statusCode"], "200");
    assert_eq!(answer.metadata["X-Told"], "yes");
    let asked = service.recorded().pop().unwrap();
    assert_eq!(asked.body, "as it is");
    assert_eq!(asked.header("traceparent"), [parent]);
    assert_eq!(asked.header("x-other"), [""; 0]);
    let empty = client
        .invoke_binding(call("web", "get", "empty"))
        .await
        .unwrap();
    assert!(empty.into_inner().data.is_empty());
    for (name, operation, path, message) in [
        (
            "none",
            "get",
            "",
            "error invoking output binding none: couldn't find output binding none",
        ),
        (
            "web",
            "",
            "",
            "error invoking output binding web: operation field is missing from request",
        ),
        (
            "web",
            "get",
            "missing",
            "error invoking output binding web: received status code 404",
        ),
    ] {
        let status = client
            .invoke_binding(call(name, operation, path))
            .await
            .unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Internal, message));
        let told = status.metadata().get("metadata.statuscode");
        assert_eq!(told.is_some(), path == "missing");
    }
}

#[tokio::test]
async fn the_trace_of_a_caller_goes_along_and_nothing_else_of_its_headers() {
    let (app, service) = (FakeApp::start().await, service().await);
    let sidecar = web(&service).start(app.address(), &[], &[]).await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = Request::post("/v1.0/bindings/web")
        .header("traceparent", parent)
        .header("tracestate", "a=b")
        .header("x-other", "stays")
        .body(Full::from(r#"{"operation": "get"}"#));
    send(sidecar.http, request.unwrap()).await;
    let asked = service.recorded().pop().unwrap();
    assert_eq!(asked.header("traceparent"), [parent]);
    assert_eq!(asked.header("tracestate"), ["a=b"]);
    assert_eq!(asked.header("x-other"), [""; 0]);
    // Without a trace there is none: neither here nor there.
    sidecar
        .post("/v1.0/bindings/web", r#"{"operation": "get"}"#)
        .await;
    let asked = service.recorded().pop().unwrap();
    assert_eq!(asked.header("traceparent"), [""; 0]);
}

#[tokio::test]
async fn an_outbound_policy_tries_again_what_may_heal() {
    let app = FakeApp::start().await;
    let service = FakeApp::answering(|request| {
        let status = if request.uri.path() == "/busy" {
            503
        } else {
            400
        };
        Response::builder()
            .status(status)
            .body(Full::default())
            .unwrap()
    })
    .await;
    let resources = web(&service);
    resources.retry_twice("web", "outbound");
    let sidecar = resources.start(app.address(), &[], &[]).await;
    for (path, tries) in [("busy", 3), ("wrong", 1)] {
        let before = service.recorded().len();
        let body = format!(r#"{{"operation": "get", "metadata": {{"path": "{path}"}}}}"#);
        let answer = sidecar.post("/v1.0/bindings/web", &body).await;
        assert_eq!(answer.status().as_u16(), 500);
        assert_eq!(service.recorded().len() - before, tries, "{path}");
    }
}

#[tokio::test]
async fn a_configuration_can_deny_bindings() {
    let (app, service) = (FakeApp::start().await, service().await);
    let resources = web(&service);
    let configuration = tempfile::tempdir().unwrap();
    let file = configuration.path().join("c.yaml");
    let text = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata:\n  name: c\nspec:\n  \
                api:\n    denied:\n    - {name: bindings, version: v1, protocol: http}\n    \
                - {name: bindings, version: v1, protocol: grpc}\n";
    std::fs::write(&file, text).unwrap();
    let flag = format!("--config={}", file.display());
    let sidecar = resources.start(app.address(), &[&flag], &[]).await;
    let answer = sidecar
        .post("/v1.0/bindings/web", r#"{"operation": "get"}"#)
        .await;
    assert_eq!(answer.status().as_u16(), 404);
    let mut client = DaprClient::connect(format!("http://{}", sidecar.grpc))
        .await
        .unwrap();
    let status = client
        .invoke_binding(InvokeBindingRequest::default())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(service.recorded().is_empty());
}

#[tokio::test]
async fn answers_of_apps_over_both_protocols_go_to_output_bindings() {
    let service = service().await;
    let over_http = FakeApp::answering(|request| {
        let body = if request.method == "POST" {
            r#"{"to": ["web"], "data": {"from": "http"}}"#
        } else {
            ""
        };
        Response::new(Full::from(body))
    })
    .await;
    let answer = dapr::dapr::proto::runtime::v1::BindingEventResponse {
        to: vec!["web".to_owned()],
        data: b"{\"from\": \"grpc\"}".to_vec(),
        ..Default::default()
    };
    let over_grpc = GrpcApp::wanting(&["tick"], 0, answer).await;
    for (address, protocol) in [(over_http.address(), "http"), (over_grpc.address, "grpc")] {
        let resources = web(&service);
        resources.cron("tick", &[]);
        let flag = format!("--app-protocol={protocol}");
        let _sidecar = resources.start(address, &[&flag], &[]).await;
        let expected = format!(r#"{{"from": "{protocol}"}}"#);
        eventually(&expected, async || {
            let recorded = service.recorded();
            recorded
                .iter()
                .any(|one| *one.body == *expected.as_bytes())
                .then_some(())
        })
        .await;
    }
}
