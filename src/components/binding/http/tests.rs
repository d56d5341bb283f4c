use super::*;
use crate::testing::certificates::Authority;
use crate::testing::contract::component;
use crate::testing::fake_app::FakeApp;
use http_body_util::Full;

async fn start(settings: &[(&str, &str)]) -> Result<Http, String> {
    let component = component("bindings.http", settings);
    let mut reader = Reader::new(&component).unwrap();
    let started = Http::start(&mut reader).await;
    started.map_err(|error| error.to_string())
}

/// A binding to an app, whose certificate nobody needs, with more settings.
async fn binding(app: &FakeApp, settings: &[(&str, &str)]) -> Http {
    let url = format!("http://{}/base", app.address());
    let roots = Authority::new().certificate();
    let mut all = vec![("url", url.as_str()), ("mtlsRootCA", &roots)];
    all.extend(settings);
    start(&all).await.unwrap()
}

fn request(operation: &str, metadata: &[(&str, &str)]) -> BindingRequest {
    let entry = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    BindingRequest {
        operation: operation.to_owned(),
        data: Bytes::from_static(b"{\"n\":1.0}"),
        metadata: metadata.iter().map(entry).collect(),
    }
}

#[tokio::test]
async fn sends_what_it_is_told() {
    let app = FakeApp::start().await;
    let http = binding(&app, &[]).await;
    for (operation, method, body) in [
        ("create", "POST", "{\"n\":1.0}"),
        ("post", "POST", "{\"n\":1.0}"),
        ("put", "PUT", "{\"n\":1.0}"),
        ("patch", "PATCH", "{\"n\":1.0}"),
        ("get", "GET", ""),
        ("head", "HEAD", ""),
        ("delete", "DELETE", ""),
        ("options", "OPTIONS", ""),
    ] {
        assert!(http.operations().contains(&operation));
        let metadata = [
            ("path", "/7?x=y"),
            ("X-Tenant", "acme"),
            ("traceparent", "t"),
            ("lower", "no header"),
            ("Host", "other.example"),
            ("Transfer-Encoding", "chunked"),
            ("Content-Length", "1"),
        ];
        http.invoke(request(operation, &metadata)).await.unwrap();
        let asked = app.recorded().pop().unwrap();
        assert_eq!(
            (asked.method.as_str(), &*asked.body),
            (method, body.as_bytes())
        );
        assert_eq!(asked.uri, "/base/7?x=y");
        assert_eq!(asked.header("x-tenant"), ["acme"]);
        assert_eq!(asked.header("traceparent"), ["t"]);
        assert_eq!(asked.header("lower"), [""; 0]);
        assert_eq!(asked.header("host"), [app.address().to_string()]);
        assert_eq!(asked.header("accept"), ["application/json; charset=utf-8"]);
        let content_type = asked.header("content-type");
        assert_eq!(content_type.is_empty(), body.is_empty(), "{operation}");
    }
    http.invoke(request("post", &[("Content-Type", "text/x")]))
        .await
        .unwrap();
    let asked = app.recorded().pop().unwrap();
    assert_eq!(
        (asked.uri.path(), asked.header("content-type")),
        ("/base", vec!["text/x"])
    );
}

#[tokio::test]
async fn tells_status_and_headers_also_of_a_failure() {
    let app = FakeApp::answering(|request| {
        let status: u16 = request.uri.query().unwrap().parse().unwrap();
        Response::builder()
            .status(status)
            .header("x-request-id", "7")
            .header("x-request-id", "8")
            .body(Full::from("said"))
            .unwrap()
    })
    .await;
    let http = binding(&app, &[]).await;
    let fine = http
        .invoke(request("get", &[("path", "?200")]))
        .await
        .unwrap();
    assert_eq!(fine.data.as_deref(), Some(&b"said"[..]));
    assert_eq!(fine.metadata["statusCode"], "200");
    assert_eq!(fine.metadata["status"], "200 OK");
    assert_eq!(fine.metadata["X-Request-Id"], "7, 8");
    for (status, may_heal) in [(307, false), (404, false), (429, true), (503, true)] {
        let path = format!("?{status}");
        let failure = http
            .invoke(request("get", &[("path", &path)]))
            .await
            .unwrap_err();
        assert_eq!(failure.text, format!("received status code {status}"));
        assert_eq!(failure.metadata["statusCode"], status.to_string());
        assert_eq!(failure.may_heal, may_heal);
        let metadata = [("path", path.as_str()), ("errorIfNot2XX", "false")];
        let taken = http.invoke(request("get", &metadata)).await.unwrap();
        assert_eq!(taken.metadata["statusCode"], status.to_string());
    }
    let lenient = binding(&app, &[("errorIfNot2XX", "false")]).await;
    assert!(
        lenient
            .invoke(request("get", &[("path", "?404")]))
            .await
            .is_ok()
    );
    // A redirect was an answer: nobody went after it.
    assert!(
        app.recorded()
            .iter()
            .all(|asked| asked.uri.path() == "/base")
    );
}

#[tokio::test]
async fn the_security_token_is_the_components_own() {
    let app = FakeApp::start().await;
    for (header, expected) in [
        ("Authorization: Bearer", "Bearer hunter2"),
        ("Authorization", "hunter2"),
    ] {
        let settings = [
            ("securityToken", "hunter2"),
            ("securityTokenHeader", header),
        ];
        let http = binding(&app, &settings).await;
        http.invoke(request("get", &[("Authorization", "another")]))
            .await
            .unwrap();
        let asked = app.recorded().pop().unwrap();
        assert_eq!(asked.header("authorization"), [expected]);
    }
}

#[tokio::test]
async fn refuses_what_it_cannot_send() {
    let app = FakeApp::start().await;
    let http = binding(&app, &[]).await;
    for (metadata, expected) in [
        (
            ("path", "../admin"),
            "metadata \"path\": it has a segment \".\" or \"..\"",
        ),
        (("X Y", "1"), "metadata \"X Y\" is not a header"),
        (("X-Y", "a\r\nb: c"), "metadata \"X-Y\" is not a header"),
    ] {
        let failure = http.invoke(request("get", &[metadata])).await.unwrap_err();
        assert_eq!((failure.text.as_str(), failure.may_heal), (expected, false));
    }
    assert!(app.recorded().is_empty());
}

#[tokio::test]
async fn answers_and_their_time_have_limits() {
    let app = FakeApp::answering(|_| Response::new(Full::from("0123456789"))).await;
    let http = binding(&app, &[("maxResponseBodySize", "9")]).await;
    let failure = http.invoke(request("get", &[])).await.unwrap_err();
    assert_eq!(failure.text, "the answer has more than 9 bytes");
    for unlimited in ["0", "10"] {
        let http = binding(&app, &[("maxResponseBodySize", unlimited)]).await;
        assert!(http.invoke(request("get", &[])).await.is_ok());
    }
    // Takes connections and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let roots = Authority::new().certificate();
    let settings = [
        ("url", url.as_str()),
        ("mtlsRootCA", &roots),
        ("responseTimeout", "10ms"),
    ];
    let http = start(&settings).await.unwrap();
    let failure = http.invoke(request("get", &[])).await.unwrap_err();
    assert_eq!(
        (failure.text.as_str(), failure.may_heal),
        ("no answer within 10ms", true)
    );
    drop(silent);
    let failure = http.invoke(request("get", &[])).await.unwrap_err();
    assert!(failure.may_heal, "{}", failure.text);
    assert!(!failure.text.contains("127.0.0.1"), "{}", failure.text);
}

#[tokio::test]
async fn says_what_cannot_be_used_and_shows_no_value() {
    let issued = Authority::new().issue(&["a"]);
    let url = ("url", "https://h/");
    for (settings, expected) in [
        (vec![], "url not set"),
        (
            vec![("url", "hunter2")],
            "url: a URL begins with http:// or https://",
        ),
        (
            vec![url, ("securityToken", "hunter2")],
            "\"securityToken\" and \"securityTokenHeader\" go together: give both",
        ),
        (
            vec![
                url,
                ("securityToken", "hunter2\n"),
                ("securityTokenHeader", "A"),
            ],
            "the value of \"securityToken\" is not a text that a header can hold",
        ),
        (
            vec![url, ("MTLSRootCA", "hunter2")],
            "the value of \"MTLSRootCA\" is not a text in PEM form or the path of a file with one",
        ),
        (
            vec![url, ("MTLSClientKey", issued.key.as_str())],
            "\"MTLSClientKey\" is given without \"MTLSClientCert\"",
        ),
    ] {
        let error = start(&settings).await.err().unwrap();
        assert_eq!(error, expected);
    }
    let pair = [
        url,
        ("MTLSRootCA", issued.certificate.as_str()),
        ("MTLSClientCert", issued.certificate.as_str()),
        ("MTLSClientKey", issued.key.as_str()),
        ("MTLSRenegotiation", "RenegotiateNever"),
    ];
    assert!(start(&pair).await.is_ok());
}
