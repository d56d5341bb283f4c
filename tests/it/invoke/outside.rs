//! URLs as the targets of invocations.

use dapr::dapr::proto::common::v1::http_extension::Verb;
use http::{Request, Response};
use http_body_util::Full;
use sidegate::app_channel::{AppChannelConfig, AppProtocol};
use sidegate::testing::fake_app::FakeApp;
use sidegate::testing::http_client::send;
use tonic::Code;

use super::{Sidecar, TOKEN_HEADER, error_body, message};
use crate::app_channel::{config, token};

#[tokio::test]
async fn a_url_is_called_in_every_form_and_never_with_a_token() {
    let other = FakeApp::answering(|_| {
        Response::builder()
            .status(307)
            .header("location", "/elsewhere")
            .header(TOKEN_HEADER, "theirs")
            .body(Full::from("moved"))
            .unwrap()
    })
    .await;
    let app = FakeApp::start().await;
    let sidecar = Sidecar::start(
        Some(AppChannelConfig {
            token: Some(token("own")),
            ..config(AppProtocol::Http, app.address())
        }),
        Some("api"),
    )
    .await;
    let url = format!("http://{}/base", other.address());
    let encoded = url.replace(':', "%3A").replace('/', "%2F");
    let in_header = format!("http://{}", other.address());
    for (path, header) in [
        (format!("/v1.0/invoke/{url}/method/a%20b?q=1"), None),
        (format!("/v1.0/invoke/{encoded}/method/a%20b?q=1"), None),
        ("/base/a%20b?q=1".to_owned(), Some(in_header.as_str())),
    ] {
        let mut request = Request::put(&path)
            .header(TOKEN_HEADER, "api")
            .header("dapr-caller-app-id", "spoof")
            .header("x-kept", "1");
        if let Some(id) = header {
            request = request.header("dapr-app-id", id);
        }
        let answer = send(sidecar.http, request.body(Full::from("hi")).unwrap()).await;
        assert_eq!(answer.status(), 307, "{path}: returned and not followed");
        assert_eq!(answer.body(), "moved");
        assert!(!answer.headers().contains_key(TOKEN_HEADER));
        let calls = other.recorded();
        let call = calls.last().unwrap();
        assert_eq!(call.uri, "/base/a%20b?q=1", "{path}");
        assert_eq!((call.method.as_str(), &call.body[..]), ("PUT", &b"hi"[..]));
        assert_eq!(call.header("x-kept"), ["1"]);
        for name in [TOKEN_HEADER, "dapr-app-id", "dapr-caller-app-id"] {
            assert!(call.header(name).is_empty(), "{path}: {name}");
        }
    }
    assert_eq!(other.recorded().len(), 3);
    assert!(app.recorded().is_empty());
}

#[tokio::test]
async fn a_url_that_may_not_be_called_is_refused_before_anybody_hears_of_it() {
    let app = FakeApp::start().await;
    let sidecar = Sidecar::of(config(AppProtocol::Http, app.address())).await;
    let metadata = "http://169.254.169.254";
    let answer = sidecar
        .get(&format!("/v1.0/invoke/{metadata}/method/latest/meta-data"))
        .await;
    assert_eq!(answer.status(), 403);
    let status = sidecar
        .invoke_service(message(metadata, "x", Verb::Get))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let answer = sidecar
        .get("/v1.0/invoke/http://u:p@localhost/method/x")
        .await;
    assert_eq!(answer.status(), 500);
    let text = String::from_utf8(answer.body().to_vec()).unwrap();
    assert!(text.contains("it holds user info"), "{text}");
    let request = Request::builder()
        .method("TRACE")
        .uri("/v1.0/invoke/http://localhost:1/method/x");
    let answer = send(sidecar.http, request.body(Full::default()).unwrap()).await;
    let id = "http:/localhost:1";
    let text = format!(
        "failed to invoke, id: {id}, err: method TRACE is not sent to services without a sidecar"
    );
    assert_eq!(answer.body(), &error_body(&text));
}
