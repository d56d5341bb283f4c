//! The same through a whole sidecar, as the injector starts it.

use std::collections::HashMap;
use std::net::SocketAddr;

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use dapr::dapr::proto::runtime::v1::{GetBulkSecretRequest, GetSecretRequest};
use http_body_util::Full;
use sidegate::cli::sidecar::{Config, Sidecar};
use sidegate::process::listener::ListenAddr;
use sidegate::testing::http_client::send;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::*;

const TOKEN: &str = "t0ken";

struct Serving {
    http: SocketAddr,
    grpc: SocketAddr,
    _running: JoinSet<()>,
}

/// A sidecar in a pod of the place, with files of resources and more flags.
async fn serve(place: &Place, files: &TempDir, flags: &[&str]) -> Serving {
    let resources = format!("--resources-path={}", files.path().display());
    let fixed = [
        "--mode=kubernetes",
        "--dapr-internal-grpc-port=0",
        "--app-id=app",
        "--dapr-listen-addresses=127.0.0.1",
        "--dapr-http-port=0",
        "--dapr-grpc-port=0",
        "--enable-metrics=false",
        "--hot-reload-reconcile-interval=1s",
        &resources,
    ];
    let environment = [
        ("NAMESPACE", place.namespace.as_str()),
        ("KUBECONFIG", &place.kubeconfig),
        ("DAPR_API_TOKEN", TOKEN),
        // Tests may run as root.
        ("DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK", "true"),
    ];
    let flags = fixed.iter().chain(flags).copied();
    let config = Config::parse(flags, &environment.into_iter().collect()).unwrap();
    let sidecar = Sidecar::bind(config).await.unwrap();
    let local = |address: &ListenAddr| match address {
        ListenAddr::Tcp(address) => *address,
        ListenAddr::Unix(_) => unreachable!("no socket folder was given"),
    };
    let http = local(&sidecar.addresses().http[0]);
    let grpc = local(&sidecar.addresses().grpc[0]);
    let mut running = JoinSet::new();
    running.spawn(async move {
        sidecar.run(CancellationToken::new()).await.unwrap();
    });
    Serving {
        http,
        grpc,
        _running: running,
    }
}

impl Serving {
    /// Status and body.
    async fn get(&self, path: &str) -> (u16, String) {
        let request = Request::get(format!("/v1.0/{path}"))
            .header("dapr-api-token", TOKEN)
            .body(Full::<Bytes>::default())
            .unwrap();
        let answer = send(self.http, request).await;
        let body = String::from_utf8(answer.body().to_vec()).unwrap();
        (answer.status().as_u16(), body)
    }

    async fn secret(&self, path: &str) -> (u16, String) {
        self.get(&format!("secrets/{path}")).await
    }
}

fn with_token<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    let token = TOKEN.parse().unwrap();
    request.metadata_mut().insert("dapr-api-token", token);
    request
}

fn denied(text: &str) -> (u16, String) {
    let body = json!({ "errorCode": "ERR_PERMISSION_DENIED", "message": text });
    (403, body.to_string())
}

#[tokio::test]
async fn the_built_in_store_answers_over_http_and_grpc() {
    let place = Place::new("built-in").await;
    place.grant(&["get", "list"], &[]).await;
    place
        .secret("login", &[("user", b"u"), ("password", b"p")])
        .await;
    let serving = serve(&place, &TempDir::new().unwrap(), &[]).await;
    let keys = r#"{"password":"p","user":"u"}"#;
    assert_eq!(serving.secret("kubernetes/login").await, (200, keys.into()));
    let all = format!(r#"{{"login":{keys}}}"#);
    assert_eq!(serving.secret("kubernetes/bulk").await, (200, all));
    assert_eq!(
        serving.secret("kubernetes/nope").await,
        (204, String::new())
    );

    let address = format!("http://{}", serving.grpc);
    let mut client = DaprClient::connect(address).await.unwrap();
    let one = GetSecretRequest {
        store_name: "kubernetes".to_owned(),
        key: "login".to_owned(),
        metadata: HashMap::new(),
    };
    let bare = client.get_secret(one.clone()).await.unwrap_err();
    assert_eq!(bare.code(), tonic::Code::Unauthenticated);
    let answer = client.get_secret(with_token(one)).await.unwrap();
    assert_eq!(answer.into_inner().data["password"], "p");
    let all = GetBulkSecretRequest {
        store_name: "kubernetes".to_owned(),
        metadata: HashMap::new(),
    };
    let answer = client.get_bulk_secret(with_token(all)).await.unwrap();
    assert_eq!(answer.into_inner().data["login"].secrets["user"], "u");

    let metadata: Value = serde_json::from_str(&serving.get("metadata").await.1).unwrap();
    let component = json!({
        "name": "kubernetes", "type": "secretstores.kubernetes", "version": "v1",
    });
    assert_eq!(metadata["components"], json!([component]));
}

#[tokio::test]
async fn a_flag_leaves_the_built_in_store_out() {
    let place = Place::new("left-out").await;
    let flags = ["--disable-builtin-k8s-secret-store"];
    let serving = serve(&place, &TempDir::new().unwrap(), &flags).await;
    let (status, body) = serving.secret("kubernetes/x").await;
    assert_eq!(status, 500);
    assert!(body.contains("ERR_SECRET_STORES_NOT_CONFIGURED"), "{body}");
}

#[tokio::test]
async fn a_missing_right_is_told_to_operators_and_not_to_callers() {
    let place = Place::new("no-right").await;
    place.secret("login", &[("user", b"u")]).await;
    let serving = serve(&place, &TempDir::new().unwrap(), &[]).await;
    let text = "failed getting secret with key login from secret store kubernetes";
    let body = json!({ "errorCode": "ERR_SECRET_GET", "message": text });
    assert_eq!(
        serving.secret("kubernetes/login").await,
        (500, body.to_string())
    );
}

#[tokio::test]
async fn bulk_without_the_right_to_list_reads_each_allowed_secret() {
    let place = Place::new("singles").await;
    place.grant(&["get"], &["a", "b", "gone"]).await;
    for name in ["a", "b", "c"] {
        place.secret(name, &[("k", name.as_bytes())]).await;
    }
    let files = TempDir::new().unwrap();
    let configuration = |name: &str, entry: &str| {
        let path = files.path().join(name);
        let text = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {{name: c}}\nspec:\n  \
             secrets:\n    scopes: [{{storeName: kubernetes, {entry}}}]\n"
        );
        std::fs::write(&path, text).unwrap();
        format!("--config={}", path.display())
    };
    let resources = TempDir::new().unwrap();
    let lists = "allowedSecrets: [a, b, gone], deniedSecrets: [b]";
    let flag = configuration("named.yaml", lists);
    let serving = serve(&place, &resources, &[&flag]).await;
    let all = r#"{"a":{"k":"a"}}"#.to_owned();
    eventually("the Role counts", async || {
        (serving.secret("kubernetes/bulk").await.0 == 200).then_some(())
    })
    .await;
    assert_eq!(serving.secret("kubernetes/bulk").await, (200, all));
    // A name that the Role lacks fails the whole read: half a bulk would look like all of it.
    let flag = configuration("more.yaml", "allowedSecrets: [a, c]");
    let serving = serve(&place, &resources, &[&flag]).await;
    assert_eq!(serving.secret("kubernetes/bulk").await.0, 500);
    // Without names there is nothing to ask for.
    let flag = configuration("unnamed.yaml", "deniedSecrets: [b]");
    let serving = serve(&place, &resources, &[&flag]).await;
    assert_eq!(serving.secret("kubernetes/bulk").await.0, 500);
}

#[tokio::test]
async fn another_namespace_needs_the_policy_beside_the_role() {
    let (place, other) = (Place::new("own").await, Place::new("other").await);
    other
        .grant_to(&place.namespace, &["get", "list"], &[])
        .await;
    other.secret("theirs", &[("k", b"v")]).await;
    let files = TempDir::new().unwrap();
    let name = other.namespace.as_str();
    let serving = serve(&place, &files, &[]).await;
    let refused = |namespace: &str| {
        denied(&format!(
            "access denied by policy to namespace {namespace:?} of \"kubernetes\": \
             spec.secrets.allowedNamespaces of the SidecarPolicy does not name it"
        ))
    };
    for read in ["theirs", "bulk"] {
        let path = format!("kubernetes/{read}?metadata.namespace={name}");
        assert_eq!(serving.secret(&path).await, refused(name), "{read}");
    }
    for (spelling, namespace) in [("..", ".."), ("own%2F..%2Fother", "own/../other")] {
        let path = format!("kubernetes/theirs?metadata.namespace={spelling}");
        assert_eq!(serving.secret(&path).await, refused(namespace));
    }
    let policy = format!(
        "apiVersion: sidegate.dev/v1alpha1\nkind: SidecarPolicy\nmetadata: {{name: p}}\n\
         spec: {{secrets: {{allowedNamespaces: [{name}]}}}}\n"
    );
    std::fs::write(files.path().join("policy.yaml"), policy).unwrap();
    let serving = serve(&place, &files, &["--policy=p"]).await;
    let path = format!("kubernetes/theirs?metadata.namespace={name}");
    let answer = eventually("the Role counts", async || {
        let answer = serving.secret(&path).await;
        (answer.0 == 200).then_some(answer)
    });
    assert_eq!(answer.await.1, r#"{"k":"v"}"#);
    let path = "kubernetes/theirs?metadata.namespace=third";
    assert_eq!(serving.secret(path).await, refused("third"));
}

#[tokio::test]
async fn a_rotated_secret_reaches_the_component_that_refers_to_it() {
    let place = Place::new("reference").await;
    place.grant(&["get"], &["settings"]).await;
    place.secret("settings", &[("prefix", b"KUBECO")]).await;
    let files = TempDir::new().unwrap();
    let component = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: env}\n\
                     spec: {type: secretstores.local.env, version: v1, metadata: [\
                     {name: prefix, secretKeyRef: {name: settings, key: prefix}}]}\n";
    std::fs::write(files.path().join("env.yaml"), component).unwrap();
    let serving = serve(&place, &files, &[]).await;
    let value = json!({ "NFIG": place.kubeconfig }).to_string();
    eventually("the component has its secret", async || {
        (serving.secret("env/NFIG").await == (200, value.clone())).then_some(())
    })
    .await;
    rotate(&place, "settings", "prefix", "NAMESP").await;
    let value = json!({ "ACE": place.namespace }).to_string();
    eventually("the component has the new secret", async || {
        (serving.secret("env/ACE").await == (200, value.clone())).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_watched_secret_reaches_the_component_long_before_the_interval() {
    let place = Place::new("watched").await;
    place.grant(&["get", "list", "watch"], &["settings"]).await;
    place.secret("settings", &[("prefix", b"KUBECO")]).await;
    let files = TempDir::new().unwrap();
    let component = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: env}\n\
                     spec: {type: secretstores.local.env, version: v1, metadata: [\
                     {name: prefix, secretKeyRef: {name: settings, key: prefix}}]}\n";
    std::fs::write(files.path().join("env.yaml"), component).unwrap();
    let flags = ["--hot-reload-reconcile-interval=1h"];
    let serving = serve(&place, &files, &flags).await;
    let becomes = async |name: &str, value: &str| {
        let expected = json!({ name: value }).to_string();
        eventually("the component has its secret", async || {
            let answer = serving.secret(&format!("env/{name}")).await;
            (answer == (200, expected.clone())).then_some(())
        })
        .await;
    };
    becomes("NFIG", &place.kubeconfig).await;
    // More than once, since the first change may be the one that a new watch tells.
    for _ in 0..2 {
        rotate(&place, "settings", "prefix", "NAMESP").await;
        becomes("ACE", &place.namespace).await;
        rotate(&place, "settings", "prefix", "KUBECO").await;
        becomes("NFIG", &place.kubeconfig).await;
    }
}
