//! Against real servers on loopback.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderMap, LOCATION};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use super::*;
use crate::base::http_url::HttpUrl;
use crate::base::secret::Secret;
use crate::process::serve::Plain;
use crate::resources::sidecar_policy::ExternalUrls;
use crate::testing::certificates::{Authority, Issued};
use crate::testing::fake_app::FakeApp;
use crate::testing::listening::listen;
use crate::tls::handshake::TlsHandshake;
use crate::tls::identity::IdentityFiles;

fn settings(base_url: &str) -> Settings {
    Settings {
        name: "crm".to_owned(),
        base_url: HttpUrl::parse(base_url).unwrap(),
        headers: Vec::new(),
        root_ca: None,
        identity: None,
    }
}

fn endpoint(base_url: &str, headers: &[(&'static str, &str)]) -> Endpoint {
    let headers = headers
        .iter()
        .map(|&(name, value)| (HeaderName::from_static(name), Secret::new(value)))
        .collect();
    let settings = Settings {
        headers,
        ..settings(base_url)
    };
    Endpoint::build(&settings).unwrap()
}

fn path(text: &str) -> MethodPath {
    MethodPath::from_decoded(text).unwrap()
}

fn full(body: &'static str) -> Body {
    Body::new(Full::from(body).map_err(|never: Infallible| match never {}))
}

fn get(path: &MethodPath) -> Call<'_> {
    Call {
        method: Method::GET,
        path,
        query: None,
        headers: HeaderMap::new(),
        body: full(""),
    }
}

/// What a caller sends who would like to pass for a sidecar.
fn hostile() -> HeaderMap {
    [
        "dapr-api-token",
        "dapr-caller-app-id",
        "dapr-callee-app-id",
        "dapr-app-id",
        "destination-app-id",
        "x-kept",
    ]
    .into_iter()
    .map(|name| {
        let value = HeaderValue::from_static("of the caller");
        (HeaderName::from_static(name), value)
    })
    .collect()
}

async fn text(response: Response<Body>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

fn url(scheme: &str, address: SocketAddr, path: &str) -> String {
    format!("{scheme}://{address}{path}")
}

#[tokio::test]
async fn a_call_arrives_below_the_url_with_the_headers_of_the_resource() {
    let app = FakeApp::start().await;
    let headers = [("x-api-key", "s3cret\n"), ("x-kept", "of the resource")];
    let endpoint = endpoint(&url("http", app.address(), "/v1/"), &headers);
    let path = path("a b/../c");
    let call = Call {
        method: Method::PUT,
        query: Some("q=1&r=%20"),
        headers: hostile(),
        body: full("hello"),
        ..get(&path)
    };
    let answer = endpoint.send(call).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let request = app.recorded().remove(0);
    assert_eq!(request.method, Method::PUT);
    assert_eq!(request.uri, "/v1/c?q=1&r=%20");
    assert_eq!(request.body, "hello");
    assert_eq!(request.header("x-api-key"), ["s3cret"]);
    assert_eq!(request.header("x-kept"), ["of the resource"]);
    assert_eq!(request.header("content-length"), ["5"]);
    assert_eq!(request.header("host"), [app.address().to_string()]);
    for name in ["dapr-api-token", "dapr-app-id", "dapr-caller-app-id"] {
        assert!(request.header(name).is_empty(), "{name}");
    }
}

#[tokio::test]
async fn the_token_header_is_the_resources_own_or_nobodys() {
    let app = FakeApp::start().await;
    let base = url("http", app.address(), "");
    let path = path("x");
    let headers: &[&[_]] = &[&[], &[("dapr-api-token", "of the gateway")]];
    for headers in headers {
        let call = Call {
            headers: hostile(),
            ..get(&path)
        };
        endpoint(&base, headers).send(call).await.unwrap();
    }
    let recorded = app.recorded();
    assert!(recorded[0].header("dapr-api-token").is_empty());
    assert_eq!(recorded[1].header("dapr-api-token"), ["of the gateway"]);
}

#[tokio::test]
async fn an_answer_loses_what_no_caller_should_see() {
    let app = FakeApp::answering(|_| {
        let mut response = Response::new(Full::from("body"));
        *response.headers_mut() = hostile();
        response
    })
    .await;
    let endpoint = endpoint(&url("http", app.address(), ""), &[]);
    let answer = endpoint.send(get(&path("x"))).await.unwrap();
    let mut names: Vec<_> = answer.headers().keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "date", "x-kept"]);
    assert_eq!(text(answer).await, "body");
}

#[tokio::test]
async fn a_redirect_is_returned_and_not_followed() {
    let other = FakeApp::start().await;
    let location = url("http", other.address(), "/elsewhere");
    let app = FakeApp::answering(move |_| {
        let redirect = Response::builder()
            .status(StatusCode::TEMPORARY_REDIRECT)
            .header(LOCATION, &location);
        redirect.body(Full::default()).unwrap()
    })
    .await;
    let endpoint = endpoint(&url("http", app.address(), ""), &[("authorization", "s")]);
    let target = RawUrl::parse(&url("http", app.address(), ""));
    let target = target.unwrap().unwrap();
    let path = path("x");
    let by_url = External::new();
    for answer in [
        endpoint.send(get(&path)).await,
        by_url.send(ExternalUrls::Allow, &target, get(&path)).await,
    ] {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
        assert_eq!(
            answer.headers()[LOCATION],
            url("http", other.address(), "/elsewhere")
        );
    }
    assert_eq!(app.recorded().len(), 2);
    assert!(other.recorded().is_empty());
}

#[tokio::test]
async fn bodies_stream_both_ways() {
    let echo = hyper::service::service_fn(|request: Request<Incoming>| async {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    let (address, _task) = listen(Plain, echo).await;
    let endpoint = endpoint(&url("http", address, ""), &[]);
    let (sender, frames) = mpsc::channel::<Bytes>(1);
    let frames = ReceiverStream::new(frames).map(|data| Ok(Frame::data(data)));
    let path = path("x");
    let call = Call {
        method: Method::POST,
        body: Body::new(StreamBody::new(frames)),
        ..get(&path)
    };
    let mut answer = endpoint.send(call).await.unwrap().into_body();
    // Each piece comes back before the next one is sent.
    for piece in ["one", "two"] {
        sender
            .send(Bytes::from_static(piece.as_bytes()))
            .await
            .unwrap();
        let frame = answer.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), piece);
    }
    drop(sender);
    assert!(answer.frame().await.is_none());
}

/// A server with TLS that answers 200 to whoever shows a certificate of the authority, or to all.
async fn tls_server(served: &Issued, clients: Option<&Authority>) -> FakeApp {
    let dir = tempfile::tempdir().unwrap();
    let client_ca = clients.map(|authority| {
        let file = dir.path().join("ca.pem");
        std::fs::write(&file, authority.certificate()).unwrap();
        file
    });
    let files = IdentityFiles {
        certificate: PathBuf::from("certificate"),
        key: PathBuf::from("key"),
        client_ca,
        client_names: Vec::new(),
    };
    let identity = files
        .assemble(served.certificate.as_bytes(), served.key.as_bytes())
        .unwrap();
    let (_, identity) = watch::channel(Arc::new(identity));
    FakeApp::answering_over(TlsHandshake::new(identity), |_| Response::default()).await
}

fn over_tls(app: &FakeApp, authority: &Authority, shown: Option<&Issued>) -> Endpoint {
    let pem = |text: &str| Secret::new(text);
    let settings = Settings {
        root_ca: Some(pem(&authority.certificate())),
        identity: shown.map(|shown| (pem(&shown.certificate), pem(&shown.key))),
        ..settings(&url("https", app.address(), ""))
    };
    Endpoint::build(&settings).unwrap()
}

#[tokio::test]
async fn tls_verifies_the_server_and_shows_the_certificate_of_the_client() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let served = servers.issue(&["127.0.0.1"]);
    let app = tls_server(&served, Some(&clients)).await;
    let path = path("x");
    let known = over_tls(&app, &servers, Some(&clients.issue(&["client"])));
    let answer = known.send(get(&path)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let request = app.recorded().remove(0);
    assert_eq!(request.version, Version::HTTP_2);
    for stranger in [None, Some(&servers.issue(&["client"]))] {
        let answer = over_tls(&app, &servers, stranger).send(get(&path)).await;
        let error = answer.map(|_| ()).unwrap_err();
        // TLS 1.3 tells it after the client's part of the handshake (RFC 8446, section 4.4.2).
        let is_refused = matches!(error, Error::Tls { .. } | Error::Exchange { .. });
        assert!(is_refused, "{error}");
    }
    assert_eq!(app.recorded().len(), 1);
}

#[tokio::test]
async fn a_server_that_cannot_be_verified_gets_nothing() {
    let (authority, other) = (Authority::new(), Authority::new());
    let app = tls_server(&authority.issue(&["127.0.0.1"]), None).await;
    let elsewhere = tls_server(&authority.issue(&["elsewhere.example"]), None).await;
    for endpoint in [
        over_tls(&app, &other, None),
        over_tls(&elsewhere, &authority, None),
    ] {
        let answer = endpoint.send(get(&path("x"))).await;
        let host = "127.0.0.1".to_owned();
        assert_eq!(answer.map(|_| ()), Err(Error::Tls { host }));
    }
    assert!(app.recorded().is_empty() && elsewhere.recorded().is_empty());
}

#[tokio::test]
async fn a_url_is_called_as_the_policy_says() {
    let app = FakeApp::start().await;
    let external = External::new();
    let merged = format!("http:/localhost:{}/base", app.address().port());
    let target = RawUrl::parse(&merged).unwrap().unwrap();
    let path = path("x");
    let call = || Call {
        headers: hostile(),
        query: Some("q"),
        ..get(&path)
    };
    let denied = external.send(ExternalUrls::Deny, &target, call()).await;
    assert_eq!(denied.map(|_| ()), Err(Error::UrlsDenied));
    let answer = external.send(ExternalUrls::Allow, &target, call()).await;
    assert_eq!(answer.unwrap().status(), StatusCode::OK);
    let recorded = app.recorded();
    assert_eq!(recorded.len(), 1);
    assert_eq!(recorded[0].uri, "/base/x?q");
    assert!(recorded[0].header("dapr-api-token").is_empty());
    assert_eq!(recorded[0].header("x-kept"), ["of the caller"]);
}

#[tokio::test]
async fn a_url_reaches_no_metadata_service_in_any_spelling() {
    let external = External::new();
    for host in [
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        // The same as one number, which the system's resolver reads.
        "2852039166",
        "0xa9fea9fe",
    ] {
        let target = RawUrl::parse(&format!("http://{host}")).unwrap().unwrap();
        let path = path("latest/meta-data");
        let answer = external
            .send(ExternalUrls::Allow, &target, get(&path))
            .await;
        let error = answer.map(|_| ()).unwrap_err();
        assert!(
            matches!(error, Error::AddressRefused { .. }),
            "{host}: {error}"
        );
    }
}

#[tokio::test]
async fn methods_that_open_tunnels_or_echo_headers_are_not_sent() {
    let app = FakeApp::start().await;
    let endpoint = endpoint(&url("http", app.address(), ""), &[]);
    for method in [Method::CONNECT, Method::TRACE] {
        let path = path("x");
        let call = Call {
            method: method.clone(),
            ..get(&path)
        };
        let answer = endpoint.send(call).await;
        assert_eq!(answer.map(|_| ()), Err(Error::Method(method)));
    }
    assert!(app.recorded().is_empty());
}

#[tokio::test]
async fn failures_name_the_host_and_no_cause() {
    // A port that was free a moment ago.
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let answer = endpoint(&url("http", closed, ""), &[])
        .send(get(&path("x")))
        .await;
    let error = answer.map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "no connection to \"127.0.0.1\"");
    let app = FakeApp::answering(|_| {
        let mut response = Response::new(Full::default());
        for number in 0..300 {
            let name: HeaderName = format!("x-{number}").parse().unwrap();
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static("1"));
        }
        response
    })
    .await;
    let endpoint = endpoint(&url("http", app.address(), ""), &[]);
    let error = endpoint
        .send(get(&path("x")))
        .await
        .map(|_| ())
        .unwrap_err();
    let expected = "the call to \"127.0.0.1\" broke off before its answer";
    assert_eq!(error.to_string(), expected);
}
