//! The webhook over real TLS, and the process around it.

mod admission;
mod advice;
mod callers;
mod hostile;
mod process;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper_util::service::TowerToHyperService;
use rustls::ClientConfig;
use serde_json::{Value, json};
use sidegate::injector::config::Config;
use sidegate::injector::others::{self, OtherInjectors};
use sidegate::injector::requester::Requesters;
use sidegate::injector::server::{BODY_BYTES, LIMITS, Settings, routes};
use sidegate::process::listener::{ListenAddr, Listener};
use sidegate::process::serve::{Limits, serve};
use sidegate::testing::certificates::Authority;
use sidegate::testing::http_client;
use sidegate::testing::mounted_secret::MountedSecret;
use sidegate::tls::handshake::TlsHandshake;
use sidegate::tls::identity::IdentityFiles;
use sidegate::tls::reload::follow;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

/// Longer than any test takes on any machine.
const LONG: Duration = Duration::from_secs(600);

/// How one test's webhook is set up.
struct Setup {
    requesters: &'static str,
    others: OtherInjectors,
    body_bytes: usize,
    body_time: Duration,
    /// CA of the callers, and the names they may have.
    callers: Option<(String, Vec<String>)>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            requesters: "",
            others: others::none(),
            body_bytes: BODY_BYTES,
            body_time: LONG,
            callers: None,
        }
    }
}

/// A webhook on a free port, with a certificate in a mounted Secret. It ends when it is dropped.
struct Webhook {
    address: SocketAddr,
    authority: Authority,
    mount: MountedSecret,
    _tasks: JoinSet<()>,
}

impl Webhook {
    async fn start() -> Self {
        Self::set_up(Setup::default()).await
    }

    async fn set_up(setup: Setup) -> Self {
        let authority = Authority::new();
        let issued = authority.issue(&["localhost"]);
        let (ca, client_names) = setup.callers.unwrap_or_default();
        let has_ca = !ca.is_empty();
        let mount = MountedSecret::new(&[
            ("tls.crt", &issued.certificate),
            ("tls.key", &issued.key),
            ("ca.crt", &ca),
        ]);
        let files = IdentityFiles {
            certificate: mount.file("tls.crt"),
            key: mount.file("tls.key"),
            client_ca: has_ca.then(|| mount.file("ca.crt")),
            client_names,
        };
        let (identity, follower) = follow(files).unwrap();
        let settings = Settings {
            config: Config::default(),
            requesters: Requesters::parse(setup.requesters).unwrap(),
            others: setup.others,
            body_bytes: setup.body_bytes,
            body_time: setup.body_time,
        };
        let listener = Listener::bind_tcp(([127, 0, 0, 1], 0).into())
            .await
            .unwrap();
        let &ListenAddr::Tcp(address) = listener.address() else {
            unreachable!("bound to TCP")
        };
        let limits = Limits {
            header_timeout: LONG,
            handshake_timeout: LONG,
            ..LIMITS
        };
        let service = TowerToHyperService::new(routes(settings));
        let handshake = TlsHandshake::new(identity);
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let server = serve(listener, handshake, service, limits, shutdown.clone());
        tasks.spawn(async { server.await.unwrap() });
        tasks.spawn(async { follower.run(shutdown).await.unwrap() });
        Self {
            address,
            authority,
            mount,
            _tasks: tasks,
        }
    }

    /// Sends a request as the API server does.
    async fn send(&self, request: Request<Full<Bytes>>) -> Response<Bytes> {
        let stream = connect(self.address, self.authority.client())
            .await
            .unwrap();
        http_client::send_on(stream, request).await
    }

    /// Posts a body as JSON.
    async fn post(&self, body: impl Into<Bytes>) -> Response<Bytes> {
        self.send(post(body)).await
    }

    /// Posts a review, which must be answered by one, and hands back its `response`.
    async fn review(&self, review: &Value) -> Value {
        let answer = self.post(review.to_string()).await;
        response_of(&answer)
    }

    /// What becomes of a pod.
    async fn create(&self, pod: &Value) -> Value {
        self.review(&review_of(pod)).await
    }
}

/// A POST of JSON to the path of the webhook for pods.
fn post(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    post_to("/mutate?timeout=10s", body)
}

/// A POST of JSON.
fn post_to(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("content-type", "application/json")
        .body(Full::new(body.into()))
        .unwrap()
}

/// The `response` of an answered review.
fn response_of(answer: &Response<Bytes>) -> Value {
    assert_eq!(answer.status(), StatusCode::OK, "{:?}", answer.body());
    assert_eq!(answer.headers()["content-type"], "application/json");
    let mut answer: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(answer["kind"], "AdmissionReview");
    answer["response"].take()
}

/// A TLS session to `localhost` at an address.
async fn connect(
    address: SocketAddr,
    client: Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut client = Arc::unwrap_or_clone(client);
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = TcpStream::connect(address).await?;
    let name = "localhost".try_into().unwrap();
    TlsConnector::from(Arc::new(client))
        .connect(name, stream)
        .await
}

/// A pod that asks for a sidecar, with these annotations beside.
fn pod(annotations: &Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "cart",
            "labels": {"app": "cart"},
            "annotations": {"dapr.io/enabled": "true", "dapr.io/app-id": "cart"},
        },
        "spec": {"containers": [{"name": "app", "image": "app"}]},
    });
    let merged = pod["metadata"]["annotations"].as_object_mut().unwrap();
    merged.extend(annotations.as_object().unwrap().clone());
    pod
}

/// The review of a new pod, by a controller of Kubernetes.
fn review_of(pod: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "b4a1c2d3",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "shop",
            "operation": "CREATE",
            "userInfo": {
                "username": "system:serviceaccount:kube-system:replicaset-controller",
                "groups": ["system:serviceaccounts"],
            },
            "object": pod,
            "oldObject": null,
            "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        },
    })
}

/// The operations of a response's patch.
fn patch_of(response: &Value) -> json_patch::Patch {
    assert_eq!(response["allowed"], true, "{response}");
    assert_eq!(response["patchType"], "JSONPatch", "{response}");
    let patch: k8s_openapi::ByteString = serde_json::from_value(response["patch"].clone()).unwrap();
    serde_json::from_slice(&patch.0).unwrap()
}

/// The pod with the response's patch applied.
fn patched(pod: &Value, response: &Value) -> Value {
    let mut pod = pod.clone();
    json_patch::patch(&mut pod, &patch_of(response)).unwrap();
    pod
}

/// The container `daprd` of a pod.
fn sidecar(pod: &Value) -> &Value {
    let containers = pod["spec"]["containers"].as_array().unwrap();
    containers
        .iter()
        .find(|container| container["name"] == "daprd")
        .unwrap()
}

/// The arguments of the sidecar, joined by spaces.
fn arguments(pod: &Value) -> String {
    let arguments = sidecar(pod)["args"].as_array().unwrap();
    let arguments: Vec<&str> = arguments.iter().filter_map(Value::as_str).collect();
    arguments.join(" ")
}
