//! `sidegate check webhook`, against a webhook that the API server knows.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Api, PostParams};
use serde_json::{Value, json};
use sidegate::testing::certificates::Authority;
use sidegate::testing::eventually::eventually;

use crate::api_server::ApiServer;

const PROGRAM: &str = env!("CARGO_BIN_EXE_sidegate");

/// A running injector with a certificate for the Service of the tests.
struct Injector {
    process: Child,
    address: String,
    authority: Authority,
    _dir: tempfile::TempDir,
}

impl Injector {
    async fn start() -> Self {
        let authority = Authority::new();
        let issued = authority.issue(&["injector.system.svc"]);
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("tls.crt"), issued.certificate).unwrap();
        fs::write(dir.path().join("tls.key"), issued.key).unwrap();
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [port, health] = listeners.map(|listener| listener.local_addr().unwrap().port());
        let file = |name: &str| dir.path().join(name).display().to_string();
        let process = Command::new(PROGRAM)
            .args(["injector", "--native-sidecar=on", "--enable-metrics=false"])
            .args(["--sidecar-image=sidegate:check", "--log-level=error"])
            .args([
                "--listen-address=127.0.0.1",
                "--healthz-listen-address=127.0.0.1",
            ])
            .args([format!("--port={port}"), format!("--healthz-port={health}")])
            .args([format!("--tls-cert-file={}", file("tls.crt"))])
            .args([format!("--tls-key-file={}", file("tls.key"))])
            .spawn()
            .unwrap();
        eventually("the injector listens", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .ok()
        })
        .await;
        Self {
            process,
            address: format!("127.0.0.1:{port}"),
            authority,
            _dir: dir,
        }
    }
}

impl Drop for Injector {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A configuration whose webhook is called for no namespace.
fn configuration(name: &str, ca: Option<&str>) -> Value {
    let mut client = json!({
        "service": {"name": "injector", "namespace": "system", "path": "/mutate"},
    });
    if let Some(ca) = ca {
        client["caBundle"] = json!(STANDARD.encode(ca));
    }
    json!({
        "metadata": {"name": name},
        "webhooks": [{
            "name": "injector.sidegate.dev",
            "admissionReviewVersions": ["v1"],
            "clientConfig": client,
            "sideEffects": "None",
            "namespaceSelector": {"matchLabels": {"is": "nowhere"}},
            "matchConditions": [{
                "name": "asks",
                "expression": "'dapr.io/enabled' in object.metadata.annotations",
            }],
        }],
    })
}

async fn register(server: &ApiServer, configuration: Value) {
    let api: Api<MutatingWebhookConfiguration> = Api::all(server.client().await);
    let configuration = serde_json::from_value(configuration).unwrap();
    api.create(&PostParams::default(), &configuration)
        .await
        .unwrap();
}

/// Runs the command; its exit code and its lines.
fn check(kubeconfig: &Path, name: &str, address: &str) -> (i32, String) {
    let output = Command::new(PROGRAM)
        .args([
            "check",
            "webhook",
            "--mutating-webhook",
            name,
            "--address",
            address,
        ])
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error, "");
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

#[tokio::test]
async fn a_webhook_that_works_passes_with_no_more_than_its_right() {
    let server = ApiServer::shared().await;
    let injector = Injector::start().await;
    register(
        server,
        configuration("check-good", Some(&injector.authority.certificate())),
    )
    .await;
    let namespace = server.namespace("check").await;
    let kubeconfig = server.kubeconfig_of(&namespace, "default").await;
    let (code, text) = check(&kubeconfig, "check-good", &injector.address);
    assert_eq!(code, 1);
    assert_eq!(
        text,
        "✗ MutatingWebhookConfiguration \"check-good\" must not be read; it takes the right to get \
         that mutatingwebhookconfiguration, by a ClusterRole\n"
    );

    // The rules of the chart's own test.
    let rendered = crate::chart::objects(&["--set=fullnameOverride=check"]);
    let mut role = crate::chart::object(&rendered, "ClusterRole", "check-test").clone();
    role["rules"][0]["resourceNames"] = json!(["check-good"]);
    let roles: Api<ClusterRole> = Api::all(server.client().await);
    let role = serde_json::from_value(role).unwrap();
    roles.create(&PostParams::default(), &role).await.unwrap();
    let bindings: Api<ClusterRoleBinding> = Api::all(server.client().await);
    let binding = json!({
        "metadata": {"name": "check-test"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "check-test",
        },
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
    });
    let binding = serde_json::from_value(binding).unwrap();
    bindings
        .create(&PostParams::default(), &binding)
        .await
        .unwrap();
    let expected = format!(
        "✓ MutatingWebhookConfiguration \"check-good\" calls injector.system.svc\n\
         ✓ only pods that ask for a sidecar are sent to it\n\
         ✓ its caBundle holds 1 CA certificate(s)\n\
         ✓ {} can be reached\n\
         ✓ its certificate is trusted as injector.system.svc\n\
         ✓ a pod that asks for a sidecar gets container \"daprd\" of sidegate:check\n",
        injector.address
    );
    eventually("the right is known", async || {
        let passed = check(&kubeconfig, "check-good", &injector.address);
        (passed == (0, expected.clone())).then_some(())
    })
    .await;
}

#[tokio::test]
async fn each_failure_names_cause_and_fix() {
    let server = ApiServer::shared().await;
    let injector = Injector::start().await;
    let own = injector.authority.certificate();
    let other = Authority::new().certificate();
    let mut bare = configuration("check-bare", Some(&own));
    bare["webhooks"][0]["matchConditions"] = json!([]);
    let mut foreign = configuration("check-foreign", Some(&own));
    foreign["webhooks"][0]["name"] = json!("injector.example.com");
    let mut elsewhere = configuration("check-elsewhere", Some(&own));
    elsewhere["webhooks"][0]["clientConfig"]["service"]["name"] = json!("elsewhere");
    let mut lost = configuration("check-lost", Some(&own));
    lost["webhooks"][0]["clientConfig"]["service"]["path"] = json!("/lost");
    register(server, configuration("check-empty", None)).await;
    register(server, configuration("check-other", Some(&other))).await;
    for configuration in [bare, foreign, elsewhere, lost] {
        register(server, configuration).await;
    }
    for (name, expected) in [
        (
            "check-none",
            "✗ there is no MutatingWebhookConfiguration \"check-none\"; install the chart, or name \
             another with --mutating-webhook",
        ),
        (
            "check-foreign",
            "has no webhook \"injector.sidegate.dev\"; it is not Sidegate's",
        ),
        (
            "check-bare",
            "✗ its matchConditions are gone, so that an outage stops every new pod; apply the \
             chart again",
        ),
        (
            "check-empty",
            "✗ its caBundle is empty, so that the API server trusts no answer; the injector \
             writes it: see the log of its pods",
        ),
        (
            "check-other",
            "✗ its certificate is not trusted as injector.system.svc: invalid peer",
        ),
        (
            "check-elsewhere",
            "✗ its certificate is not trusted as elsewhere.system.svc: invalid",
        ),
        (
            "check-lost",
            "✗ a pod that asks for a sidecar gets none: 404 Not Found",
        ),
    ] {
        let (code, text) = check(&server.kubeconfig(), name, &injector.address);
        assert_eq!(code, 1, "{text}");
        assert!(text.contains(expected), "{name}: {text}");
    }
}

#[tokio::test]
async fn a_service_that_leads_nowhere_is_named() {
    let server = ApiServer::shared().await;
    let authority = Authority::new();
    register(
        server,
        configuration("check-nobody", Some(&authority.certificate())),
    )
    .await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let (code, text) = check(&server.kubeconfig(), "check-nobody", &address);
    assert_eq!(code, 1);
    let expected = format!("✗ {address} cannot be reached: Connection refused");
    assert!(text.contains(&expected), "{text}");
}
