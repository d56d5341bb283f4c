//! Sizes of headers, bodies and tokens, and what the log and the metrics keep of them.

use bytes::Bytes;
use http_body_util::Full;
use sidegate::base::environment::Environment;
use sidegate::cli::sidecar::Config;
use sidegate::testing::http_client::send;

use super::{Running, TOKEN, request};

#[tokio::test]
async fn a_large_token_works_and_a_larger_candidate_is_refused() {
    let jwt = "e".repeat(2048);
    let environment = [("DAPR_API_TOKEN", jwt.as_str())];
    let sidecar = Running::start(&["--read-buffer-size=128Ki"], &environment).await;
    let huge = "e".repeat(64 << 10);
    for (token, expected) in [(&jwt, 200), (&huge, 401)] {
        let status = sidecar
            .status("GET", "/v1.0/metadata", &[("dapr-api-token", token)])
            .await;
        assert_eq!(status, expected, "{} bytes", token.len());
    }
    let mut call = request("GET", "/v1.0/metadata", &[]);
    let not_ascii = http::HeaderValue::from_bytes("tökén".as_bytes()).unwrap();
    call.headers_mut().insert("dapr-api-token", not_ascii);
    assert_eq!(send(sidecar.http(), call).await.status(), 401);
}

#[tokio::test]
async fn headers_above_the_limit_get_431() {
    let sidecar = Running::start(&[], &[]).await;
    let long = "x".repeat(16 << 10);
    let status = sidecar
        .status("GET", "/v1.0/metadata", &[("x", &long)])
        .await;
    assert_eq!(status, 431);
}

#[tokio::test]
async fn a_body_above_the_limit_gets_413_announced_or_not() {
    let sidecar = Running::with_token(&["--max-body-size=1Ki"]).await;
    let token = [("dapr-api-token", TOKEN)];
    for (size, expected) in [(1024, 204), (1025, 413)] {
        let mut call = request("PUT", "/v1.0/metadata/a", &token);
        *call.body_mut() = Full::from(Bytes::from(vec![b'x'; size]));
        assert_eq!(
            send(sidecar.http(), call).await.status(),
            expected,
            "{size}"
        );
    }
    let text = format!(
        "PUT /v1.0/metadata/a HTTP/1.1\r\nhost: a\r\ndapr-api-token: {TOKEN}\r\n\
         connection: close\r\ntransfer-encoding: chunked\r\n\r\n401\r\n{}\r\n0\r\n\r\n",
        "x".repeat(1025)
    );
    assert!(
        super::raw(sidecar.http(), &text)
            .await
            .starts_with("HTTP/1.1 413 ")
    );
    // Without the token nobody learns of the limit.
    let mut call = request("PUT", "/v1.0/metadata/a", &[]);
    *call.body_mut() = Full::from(Bytes::from(vec![b'x'; 1025]));
    assert_eq!(send(sidecar.http(), call).await.status(), 401);
}

#[tokio::test]
async fn refused_calls_are_counted_under_bounded_labels() {
    let sidecar = Running::with_token(&[]).await;
    for path in ["/v1.0/secrets/made-up-store/made-up-key", "/made-up-path"] {
        let headers = [("dapr-api-token", "made-up-token")];
        assert_eq!(sidecar.status("GET", path, &headers).await, 401);
    }
    let text = send(sidecar.metrics(), request("GET", "/metrics", &[])).await;
    let text = String::from_utf8(text.into_body().to_vec()).unwrap();
    for route in ["/v1.0/secrets/{store}/{key}", "/{*path}"] {
        let labels = format!("listener=\"http\",route=\"{route}\",reason=\"mismatch\"");
        let line = text
            .lines()
            .find(|line| line.starts_with("sidegate_api_refused_total") && line.contains(&labels));
        assert!(line.is_some_and(|line| !line.ends_with(" 0")), "{line:?}");
    }
    let seen = "dapr_http_server_request_count";
    let labels = "method=\"GET\",path=\"/{*path}\",status=\"401\"";
    let counted = |line: &str| line.starts_with(seen) && line.contains(labels);
    assert!(text.lines().any(counted), "{text}");
    assert!(!text.contains("made-up"), "{text}");
}

#[test]
fn a_token_that_is_set_and_unusable_is_an_error_at_start() {
    for (value, expected) in [
        ("", "DAPR_API_TOKEN is set but blank"),
        (" \n", "DAPR_API_TOKEN is set but blank"),
        (
            "a\nb",
            "DAPR_API_TOKEN cannot be sent as an HTTP header: byte 2",
        ),
    ] {
        let environment = Environment::from_iter([("DAPR_API_TOKEN", value)]);
        let error = Config::parse(["--app-id", "a"], &environment).unwrap_err();
        assert!(
            error.to_string().starts_with(expected),
            "{value:?}: {error}"
        );
    }
}
