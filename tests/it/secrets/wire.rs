//! The secrets API of a whole sidecar, over HTTP and gRPC.

use std::collections::HashMap;
use std::net::SocketAddr;

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use dapr::dapr::proto::runtime::v1::{
    GetBulkSecretRequest, GetMetadataRequest, GetMetadataResponse, GetSecretRequest,
};
use http::{Request, Response};
use http_body_util::Full;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use sidegate::cli::sidecar::{Config, Sidecar};
use sidegate::process::listener::ListenAddr;
use sidegate::testing::http_client::send;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::*;

pub(super) struct Serving {
    pub(super) http: SocketAddr,
    grpc: SocketAddr,
    metrics: SocketAddr,
    stop: CancellationToken,
    running: JoinSet<()>,
}

/// Starts a sidecar over the resources; `config.yaml` is used where it is there.
pub(super) async fn serve(files: &Files) -> Serving {
    let mut arguments = vec![
        "--app-id=app".to_owned(),
        "--dapr-listen-addresses=127.0.0.1".to_owned(),
        "--metrics-listen-address=127.0.0.1".to_owned(),
    ];
    for port in ["dapr-http-port", "dapr-grpc-port", "metrics-port"] {
        arguments.push(format!("--{port}=0"));
    }
    let resources = files.path("resources");
    arguments.push(format!("--resources-path={}", resources.display()));
    let config = files.path("config.yaml");
    if config.exists() {
        arguments.push(format!("--config={}", config.display()));
    }
    let config = Config::parse(arguments, &Environment::default()).unwrap();
    let sidecar = Sidecar::bind(config).await.unwrap();
    let local = |address: &ListenAddr| match address {
        ListenAddr::Tcp(address) => *address,
        ListenAddr::Unix(_) => unreachable!("no socket folder was given"),
    };
    let http = local(&sidecar.addresses().http[0]);
    let grpc = local(&sidecar.addresses().grpc[0]);
    let metrics = local(&sidecar.addresses().metrics[0]);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let mut running = JoinSet::new();
    running.spawn(async move {
        sidecar.run(stopped).await.unwrap();
    });
    Serving {
        http,
        grpc,
        metrics,
        stop,
        running,
    }
}

impl Serving {
    async fn call(&self, path: &str, body: &'static str) -> Response<Bytes> {
        let request = Request::get(format!("/v1.0/secrets/{path}"));
        let request = request.body(Full::from(body)).unwrap();
        send(self.http, request).await
    }

    /// Status and body.
    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.call(path, "").await;
        let body = String::from_utf8(answer.body().to_vec()).unwrap();
        (answer.status().as_u16(), body)
    }

    async fn client(&self) -> DaprClient<Channel> {
        let address = format!("http://{}", self.grpc);
        DaprClient::connect(address).await.unwrap()
    }

    async fn get_secret(&self, store: &str, key: &str) -> Result<HashMap<String, String>, Status> {
        let request = GetSecretRequest {
            store_name: store.to_owned(),
            key: key.to_owned(),
            metadata: HashMap::new(),
        };
        let answer = self.client().await.get_secret(request).await?;
        Ok(answer.into_inner().data)
    }

    pub(super) async fn metadata(&self) -> GetMetadataResponse {
        let mut client = self.client().await;
        let answer = client.get_metadata(GetMetadataRequest {}).await;
        answer.unwrap().into_inner()
    }

    pub(super) async fn end(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.running.join_next().await {
            ended.unwrap();
        }
    }
}

fn failure(code: &str, message: &str) -> String {
    format!(r#"{{"errorCode":"{code}","message":"{message}"}}"#)
}

/// A store with the secrets `a`, `b` and `bulk`, of which `b` is denied; `closed` is denied whole.
fn scoped() -> Files {
    let files = Files::new();
    files.file_store(r#"{"b": "2", "a": "<1>", "bulk": "3"}"#);
    let closed = local_file("closed", &files.path("secrets.json"), "");
    files.resource("closed.yaml", &closed);
    let entries = "    - storeName: file\n      deniedSecrets: [b]\n    - storeName: closed\n      \
                   defaultAccess: deny\n";
    files.write("config.yaml", &scopes(entries));
    files
}

#[tokio::test]
async fn http_answers_as_the_public_reference_says() {
    let serving = serve(&scoped()).await;
    let missing = "failed finding secret store with key nope";
    let denied = r#"access denied by policy to get \"b\" from \"file\""#;
    let all_denied = r#"access denied by policy to get any secret from \"closed\""#;
    for (path, status, body) in [
        ("file/a", 200, r#"{"a":"<1>"}"#.to_owned()),
        ("file/a/", 200, r#"{"a":"<1>"}"#.to_owned()),
        (
            "file/a?metadata.version_id=1&x=%zz",
            200,
            r#"{"a":"<1>"}"#.to_owned(),
        ),
        (
            "file/bulk",
            200,
            r#"{"a":{"a":"<1>"},"bulk":{"bulk":"3"}}"#.to_owned(),
        ),
        ("file/unknown", 204, String::new()),
        (
            "nope/a",
            400,
            failure("ERR_SECRET_STORE_NOT_FOUND", missing),
        ),
        (
            "nope/bulk",
            400,
            failure("ERR_SECRET_STORE_NOT_FOUND", missing),
        ),
        ("file/b", 403, failure("ERR_PERMISSION_DENIED", denied)),
        ("file/%62", 403, failure("ERR_PERMISSION_DENIED", denied)),
        (
            "closed/bulk",
            403,
            failure("ERR_PERMISSION_DENIED", all_denied),
        ),
    ] {
        assert_eq!(serving.get(path).await, (status, body), "{path}");
    }
    let answer = serving.call("file/a", "").await;
    assert_eq!(answer.headers()["content-type"], "application/json");
    serving.end().await;
}

#[tokio::test]
async fn http_without_any_store_is_a_failure() {
    let serving = serve(&Files::new()).await;
    let body = failure(
        "ERR_SECRET_STORES_NOT_CONFIGURED",
        "secret store is not configured",
    );
    for path in ["file/a", "file/bulk"] {
        assert_eq!(serving.get(path).await, (500, body.clone()), "{path}");
    }
    serving.end().await;
}

#[tokio::test]
async fn http_reads_a_body_only_to_refuse_a_malformed_one() {
    let serving = serve(&scoped()).await;
    for (body, status) in [
        (r#"{"store_name": "nope", "key": "b", "other": [1]}"#, 200),
        ("{}", 200),
        ("{", 400),
        ("[]", 400),
        ("a", 400),
    ] {
        let answer = serving.call("file/a", body).await;
        assert_eq!(answer.status(), status, "{body}");
        if status == 400 {
            let text = "failed deserializing HTTP body: it is not a JSON object";
            let expected = failure("ERR_MALFORMED_REQUEST", text);
            assert_eq!(answer.body(), expected.as_bytes());
        }
    }
    serving.end().await;
}

#[tokio::test]
async fn names_in_paths_are_decoded_once() {
    let files = Files::new();
    files.write(
        "s.json",
        r#"{"a/b": "1", "a b": "2", "a+b": "3", "%41": "4", "ä": "5"}"#,
    );
    let store = local_file("my store", &files.path("s.json"), "");
    let serving = serve(files.resource("s.yaml", &store)).await;
    for (key, value) in [
        ("a%2Fb", r#"{"a/b":"1"}"#),
        ("a%20b", r#"{"a b":"2"}"#),
        ("a+b", r#"{"a+b":"3"}"#),
        ("a%2Bb", r#"{"a+b":"3"}"#),
        ("%2541", r#"{"%41":"4"}"#),
        ("%C3%A4", r#"{"ä":"5"}"#),
    ] {
        let answer = serving.get(&format!("my%20store/{key}")).await;
        assert_eq!(answer, (200, value.to_owned()), "{key}");
    }
    assert_eq!(serving.get("my%20store/%FF").await.0, 400);
    serving.end().await;
}

/// The bytes of a text, each as an escape.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn any_name_comes_through() {
    let mut runner = TestRunner::deterministic();
    let names = proptest::collection::btree_set("\\PC{1,12}", 100);
    let names = names.new_tree(&mut runner).unwrap().current();
    let secrets: BTreeMap<&String, &String> = names.iter().map(|name| (name, name)).collect();
    let files = Files::new();
    files.write("s.json", &serde_json::to_string(&secrets).unwrap());
    let separator = "  - name: nestedSeparator\n    value: no name has this\n";
    let store = local_file("'1 $&+,:;=?@#|*[]{}<>'", &files.path("s.json"), separator);
    let serving = serve(files.resource("s.yaml", &store)).await;
    let store = "1 $&+,:;=?@#|*[]{}<>";
    for name in names {
        let (status, body) = serving
            .get(&format!("{}/{}", escaped(store), escaped(&name)))
            .await;
        assert_eq!(status, 200, "{name:?}");
        let expected = serde_json::json!({ name.clone(): name });
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body, expected);
        assert_eq!(serving.get_secret(store, &name).await.unwrap()[&name], name);
    }
    serving.end().await;
}

#[tokio::test]
async fn reads_are_counted_by_store_operation_and_success() {
    let serving = serve(&scoped()).await;
    for path in ["file/a", "file/unknown", "file/bulk", "file/b"] {
        serving.get(path).await;
    }
    let request = Request::get("/metrics").body(Full::default()).unwrap();
    let metrics = send(serving.metrics, request).await;
    let metrics = String::from_utf8(metrics.body().to_vec()).unwrap();
    let has = |name: &str, labels: &[&str]| {
        metrics.lines().any(|line| {
            let labels = labels.iter();
            line.starts_with(name) && labels.into_iter().all(|label| line.contains(label))
        })
    };
    let file = "component=\"file\"";
    let succeeded = "success=\"true\"";
    for operation in ["operation=\"get\"", "operation=\"bulk_get\""] {
        let labels = [file, "namespace=\"\"", operation, succeeded];
        assert!(has("dapr_component_secret_count{", &labels), "{metrics}");
        assert!(
            has("dapr_component_secret_latencies_bucket{", &labels),
            "{metrics}"
        );
    }
    let labels = ["component=\"secretstores.local.file\""];
    assert!(has("dapr_runtime_component_loaded{", &labels), "{metrics}");
    assert!(
        has("dapr_runtime_component_init_total{", &labels),
        "{metrics}"
    );
    serving.end().await;
}

#[tokio::test]
async fn grpc_answers_with_the_codes_of_the_same_reasons() {
    let serving = serve(&scoped()).await;
    let secret = serving.get_secret("file", "a").await.unwrap();
    assert_eq!(secret, HashMap::from([("a".to_owned(), "<1>".to_owned())]));
    // Over HTTP this name is the route of the bulk read.
    assert_eq!(
        serving.get_secret("file", "bulk").await.unwrap()["bulk"],
        "3"
    );
    for (store, key, code) in [
        ("file", "unknown", Code::NotFound),
        ("nope", "a", Code::InvalidArgument),
        ("file", "b", Code::PermissionDenied),
        ("closed", "a", Code::PermissionDenied),
    ] {
        let status = serving.get_secret(store, key).await.unwrap_err();
        assert_eq!(status.code(), code, "{store}/{key}");
    }
    let bulk = |store: &str| GetBulkSecretRequest {
        store_name: store.to_owned(),
        metadata: HashMap::new(),
    };
    let mut client = serving.client().await;
    let answer = client.get_bulk_secret(bulk("file")).await.unwrap();
    let data = answer.into_inner().data;
    assert_eq!(data.len(), 2);
    assert_eq!(data["a"].secrets["a"], "<1>");
    let status = client.get_bulk_secret(bulk("closed")).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    drop(client);
    serving.end().await;
    let serving = serve(&Files::new()).await;
    let status = serving.get_secret("file", "a").await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.message(), "secret store is not configured");
    serving.end().await;
}
