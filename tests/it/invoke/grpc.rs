//! Callers over gRPC, and apps that speak gRPC.

use dapr::dapr::proto::common::v1::http_extension::Verb;
use dapr::dapr::proto::common::v1::{HttpExtension, InvokeRequest, InvokeResponse};
use dapr::google::rpc;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use prost::Message as _;
use prost_types::Any;
use sidegate::app_channel::AppProtocol;
use sidegate::testing::fake_app::FakeApp;
use sidegate::testing::fake_grpc_app::FakeGrpcApp;
use sidegate::testing::http_client::send;
use tonic::{Code, Status};

use super::{Sidecar, message};
use crate::app_channel::config;

#[tokio::test]
async fn the_method_of_a_grpc_message_is_not_decoded() {
    let app = FakeApp::start().await;
    let sidecar = Sidecar::of(config(AppProtocol::Http, app.address())).await;
    for (method, delivered) in [
        ("/a/../b", "/b"),
        ("admin%2F..%2Fpublic", "/admin%252F..%252Fpublic"),
        ("../x y", "/x%20y"),
    ] {
        let request = message("app", method, Verb::Post);
        sidecar.invoke_service(request).await.unwrap();
        assert_eq!(
            app.recorded().pop().unwrap().uri.path(),
            delivered,
            "{method}"
        );
    }
    let refused = message("app", "a?b", Verb::Post);
    let status = sidecar.invoke_service(refused).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_grpc_caller_gets_the_message_and_headers_of_an_http_app() {
    let app = FakeApp::answering(|_| {
        let answer = Response::builder()
            .status(202)
            .header("content-type", "text/y")
            .header("x-own", "1");
        answer.body(Full::from("pong")).unwrap()
    })
    .await;
    let sidecar = Sidecar::of(config(AppProtocol::Http, app.address())).await;
    let mut call = message("app", "m/n", Verb::Put);
    let extension = call
        .message
        .as_mut()
        .unwrap()
        .http_extension
        .as_mut()
        .unwrap();
    extension.querystring = "a=b c".to_owned();
    let mut request = tonic::Request::new(call);
    request
        .metadata_mut()
        .insert("x-meta", "1".parse().unwrap());
    let answer = sidecar.invoke_service(request).await.unwrap();
    assert_eq!(answer.metadata().get("dapr-http-status").unwrap(), "202");
    assert_eq!(
        answer.metadata().get("dapr-content-type").unwrap(),
        "text/y"
    );
    assert_eq!(answer.metadata().get("x-own").unwrap(), "1");
    let answer = answer.into_inner();
    assert_eq!(
        (
            answer.content_type.as_str(),
            &answer.data.unwrap().value[..]
        ),
        ("text/y", &b"pong"[..])
    );

    let seen = app.recorded().pop().unwrap();
    assert_eq!(
        (seen.method.as_str(), seen.uri.to_string()),
        ("PUT", "/m/n?a=b%20c".to_owned())
    );
    assert_eq!(seen.header("content-type"), ["text/x"]);
    assert_eq!(seen.header("x-meta"), ["1"]);
    assert_eq!(seen.body, "ping");
}

#[tokio::test]
async fn a_grpc_caller_gets_a_status_where_an_http_app_answers_no_2xx() {
    for (http, code, reason) in [
        (302, Code::Unknown, "Found"),
        (400, Code::Internal, "Bad Request"),
        (401, Code::Unauthenticated, "Unauthorized"),
        (403, Code::PermissionDenied, "Forbidden"),
        (404, Code::NotFound, "Not Found"),
        (408, Code::Cancelled, "Request Timeout"),
        (409, Code::AlreadyExists, "Conflict"),
        (418, Code::Unknown, "I'm a teapot"),
        (429, Code::ResourceExhausted, "Too Many Requests"),
        (500, Code::Unknown, "Internal Server Error"),
        (501, Code::Unimplemented, "Not Implemented"),
        (503, Code::Unavailable, "Service Unavailable"),
        (504, Code::DeadlineExceeded, "Gateway Timeout"),
    ] {
        let app = FakeApp::answering(move |_| {
            let answer = Response::builder().status(http);
            answer.body(Full::from("x".repeat(100))).unwrap()
        })
        .await;
        let sidecar = Sidecar::of(config(AppProtocol::Http, app.address())).await;
        let status = sidecar
            .invoke_service(message("app", "x", Verb::Get))
            .await
            .unwrap_err();
        assert_eq!((status.code(), status.message()), (code, reason), "{http}");
        assert_eq!(
            status.metadata().get("dapr-http-status").unwrap(),
            http.to_string().as_str()
        );
        let details = rpc::Status::decode(status.details()).unwrap().details;
        let info = String::from_utf8_lossy(&details[0].value).into_owned();
        assert!(info.contains(&http.to_string()), "{info:?}");
        assert!(
            info.contains(&"x".repeat(63)) && !info.contains(&"x".repeat(64)),
            "{info:?}"
        );
    }
}

#[tokio::test]
async fn an_http_caller_reaches_a_grpc_app_with_verb_query_and_metadata() {
    let app = FakeGrpcApp::answering(|_| {
        let mut answer = tonic::Response::new(InvokeResponse {
            data: Some(Any {
                type_url: String::new(),
                value: b"pong".to_vec(),
            }),
            content_type: "text/y".to_owned(),
        });
        answer.metadata_mut().insert("x-own", "1".parse().unwrap());
        Ok(answer)
    })
    .await;
    let sidecar = Sidecar::of(config(AppProtocol::Grpc, app.address())).await;
    let request = Request::patch("/v1.0/invoke/app/method/m/n?q=%20")
        .header("content-type", "text/x")
        .header("accept", "text/y")
        .header("x-meta", "1")
        .header("dapr-caller-app-id", "spoof")
        .body(Full::from("ping"))
        .unwrap();
    let answer = send(sidecar.http, request).await;
    assert_eq!(
        (answer.status(), &answer.body()[..]),
        (StatusCode::OK, &b"pong"[..])
    );
    assert_eq!(answer.headers()["content-type"], "text/y");
    assert_eq!(answer.headers()["x-own"], "1");
    assert!(
        !answer.headers().contains_key("grpc-status"),
        "{:?}",
        answer.headers()
    );

    let seen = app.recorded().pop().unwrap();
    assert_eq!(seen.values("x-meta"), ["1"]);
    assert_eq!(seen.values("dapr-accept"), ["text/y"]);
    assert_eq!(seen.values("dapr-content-type"), ["text/x"]);
    assert_eq!(seen.values("dapr-caller-app-id"), ["app"]);
    let expected = InvokeRequest {
        method: "m/n".to_owned(),
        data: Some(Any {
            type_url: String::new(),
            value: b"ping".to_vec(),
        }),
        content_type: "text/x".to_owned(),
        http_extension: Some(HttpExtension {
            verb: Verb::Patch.into(),
            querystring: "q=%20".to_owned(),
        }),
    };
    assert_eq!(seen.message.unwrap(), expected);
}

#[tokio::test]
async fn a_failure_of_a_grpc_app_is_mapped_for_http_and_passed_through_for_grpc() {
    for (code, http) in [
        (Code::Cancelled, 408),
        (Code::Unknown, 500),
        (Code::InvalidArgument, 400),
        (Code::DeadlineExceeded, 504),
        (Code::NotFound, 404),
        (Code::AlreadyExists, 409),
        (Code::PermissionDenied, 403),
        (Code::ResourceExhausted, 429),
        (Code::FailedPrecondition, 400),
        (Code::Aborted, 409),
        (Code::OutOfRange, 400),
        (Code::Unimplemented, 501),
        (Code::Internal, 500),
        (Code::Unavailable, 503),
        (Code::DataLoss, 500),
        (Code::Unauthenticated, 401),
    ] {
        let app = FakeGrpcApp::answering(move |_| {
            let mut status = Status::new(code, "why");
            status.metadata_mut().insert("x-own", "1".parse().unwrap());
            Err(status)
        })
        .await;
        let sidecar = Sidecar::of(config(AppProtocol::Grpc, app.address())).await;
        let answer = sidecar.get("/v1.0/invoke/app/method/x").await;
        assert_eq!(answer.status(), http, "{code:?}");
        let body = serde_json::json!({"code": code as i32, "message": "why"});
        assert_eq!(answer.body(), &body.to_string());
        let status = sidecar
            .invoke_service(message("app", "x", Verb::Get))
            .await
            .unwrap_err();
        assert_eq!((status.code(), status.message()), (code, "why"));
        assert_eq!(status.metadata().get("x-own").unwrap(), "1");
    }
}

#[tokio::test]
async fn an_http_app_needs_a_verb_and_a_grpc_app_does_not() {
    let http_app = FakeApp::start().await;
    let grpc_app = FakeGrpcApp::answering(|_| Ok(tonic::Response::new(Default::default()))).await;
    let mut call = message("app", "x", Verb::None);
    call.message.as_mut().unwrap().http_extension = None;
    let sidecar = Sidecar::of(config(AppProtocol::Http, http_app.address())).await;
    let status = sidecar.invoke_service(call.clone()).await.unwrap_err();
    let text = "failed to invoke, id: app, err: invalid HTTP verb";
    assert_eq!(
        (status.code(), status.message()),
        (Code::InvalidArgument, text)
    );
    let sidecar = Sidecar::of(config(AppProtocol::Grpc, grpc_app.address())).await;
    sidecar.invoke_service(call.clone()).await.unwrap();
    assert_eq!(grpc_app.recorded().pop().unwrap().message, call.message);
    call.message = None;
    let status = sidecar.invoke_service(call).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}
