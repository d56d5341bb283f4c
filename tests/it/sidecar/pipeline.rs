//! Calls of the HTTP API that go through the pipeline of a Configuration.

use std::net::SocketAddr;

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::GetMetadataRequest;
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use http::Response;
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use serde_json::{Value, json};
use sidegate::testing::eventually::eventually;
use sidegate::testing::fake_app::FakeApp;
use sidegate::testing::http_client::send;
use tempfile::TempDir;

use super::{Running, TOKEN, bind, request};

const RATE_LIMIT: &str = "middleware.http.ratelimit";
const ROUTER_ALIAS: &str = "middleware.http.routeralias";

/// A folder with components, and a Configuration whose pipeline names some.
struct Files(TempDir);

impl Files {
    /// `handlers` are names with types.
    fn new(handlers: &[(&str, &str)]) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(files.0.path().join("resources")).unwrap();
        let handler =
            |(name, handler_type): &(&str, &str)| json!({"name": name, "type": handler_type});
        let handlers: Vec<_> = handlers.iter().map(handler).collect();
        let configuration = json!({
            "apiVersion": "dapr.io/v1alpha1", "kind": "Configuration", "metadata": {"name": "c"},
            "spec": {"httpPipeline": {"handlers": handlers}},
        });
        let path = files.0.path().join("configuration.yaml");
        std::fs::write(path, configuration.to_string()).unwrap();
        files
    }

    fn component(&self, name: &str, component_type: &str, settings: &Value) -> &Self {
        let entry = |(name, value): (&String, &Value)| json!({"name": name, "value": value});
        let settings: Vec<_> = settings.as_object().unwrap().iter().map(entry).collect();
        let component = json!({
            "apiVersion": "dapr.io/v1alpha1", "kind": "Component", "metadata": {"name": name},
            "spec": {
                "type": component_type, "version": "v1", "ignoreErrors": name == "ignored",
                "metadata": settings,
            },
        });
        // In one rename, as editors and the kubelet do.
        let temporary = self.0.path().join("being written");
        std::fs::write(&temporary, component.to_string()).unwrap();
        std::fs::rename(temporary, self.resource(name)).unwrap();
        self
    }

    fn alias(&self, routes: &Value) -> &Self {
        self.component(
            "alias",
            ROUTER_ALIAS,
            &json!({"routes": routes.to_string()}),
        )
    }

    fn resource(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join("resources").join(format!("{name}.yaml"))
    }

    fn flags(&self) -> [String; 2] {
        let path = self.0.path().display();
        [
            format!("--config={path}/configuration.yaml"),
            format!("--resources-path={path}/resources"),
        ]
    }

    async fn start(&self, app: &FakeApp) -> Running {
        let port = format!("--app-port={}", app.address().port());
        let [config, resources] = self.flags();
        let flags = [
            &*port,
            "--disable-init-endpoints=config",
            &config,
            &resources,
        ];
        Running::with_token(&flags).await
    }

    async fn refusal(&self) -> String {
        let [config, resources] = self.flags();
        let refused = bind(&[&config, &resources], &[]).await.err();
        refused.expect("the start fails").to_string()
    }
}

async fn call(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Response<Bytes> {
    let token = [("dapr-api-token", TOKEN)];
    send(address, request("GET", path, &[&token, headers].concat())).await
}

fn error_code(answer: &Response<Bytes>) -> Value {
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    body["errorCode"].clone()
}

/// The paths of the calls that the app got, with their queries.
fn paths(app: &FakeApp) -> Vec<String> {
    let recorded = app.recorded();
    recorded.iter().map(|one| one.uri.to_string()).collect()
}

#[tokio::test]
async fn an_alias_leads_to_the_route_that_it_names() {
    let app = FakeApp::start().await;
    let files = Files::new(&[("alias", ROUTER_ALIAS)]);
    files.alias(&json!({
        "/hello/{id}/info": "/v1.0/invoke/app/method/hello/info",
        "/odd": "/v1.0//invoke/./app/method/x/../y%2Fz/?q=1",
        "/about": "/v1.0/metadata",
        "/alive": "/v1.0/healthz",
        "/v1.0/healthz": "/v1.0/shutdown",
        "/v1.0/metadata": "/v1.0/invoke/app/method/instead",
        "/loop": "/loop/again", "/loop/again": "/loop",
    }));
    let sidecar = files.start(&app).await;
    let address = sidecar.http();
    for (path, status) in [
        ("/hello/1/info?b=2", 200),
        ("//hello/./a%20b/info/", 200),
        ("/odd", 200),
        ("/v1.0/metadata", 200),
        ("/v1.0/invoke/app/method/direct", 200),
        ("/alive", 204),
        ("/v1.0/healthz", 204),
        ("/loop", 404),
        ("/other", 404),
    ] {
        let answer = call(address, path, &[]).await;
        assert_eq!(answer.status(), status, "{path}");
    }
    assert_eq!(
        paths(&app),
        [
            "/hello/info?id=1&b=2",
            "/hello/info?id=a+b",
            "/y/z?q=1",
            "/instead",
            "/direct"
        ]
    );
    let about: Value = serde_json::from_slice(call(address, "/about", &[]).await.body()).unwrap();
    assert_eq!(about["id"], "app");
    // The public port has no pipeline, and no alias makes a path one that needs no token.
    let public = call(sidecar.public(), "/v1.0/metadata", &[]).await;
    assert_eq!(public.status(), 200);
    for path in ["/alive", "/about", "/hello/1/info", "/v1.0/metadata"] {
        assert_eq!(sidecar.status("GET", path, &[]).await, 401, "{path}");
    }
    assert_eq!(sidecar.status("GET", "/v1.0/healthz", &[]).await, 204);
    assert_eq!(app.recorded().len(), 5);
}

#[test]
fn no_alias_leads_past_the_token_or_to_a_path_that_is_not_clean() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (app, _files, sidecar) = runtime.block_on(async {
        let app = FakeApp::start().await;
        let files = Files::new(&[("alias", ROUTER_ALIAS)]);
        files.alias(&json!({
            "/{x}": "/v1.0/invoke/app/method//a/./../one/",
            "/a/{x}": "/v1.0/healthz",
            "/v1.0/{x}": "/../v1.0/invoke/app/method/two",
            "/v1.0/healthz/{x}": "/v1.0/invoke/app/method/three?x=1",
        }));
        let sidecar = files.start(&app).await;
        (app, files, sidecar)
    });
    let piece = prop::sample::select(vec![
        "/",
        "//",
        "/.",
        "/..",
        "/v1.0",
        "/healthz",
        "/outbound",
        "/a",
        "/%68ealthz",
        "%2f",
        ";x",
        "?",
        "?/v1.0/healthz",
        "/%2e%2e",
        "x",
    ]);
    let path =
        prop::collection::vec(piece, 0..6).prop_map(|pieces| format!("/{}", pieces.concat()));
    let mut runner = TestRunner::new(Cases {
        cases: 300,
        failure_persistence: None,
        ..Cases::default()
    });
    let health = ["/v1.0/healthz", "/v1.0/healthz/outbound"];
    let outcome = runner.run(&path, |path| {
        let before = app.recorded().len();
        let status = runtime.block_on(sidecar.status("GET", &path, &[]));
        let is_health = status == 204;
        prop_assert!(is_health || status == 401, "{}: {}", path, status);
        prop_assert_eq!(app.recorded().len(), before);
        if is_health {
            let clean = path.split('?').next().unwrap_or_default();
            prop_assert!(health.iter().any(|one| cleaned(clean) == *one), "{}", path);
        }
        runtime.block_on(call(sidecar.http(), &path, &[]));
        Ok(())
    });
    outcome.unwrap();
    // Each alias works, whatever the cases were.
    for path in ["/x", "/v1.0/x", "/v1.0/healthz/x"] {
        runtime.block_on(call(sidecar.http(), path, &[]));
    }
    let delivered = paths(&app);
    for expected in ["/one?", "/two?", "/three?"] {
        assert!(
            delivered.iter().any(|path| path.starts_with(expected)),
            "{expected}"
        );
    }
    for path in delivered {
        let path = path.split('?').next().unwrap().to_owned();
        assert_eq!(cleaned(&path), path);
    }
}

/// A path without empty segments, `.` and `..`, in other words than those of the door.
fn cleaned(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/').filter(|one| !one.is_empty() && *one != ".") {
        if segment == ".." {
            kept.pop();
        } else {
            kept.push(segment);
        }
    }
    format!("/{}", kept.join("/"))
}

#[tokio::test]
async fn the_rate_of_calls_is_limited_after_the_token() {
    let app = FakeApp::start().await;
    let files = Files::new(&[("limit", RATE_LIMIT)]);
    files.component(
        "limit",
        RATE_LIMIT,
        &json!({"maxRequestsPerSecond": "0.001"}),
    );
    let sidecar = files.start(&app).await;
    let path = "/v1.0/invoke/app/method/x";
    for _ in 0..3 {
        assert_eq!(sidecar.status("GET", path, &[]).await, 401);
    }
    assert_eq!(call(sidecar.http(), path, &[]).await.status(), 200);
    let answer = call(sidecar.http(), path, &[("x-forwarded-for", "192.0.2.1")]).await;
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.body(), "You have reached maximum request limit.");
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(
        call(sidecar.http(), "/v1.0/metadata", &[]).await.status(),
        429
    );
    assert_eq!(sidecar.status("GET", "/v1.0/healthz", &[]).await, 204);
    assert_eq!(app.recorded().len(), 1);
    // The pipeline is one of the HTTP API.
    let mut client = DaprClient::connect(format!("http://{}", sidecar.grpc()))
        .await
        .unwrap();
    let mut metadata = tonic::Request::new(GetMetadataRequest {});
    metadata
        .metadata_mut()
        .insert("dapr-api-token", TOKEN.parse().unwrap());
    client.get_metadata(metadata).await.unwrap();
}

#[tokio::test]
async fn handlers_that_cannot_run_stop_the_start() {
    let of = |at: usize| format!("spec.httpPipeline.handlers[{at}] of the Configuration: handler ");
    let files = Files::new(&[("limit", RATE_LIMIT), ("alias", RATE_LIMIT)]);
    files.alias(&json!({"/a": "/b"}));
    let expected = format!(
        "{}\"limit\": no component of that name is loaded\n{}\"alias\": the component of that name \
         is a {ROUTER_ALIAS}/v1, and the pipeline wants a {RATE_LIMIT}/",
        of(0),
        of(1)
    );
    assert_eq!(files.refusal().await, expected);
    // `ignoreErrors` does not make a pipeline go on without a middleware that nobody serves.
    let files = Files::new(&[("ignored", "middleware.http.opa")]);
    files.component("ignored", "middleware.http.opa", &json!({}));
    let refusal = files.refusal().await;
    let expected = format!(
        "{}\"ignored\": middleware middleware.http.opa is not served by this build",
        of(0)
    );
    assert!(refusal.starts_with(&expected), "{refusal}");
    // Nor is such a component passed over that no pipeline names.
    let files = Files::new(&[]);
    files.component("policy", "middleware.http.opa", &json!({}));
    let refusal = files.refusal().await;
    assert!(
        refusal.contains("a middleware is never skipped"),
        "{refusal}"
    );
}

#[tokio::test]
async fn calls_stop_while_a_middleware_does_not_run() {
    let app = FakeApp::start().await;
    let files = Files::new(&[("ignored", ROUTER_ALIAS)]);
    files.component("ignored", ROUTER_ALIAS, &json!({"routes": "no mapping"}));
    let sidecar = files.start(&app).await;
    let path = "/v1.0/invoke/app/method/x";
    let answer = call(sidecar.http(), path, &[]).await;
    assert_eq!(answer.status(), 500);
    assert_eq!(error_code(&answer), "ERR_MIDDLEWARE_UNAVAILABLE");
    assert_eq!(sidecar.status("GET", path, &[]).await, 401);
    assert_eq!(sidecar.status("GET", "/v1.0/healthz", &[]).await, 204);
    let becomes = async |status: u16| {
        eventually(&format!("a call is {status}"), async || {
            let answer = call(sidecar.http(), path, &[]).await;
            (answer.status() == status).then_some(())
        })
        .await;
    };
    files.component("ignored", ROUTER_ALIAS, &json!({"routes": "{/a: /b}"}));
    becomes(200).await;
    // A component of another type does not take the place.
    files.component("ignored", RATE_LIMIT, &json!({}));
    becomes(500).await;
    files.component("ignored", ROUTER_ALIAS, &json!({"routes": "{/a: /b}"}));
    becomes(200).await;
    std::fs::remove_file(files.resource("ignored")).unwrap();
    becomes(500).await;
}

#[cfg(feature = "remote")]
#[tokio::test]
async fn the_api_token_is_asked_for_before_the_bearer_token() {
    use sidegate::testing::issuer::{Issuer, SigningKey, in_seconds};

    const BEARER: &str = "middleware.http.bearer";
    let app = FakeApp::start().await;
    let key = SigningKey::p256("key");
    let issuer = Issuer::start(&[&key]).await;
    let files = Files::new(&[("auth", BEARER), ("alias", ROUTER_ALIAS)]);
    files.alias(&json!({"/shop": "/v1.0/invoke/app/method/shop"}));
    files.component(
        "auth",
        BEARER,
        &json!({"issuer": issuer.url(), "audience": "shop"}),
    );
    let sidecar = files.start(&app).await;
    let claims = json!({"iss": issuer.url(), "aud": "shop", "exp": in_seconds(300)});
    let bearer = format!("Bearer {}", key.token("ES256", &claims));
    let good = [("authorization", &*bearer)];
    let api_token = [("dapr-api-token", TOKEN)];
    for (headers, status, body) in [
        (&[][..], 401, "invalid api token\n"),
        (&good, 401, "invalid api token\n"),
        (&api_token, 401, "Unauthorized\n"),
        (
            &[api_token[0], ("authorization", "Bearer x.y.z")],
            401,
            "Unauthorized\n",
        ),
        (&[api_token[0], good[0]], 200, ""),
    ] {
        let answer = send(sidecar.http(), request("GET", "/shop", headers)).await;
        assert_eq!(answer.status(), status, "{headers:?}");
        assert_eq!(answer.body(), body, "{headers:?}");
        let challenge = answer.headers().get("www-authenticate");
        let is_asked = body == "Unauthorized\n";
        assert_eq!(
            challenge.map(http::HeaderValue::as_bytes),
            is_asked.then_some(&b"Bearer"[..])
        );
    }
    let recorded = app.recorded();
    assert_eq!(recorded.len(), 1);
    assert_eq!(recorded[0].uri, "/shop");
    assert_eq!(recorded[0].header("authorization"), [&*bearer]);
    assert!(recorded[0].header("dapr-api-token").is_empty());
    // Whoever watches the health of a sidecar has no token at all.
    assert_eq!(sidecar.status("GET", "/v1.0/healthz", &[]).await, 204);
    assert_eq!(
        sidecar.status("GET", "/v1.0/healthz/outbound", &[]).await,
        204
    );
}
