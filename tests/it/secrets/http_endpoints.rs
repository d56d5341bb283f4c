//! HTTP endpoints: their references, what a broken one stops, and what follows a change.

use bytes::Bytes;
use http::header::HeaderMap;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Empty, Full};
use serde_json::{Value, json};
use sidegate::base::method_path::MethodPath;
use sidegate::endpoints::{Body, Call};
use sidegate::testing::fake_app::FakeApp;

use super::*;

/// An endpoint `name` at `url` with more lines of its `spec`.
fn endpoint(name: &str, url: &str, spec: &str, rest: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: HTTPEndpoint\nmetadata:\n  name: {name}\nspec:\n  \
         baseUrl: {url}\n{spec}{rest}"
    )
}

/// One with a header `x-key` out of the store `file`.
fn keyed(name: &str, url: &str) -> String {
    let header = "  headers:\n  - name: x-key\n    secretKeyRef: {name: k}\n";
    endpoint(name, url, header, "auth:\n  secretStore: file\n")
}

/// An app that answers with the value of `x-key`.
async fn echo() -> (FakeApp, String) {
    let app = FakeApp::answering(|request| {
        let key = request.header("x-key").concat();
        Response::new(Full::from(key))
    })
    .await;
    let url = format!("http://{}", app.address());
    (app, url)
}

impl Started {
    /// What the endpoint of a name answers; `None` where there is none, an error where it cannot
    /// be called.
    async fn call(&self, name: &str) -> Option<Result<String, String>> {
        let snapshot = self.registry.snapshot();
        let endpoint = match snapshot.endpoint(name)? {
            Ok(endpoint) => endpoint,
            Err(error) => return Some(Err(error.to_string())),
        };
        let call = Call {
            method: Method::GET,
            path: &MethodPath::from_decoded("x").unwrap(),
            query: None,
            headers: HeaderMap::new(),
            body: Body::new(Empty::<Bytes>::new().map_err(|never| match never {})),
        };
        let answer = endpoint.send(call).await.unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        Some(Ok(String::from_utf8(body.to_vec()).unwrap()))
    }

    async fn answers(&self, name: &str, expected: Option<&str>) {
        eventually(&format!("{name} answers {expected:?}"), async || {
            let answer = self.call(name).await.transpose();
            (answer.as_ref().map(Option::as_deref) == Ok(expected)).then_some(())
        })
        .await;
    }

    fn failure(&self, files: &Files, name: &str) -> Option<String> {
        let snapshot = self.registry.snapshot();
        let failure = snapshot.endpoints.get(name)?.failure.clone()?;
        Some(failure.replace(files.0.path().to_str().unwrap(), "DIR"))
    }
}

#[tokio::test]
async fn a_secret_reaches_a_header_and_follows_its_change() {
    let (_app, url) = echo().await;
    let files = Files::new();
    files
        .file_store(r#"{"k": "one"}"#)
        .resource("crm.yaml", &keyed("crm", &url));
    let started = files.start().await;
    assert_eq!(started.call("crm").await, Some(Ok("one".to_owned())));
    files.write("secrets.json", r#"{"k": "two"}"#);
    started.answers("crm", Some("two")).await;
    // A broken edit changes nothing, and neither does one that is no YAML.
    let header = "  headers:\n  - {name: host, value: x}\n";
    files.resource("crm.yaml", &endpoint("crm", &url, header, ""));
    let failure = eventually("the edit is reported", async || {
        started.failure(&files, "crm")
    })
    .await;
    assert_eq!(
        failure,
        "file \"DIR/resources/crm.yaml\", document 1: field \"spec.headers[0].name\": \"host\" is \
         set by the sidecar for each connection, and cannot be configured"
    );
    assert_eq!(started.call("crm").await, Some(Ok("two".to_owned())));
    files.resource("crm.yaml", "kind: [");
    files.resource("other.yaml", &endpoint("other", &url, "", ""));
    started.answers("other", Some("")).await;
    assert_eq!(started.call("crm").await, Some(Ok("two".to_owned())));
    files.remove("resources/crm.yaml");
    started.answers("crm", None).await;
}

#[tokio::test]
async fn a_broken_endpoint_holds_up_nobody_and_is_called_by_nobody() {
    let (_app, url) = echo().await;
    let files = Files::new();
    let tls = "  clientTLS:\n    rootCA: {value: no certificate}\n";
    files
        .file_store(r#"{"k": "v"}"#)
        .resource("a.yaml", &endpoint("tls", "https://127.0.0.1", tls, ""))
        .resource("b.yaml", &endpoint("url", "127.0.0.1", "", ""))
        .resource(
            "c.yaml",
            &keyed("gone", &url).replace("{name: k}", "{name: late}"),
        )
        .resource("d.yaml", &endpoint("twice", &url, "", ""))
        .resource("e.yaml", &endpoint("twice", &url, "", ""))
        .resource(
            "f.yaml",
            &endpoint("foreign", &url, "", "scopes: [other]\n"),
        )
        .resource("g.yaml", &keyed("good", &url));
    let started = files.start().await;
    assert_eq!(started.call("good").await, Some(Ok("v".to_owned())));
    assert_eq!(started.call("foreign").await, None);
    for (name, expected) in [
        (
            "tls",
            "clientTLS.rootCA: the CA certificates hold no certificate in PEM form",
        ),
        (
            "url",
            "file \"DIR/resources/b.yaml\", document 1: field \"spec.baseUrl\": a URL begins with \
             http:// or https://",
        ),
        (
            "gone",
            "HTTPEndpoint \"gone\", property \"headers[x-key]\": secret store \"file\" has no \
             secret \"late\"",
        ),
        (
            "twice",
            "it is defined more than once: file \"DIR/resources/d.yaml\", document 1 and file \
             \"DIR/resources/e.yaml\", document 1",
        ),
    ] {
        assert_eq!(started.failure(&files, name).as_deref(), Some(expected));
        let refusal = format!("HTTPEndpoint {name:?} is not loaded: /v1.0/metadata says why");
        assert_eq!(started.call(name).await, Some(Err(refusal)));
    }
    // Each is mended by itself.
    files.write("secrets.json", r#"{"k": "v", "late": "late"}"#);
    started.answers("gone", Some("late")).await;
    files.remove("resources/e.yaml");
    started.answers("twice", Some("")).await;
}

#[tokio::test]
async fn scopes_of_secrets_count_where_the_policy_says_so() {
    let (_app, url) = echo().await;
    let files = Files::new();
    files
        .file_store(r#"{"k": "v"}"#)
        .resource("crm.yaml", &keyed("crm", &url))
        .resource(
            "policy.yaml",
            "apiVersion: sidegate.dev/v1alpha1\nkind: SidecarPolicy\nmetadata: {name: strict}\n\
             spec: {secrets: {defaultAccess: deny, scopesApplyToComponents: true}}\n",
        );
    let started = files
        .start_with(|config| config.policy = Some("strict".to_owned()))
        .await;
    let failure = started.failure(&files, "crm").unwrap();
    assert!(
        failure.contains("access denied by policy to secret \"k\""),
        "{failure}"
    );
    assert!(started.call("crm").await.unwrap().is_err());
}

#[tokio::test]
async fn the_metadata_lists_what_can_be_called_and_says_why_the_rest_cannot() {
    let files = Files::new();
    files
        .resource("a.yaml", &endpoint("crm", "http://127.0.0.1:1", "", ""))
        .resource("b.yaml", &endpoint("bad", "ftp://127.0.0.1", "", ""));
    let serving = wire::serve(&files).await;
    let request = Request::get("/v1.0/metadata").body(Full::default());
    let answer = sidegate::testing::http_client::send(serving.http, request.unwrap()).await;
    let metadata: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(metadata["httpEndpoints"], json!([{"name": "crm"}]));
    let failed = metadata["extended"]["sidegateFailedComponents"].as_str();
    let failed = failed.unwrap();
    assert!(failed.starts_with("bad (HTTPEndpoint): file "), "{failed}");
    let grpc = serving.metadata().await;
    assert_eq!(grpc.http_endpoints.len(), 1);
    assert_eq!(grpc.http_endpoints[0].name, "crm");
    serving.end().await;
}
