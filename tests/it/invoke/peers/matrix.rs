//! Callers over HTTP and gRPC, apps that speak HTTP and gRPC.

use bytes::Bytes;
use dapr::dapr::proto::common::v1::InvokeResponse;
use dapr::dapr::proto::common::v1::http_extension::Verb;
use http::{Request, Response};
use http_body_util::Full;
use prost_types::Any;
use sidegate::app_channel::AppProtocol;
use sidegate::testing::fake_app::FakeApp;
use sidegate::testing::fake_grpc_app::FakeGrpcApp;
use sidegate::testing::http_client::send;
use tonic::{Code, Status};

use super::Pair;
use crate::invoke::{Sidecar, basic, error_body, message};

fn teapot() -> Response<Full<Bytes>> {
    Response::builder()
        .status(418)
        .header("content-type", "text/tea")
        .header("x-own", "1")
        .header("set-cookie", "a=1")
        .header("set-cookie", "b=2")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .body(Full::from("short and stout"))
        .unwrap()
}

#[tokio::test]
async fn http_to_http_keeps_method_path_query_headers_and_body() {
    let app = FakeApp::answering(|_| teapot()).await;
    let pair = Pair::of(AppProtocol::Http, app.address()).await;
    let request = Request::builder()
        .method("PATCH")
        .uri("/v1.0/invoke/callee/method/a%20b/%C3%A4?q=1&q=%202")
        .header("content-type", "text/x")
        .header("x-many", "1")
        .header("x-many", "2")
        .header("x-latin", http::HeaderValue::from_bytes(b"\xe9").unwrap())
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .body(Full::from("ping"))
        .unwrap();
    let answer = send(pair.caller.http, request).await;
    assert_eq!(answer.status(), 418);
    assert_eq!(answer.headers()["content-type"], "text/tea");
    assert_eq!(answer.headers()["content-length"], "15");
    assert_eq!(answer.headers().get_all("set-cookie").iter().count(), 2);
    assert!(!answer.headers().contains_key("x-hop"));
    assert_eq!(answer.body(), "short and stout");
    let call = app.recorded().pop().unwrap();
    assert_eq!(
        (call.method.as_str(), &call.body[..]),
        ("PATCH", &b"ping"[..])
    );
    assert_eq!(call.uri, "/a%20b/%C3%A4?q=1&q=%202");
    assert_eq!(call.header("content-type"), ["text/x"]);
    assert_eq!(call.header("x-many"), ["1", "2"]);
    assert_eq!(call.headers["x-latin"].as_bytes(), "é".as_bytes());
    assert_eq!(call.header("content-length"), ["4"]);
    assert!(call.header("x-hop").is_empty());
    assert_eq!(call.header("x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(call.header("x-forwarded-host"), ["caller-host"]);
    let forwarded = "for=192.0.2.7;by=192.0.2.7;host=caller-host";
    assert_eq!(call.header("forwarded"), [forwarded]);
    assert_eq!(call.header("dapr-caller-app-id"), ["caller"]);
    assert_eq!(call.header("dapr-caller-namespace"), ["ns"]);
    assert_eq!(call.header("dapr-callee-app-id"), ["callee"]);
    assert!(call.header("destination-app-id").is_empty());
}

#[tokio::test]
async fn every_way_of_naming_an_app_reaches_it() {
    let app = FakeApp::start().await;
    let pair = Pair::of(AppProtocol::Http, app.address()).await;
    let basic = basic("callee");
    for (path, header, seen) in [
        ("/v1.0/invoke/callee/method/x", None, "/x"),
        ("/v1.0/invoke/callee.ns/method/x", None, "/x"),
        ("/v1.0/invoke/callee/method", None, "/"),
        ("/y?z", Some(("dapr-app-id", "callee")), "/y?z"),
        ("/y", Some(("dapr-app-id", "callee.ns")), "/y"),
        ("/y", Some(("authorization", basic.as_str())), "/y"),
        (
            "/v1.0/invoke/other/method/x",
            Some(("dapr-app-id", "callee")),
            "/v1.0/invoke/other/method/x",
        ),
    ] {
        let mut request = Request::get(path);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let answer = send(pair.caller.http, request.body(Full::default()).unwrap()).await;
        assert_eq!(answer.status(), 200, "{path}");
        let call = app.recorded().pop().unwrap();
        assert_eq!(call.uri, seen, "{path}");
        assert!(call.header("dapr-app-id").is_empty());
        assert!(call.header("transfer-encoding").is_empty(), "{path}");
    }
}

#[tokio::test]
async fn methods_without_a_body_and_with_odd_answers_pass() {
    let app = FakeApp::answering(|call| {
        let status = if call.uri.path() == "/moved" {
            302
        } else {
            204
        };
        Response::builder()
            .status(status)
            .header("location", "http://192.0.2.1/")
            .body(Full::default())
            .unwrap()
    })
    .await;
    let pair = Pair::of(AppProtocol::Http, app.address()).await;
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "PUT"] {
        let request = Request::builder()
            .method(method)
            .uri("/v1.0/invoke/callee/method/x");
        let answer = send(pair.caller.http, request.body(Full::default()).unwrap()).await;
        assert_eq!(answer.status(), 204, "{method}");
        let call = app.recorded().pop().unwrap();
        assert_eq!(call.method, method);
        let is_announced = !call.header("content-length").is_empty();
        assert!(!is_announced || method == "PUT", "{method} has no body");
    }
    let answer = pair.caller.get("/v1.0/invoke/callee/method/moved").await;
    assert_eq!(
        answer.status(),
        302,
        "a redirect is returned and not followed"
    );
    let odd = Request::builder()
        .method("PROPFIND")
        .uri("/v1.0/invoke/callee/method/x");
    let answer = send(pair.caller.http, odd.body(Full::default()).unwrap()).await;
    let text = "failed to invoke, id: callee, err: HTTP method \"PROPFIND\" cannot be sent to \
                another sidecar";
    assert_eq!(
        (answer.status().as_u16(), answer.body()),
        (500, &error_body(text).into())
    );
}

#[tokio::test]
async fn http_to_grpc_and_grpc_to_grpc_reach_on_invoke() {
    let app = FakeGrpcApp::answering(|call| {
        let message = call.message.as_ref().unwrap();
        if message.method == "fails" {
            return Err(Status::with_details(
                Code::NotFound,
                "none",
                Bytes::from_static(b""),
            ));
        }
        let mut answer = tonic::Response::new(InvokeResponse {
            data: Some(Any {
                type_url: "type/x".to_owned(),
                value: message.data.as_ref().unwrap().value.repeat(2),
            }),
            content_type: "text/y".to_owned(),
        });
        answer.metadata_mut().insert("x-own", "1".parse().unwrap());
        Ok(answer)
    })
    .await;
    let pair = Pair::of(AppProtocol::Grpc, app.address()).await;
    let request = Request::post("/v1.0/invoke/callee/method/a/b?q=1")
        .header("content-type", "text/x")
        .header("accept", "a")
        .body(Full::from("ping"))
        .unwrap();
    let answer = send(pair.caller.http, request).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.body()[..]),
        (200, &b"pingping"[..])
    );
    assert_eq!(answer.headers()["content-type"], "text/y");
    assert_eq!(answer.headers()["x-own"], "1");
    let call = app.recorded().pop().unwrap();
    let got = call.message.clone().unwrap();
    assert_eq!(
        (got.method.as_str(), got.content_type.as_str()),
        ("a/b", "text/x")
    );
    let extension = got.http_extension.unwrap();
    assert_eq!(
        (extension.verb(), extension.querystring.as_str()),
        (Verb::Post, "q=1")
    );
    assert_eq!(call.values("dapr-accept"), ["a"]);
    assert_eq!(call.values("dapr-caller-app-id"), ["caller"]);
    let answer = pair.caller.get("/v1.0/invoke/callee/method/fails").await;
    assert_eq!(answer.status(), 404);

    let ping = message("callee", "a/b", Verb::Get);
    let answer = pair.caller.invoke_service(ping).await.unwrap();
    assert_eq!(answer.metadata().get("x-own").unwrap(), "1");
    let answer = answer.into_inner();
    let data = answer.data.unwrap();
    assert_eq!(
        (data.type_url.as_str(), &data.value[..]),
        ("type/x", &b"pingping"[..])
    );
    let status = pair
        .caller
        .invoke_service(message("callee", "fails", Verb::Get))
        .await
        .unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::NotFound, "none"));
}

#[tokio::test]
async fn grpc_to_http_maps_the_status_and_announces_the_length() {
    let app = FakeApp::answering(|call| match call.uri.path() {
        "/teapot" => teapot(),
        _ => Response::new(Full::from("pong")),
    })
    .await;
    let pair = Pair::of(AppProtocol::Http, app.address()).await;
    let ping = message("callee", "x", Verb::Post);
    let answer = pair.caller.invoke_service(ping).await.unwrap();
    assert_eq!(answer.metadata().get("dapr-http-status").unwrap(), "200");
    assert_eq!(answer.into_inner().data.unwrap().value, b"pong");
    let call = app.recorded().pop().unwrap();
    assert_eq!(call.header("content-length"), ["4"]);
    assert_eq!(&call.body[..], b"ping");
    let status = pair
        .caller
        .invoke_service(message("callee", "teapot", Verb::Get))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unknown);
    assert_eq!(status.metadata().get("dapr-http-status").unwrap(), "418");
}

#[tokio::test]
async fn apps_that_cannot_be_reached_are_told_as_dapr_does() {
    let app = FakeApp::start().await;
    let pair = Pair::of(AppProtocol::Http, app.address()).await;
    for (target, text) in [
        ("nobody", "couldn't find service: nobody"),
        ("callee.other", "couldn't find service: callee"),
        ("a.b.c", "invalid app id a.b.c"),
        ("callee.ns@192.0.2.1", "invalid app id callee.ns@192.0.2.1"),
        (
            "caller",
            "cannot invoke local endpoint: app channel not initialized",
        ),
    ] {
        let path = format!("/v1.0/invoke/{target}/method/x");
        let answer = pair.caller.get(&path).await;
        let text = format!("failed to invoke, id: {target}, err: {text}");
        assert_eq!(
            (answer.status().as_u16(), answer.body()),
            (500, &error_body(&text).into())
        );
    }
    assert!(app.recorded().is_empty());
    let appless = Sidecar::set_up(crate::invoke::Setup {
        app_id: Some("appless"),
        world: Some(&pair.world),
        ..Default::default()
    })
    .await;
    let answer = pair.caller.get("/v1.0/invoke/appless/method/x").await;
    let text = "failed to invoke, id: appless, err: rpc error: code = Internal desc = app channel \
                is not initialized";
    assert_eq!(answer.body(), &error_body(text));
    drop(appless);
}
