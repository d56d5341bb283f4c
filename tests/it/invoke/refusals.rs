//! Calls that reach no app.

use std::time::Duration;

use dapr::dapr::proto::common::v1::http_extension::Verb;
use http::Request;
use http_body_util::Full;
use sidegate::api::access::{Access, Rule};
use sidegate::app_channel::{AppChannelConfig, AppProtocol, HealthConfig};
use sidegate::testing::fake_app::FakeApp;
use sidegate::testing::http_client::send;
use tonic::Code;

use super::{Sidecar, basic, error_body, message};
use crate::app_channel::config;

#[tokio::test]
async fn targets_that_are_not_the_own_app_are_refused_without_any_connection() {
    let app = FakeApp::start().await;
    let sidecar = Sidecar::of(config(AppProtocol::Http, app.address())).await;
    let unknown =
        |id: &str| format!("failed to invoke, id: {id}, err: couldn't find service: {id}");
    for (in_path, id, text) in [
        ("nobody", "nobody", unknown("nobody")),
        ("app.other", "app.other", unknown("app.other")),
        ("App", "App", unknown("App")),
        (
            "a.b.c",
            "a.b.c",
            "failed to invoke, id: a.b.c, err: invalid app id a.b.c".to_owned(),
        ),
    ] {
        let answer = sidecar
            .get(&format!("/v1.0/invoke/{in_path}/method/x"))
            .await;
        assert_eq!(answer.status(), 500, "{id}");
        assert_eq!(answer.headers()["content-type"], "application/json");
        assert_eq!(answer.body(), &error_body(&text));
        let by_header = Request::get("/x").header("dapr-app-id", id);
        let answer = send(sidecar.http, by_header.body(Full::default()).unwrap()).await;
        assert_eq!(answer.body(), &error_body(&text));
        let status = sidecar
            .invoke_service(message(id, "x", Verb::Get))
            .await
            .unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (Code::Internal, text.as_str())
        );
    }
    assert!(app.recorded().is_empty());
}

#[tokio::test]
async fn a_call_without_target_app_or_healthy_app_is_told_why() {
    let bare = Sidecar::start(None, None).await;
    let text = "failed getting app id either from the URL path or the header dapr-app-id";
    let answer = bare.get("/v1.0/invoke/app").await;
    assert_eq!(
        (answer.status().as_u16(), answer.body()),
        (404, &error_body(text).into())
    );
    let status = bare
        .invoke_service(message("", "x", Verb::Get))
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::InvalidArgument, text)
    );

    let app = FakeApp::start().await;
    let never_probed = Sidecar::of(AppChannelConfig {
        health: Some(HealthConfig {
            path: "/healthz".to_owned(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            threshold: 3,
        }),
        ..config(AppProtocol::Http, app.address())
    })
    .await;
    let dead = tokio::net::TcpSocket::new_v4().unwrap();
    dead.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let dead = Sidecar::of(config(AppProtocol::Http, dead.local_addr().unwrap())).await;
    for (sidecar, why) in [
        (
            &bare,
            "cannot invoke local endpoint: app channel not initialized",
        ),
        (
            &never_probed,
            "rpc error: code = Internal desc = app is not in a healthy state",
        ),
        (
            &dead,
            "error invoking app channel: cannot connect to the app",
        ),
    ] {
        let text = format!("failed to invoke, id: app, err: {why}");
        let answer = sidecar.get("/v1.0/invoke/app/method/x").await;
        assert_eq!(
            (answer.status().as_u16(), answer.body()),
            (500, &error_body(&text).into())
        );
        let status = sidecar
            .invoke_service(message("app", "x", Verb::Get))
            .await
            .unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (Code::Internal, text.as_str())
        );
    }
    assert!(app.recorded().is_empty());
}

#[tokio::test]
async fn where_invocation_is_not_allowed_no_way_of_addressing_reaches_the_app() {
    let app = FakeApp::start().await;
    let rule = |name: &str, protocol: &str| Rule {
        name: name.to_owned(),
        version: "v1".to_owned(),
        protocol: protocol.to_owned(),
    };
    let denied = [rule("invoke", "http"), rule("invoke", "grpc")];
    let allowed = [rule("metadata", "http"), rule("metadata", "grpc")];
    for access in [
        Access::parse(&[], &denied).unwrap(),
        Access::parse(&allowed, &[]).unwrap(),
    ] {
        let config = config(AppProtocol::Http, app.address());
        let sidecar = Sidecar::with_access(Some(config), None, access).await;
        let auth = basic("app");
        for (path, name, value) in [
            ("/v1.0/invoke/app/method/x", "x-none", "1"),
            ("/v1.0/metadata/x", "dapr-app-id", "app"),
            ("/x", "dapr-app-id", "app"),
            ("/x", "authorization", auth.as_str()),
        ] {
            let request = Request::post(path).header(name, value);
            let answer = send(sidecar.http, request.body(Full::default()).unwrap()).await;
            assert_eq!(answer.status(), 404, "{path} {name}");
        }
        let call = sidecar.invoke_service(message("app", "x", Verb::Get)).await;
        assert_eq!(call.unwrap_err().code(), Code::Unimplemented);
    }
    assert!(app.recorded().is_empty());
}
