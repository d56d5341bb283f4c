//! Whole sidecars that get their certificates from a control plane.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::json;
use sidegate::testing::certificates::Authority;
use sidegate::testing::fake_app::FakeApp;
use sidegate::testing::fake_sentry::{FakeSentry, Grant, SENTRY_ID};
use sidegate::testing::http_client::send;

use super::configuration::configuration;
use super::{Running, bind, request};

/// A control plane, and what a sidecar has to know of it.
struct Plane {
    authority: Arc<Authority>,
    sentry: FakeSentry,
    /// Where the sidecars of this test find each other.
    runtime_dir: tempfile::TempDir,
}

impl Plane {
    async fn start() -> Self {
        let authority = Arc::new(Authority::new());
        let now = SystemTime::now();
        let hour = Duration::from_secs(3600);
        let own = authority.svid(SENTRY_ID, (now - hour, now + hour));
        let rule = |request: &_, _| Ok(Grant::of(request));
        Self {
            sentry: FakeSentry::start(Arc::clone(&authority), &own, rule).await,
            authority,
            runtime_dir: tempfile::tempdir().unwrap(),
        }
    }

    fn flags(&self) -> [String; 4] {
        [
            "--enable-mtls".to_owned(),
            format!("--sentry-address={}", self.sentry.address()),
            "--control-plane-trust-domain=cp.local".to_owned(),
            "--control-plane-namespace=dapr-system".to_owned(),
        ]
    }

    async fn sidecar(&self, own: &[&str]) -> Running {
        let of_plane = self.flags();
        let of_plane = of_plane.iter().map(String::as_str);
        let flags: Vec<_> = of_plane.chain(own.iter().copied()).collect();
        let anchors = self.authority.certificate();
        Running::start(&flags, &self.environment(&anchors)).await
    }

    fn environment<'a>(&'a self, anchors: &'a str) -> [(&'a str, &'a str); 3] {
        [
            ("DAPR_TRUST_ANCHORS", anchors),
            ("NAMESPACE", "shop"),
            ("XDG_RUNTIME_DIR", self.runtime_dir.path().to_str().unwrap()),
        ]
    }
}

#[tokio::test]
async fn a_policy_tells_callers_apart_by_their_certificates() {
    let app = FakeApp::start().await;
    let plane = Plane::start().await;
    let (_folder, config) = configuration(&json!({"accessControl": {
        "defaultAction": "deny",
        "policies": [{
            "appId": "cart", "namespace": "shop", "trustDomain": "td", "defaultAction": "deny",
            "operations": [{"name": "/orders/*", "httpVerb": ["GET"], "action": "allow"}],
        }],
    }}));
    let port = format!("--app-port={}", app.address().port());
    let _orders = plane.sidecar(&["--app-id=orders", &port, &config]).await;
    let cart = plane.sidecar(&["--app-id=cart"]).await;
    let other = plane.sidecar(&["--app-id=other"]).await;
    let asked: Vec<_> = plane
        .sentry
        .requests()
        .into_iter()
        .map(|request| request.id)
        .collect();
    assert_eq!(asked, ["orders", "cart", "other"]);
    for (caller, path, expected) in [
        (&cart, "orders/1", 200),
        (&cart, "admin", 403),
        (&cart, "orders%2F..%2Fadmin", 403),
        (&other, "orders/1", 403),
    ] {
        let path = format!("/v1.0/invoke/orders/method/{path}");
        assert_eq!(caller.status("GET", &path, &[]).await, expected, "{path}");
    }
    let calls: Vec<_> = app
        .recorded()
        .into_iter()
        .filter(|call| call.uri == "/orders/1")
        .collect();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].header("dapr-caller-app-id"), ["cart"]);
    assert_eq!(calls[0].header("dapr-caller-namespace"), ["shop"]);
}

/// One that has no certificate cannot slip in, and cannot be mistaken for one that has.
#[tokio::test]
async fn a_sidecar_without_mutual_tls_does_not_reach_one_with_it() {
    let app = FakeApp::start().await;
    let plane = Plane::start().await;
    let port = format!("--app-port={}", app.address().port());
    let _orders = plane.sidecar(&["--app-id=orders", &port]).await;
    let environment = plane.environment("");
    let plain = Running::start(&["--app-id=plain"], &environment).await;
    let path = "/v1.0/invoke/orders/method/x";
    let answer = send(plain.http(), request("GET", path, &[])).await;
    assert_eq!(answer.status(), 500);
    assert!(app.recorded().iter().all(|call| call.uri != "/x"));
}

#[tokio::test]
async fn without_a_certificate_there_is_no_sidecar() {
    let plane = Plane::start().await;
    let foreign = Authority::new().certificate();
    let of_plane = plane.flags();
    let flags: Vec<_> = of_plane.iter().map(String::as_str).collect();
    let error = bind(&flags, &plane.environment(&foreign))
        .await
        .err()
        .unwrap();
    let text = format!("{error:#}");
    assert!(
        text.starts_with("no mutual TLS: the certificate authority at "),
        "{text}"
    );
    let error = bind(&["--enable-mtls", "--sentry-address=a:1"], &[])
        .await
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "trust anchors are required: DAPR_TRUST_ANCHORS holds them in PEM form"
    );
    assert!(plane.sentry.requests().is_empty());
}
