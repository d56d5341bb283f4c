//! The store of the cluster's Secrets, against servers that no cluster has on demand: hung, too
//! talkative, forgetful, or not there.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use serde_json::json;
use sidegate::components::catalog::{self, Host};
use sidegate::process::serve::Plain;
use sidegate::testing::contract;
use sidegate::testing::faulty_road::FaultyRoad;
use sidegate::testing::listening::listen;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;

/// An API server that answers as a function does, and the paths that it was asked for.
pub(super) struct FakeServer {
    pub(super) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _task: JoinSet<()>,
}

impl FakeServer {
    pub(super) async fn new(answer: fn(&str, usize) -> (u16, String)) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let service = service_fn(move |request: Request<Incoming>| {
            let path = request.uri().to_string();
            let mut asked = seen.lock().unwrap();
            let (status, body) = answer(&path, asked.len());
            asked.push(path);
            let answer = Response::builder().status(status);
            let answer = answer.body(Full::<Bytes>::from(body)).unwrap();
            async move { Ok::<_, Infallible>(answer) }
        });
        let (address, task) = listen(Plain, service).await;
        Self {
            address,
            asked,
            _task: task,
        }
    }

    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn kubeconfig(address: SocketAddr) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "c", "cluster": {
            // Without a certificate of its own the client would look for those of the system.
            "server": format!("http://{address}"), "insecure-skip-tls-verify": true,
        } }],
        "users": [{ "name": "u", "user": {} }],
        "contexts": [{ "name": "x", "context": { "cluster": "c", "user": "u" } }],
        "current-context": "x",
    })
    .to_string()
}

/// A registry with the built-in store, whose API server is at an address.
pub(super) async fn start_at(files: &Files, address: SocketAddr) -> Started {
    files.write("kubeconfig", &kubeconfig(address));
    let access = Access::Kubeconfig(files.path("kubeconfig"));
    files
        .start_with(|config| {
            config.namespace = Some("own".to_owned());
            config.environment = [("NAMESPACE", "own")].into_iter().collect();
            config.is_kubernetes = true;
            config.has_kubernetes_store = true;
            config.access = access;
            // Only what the store asks for counts here.
            config.reads_cluster = false;
        })
        .await
}

#[tokio::test]
async fn a_way_to_the_server_that_goes_wrong_is_survived() {
    let server = FakeServer::new(|path, _| {
        let secret = json!({ "metadata": { "name": "login" }, "data": { "user": "dQ==" } });
        match path.strip_prefix("/api/v1/namespaces/own/secrets") {
            Some("/login") => (200, secret.to_string()),
            Some("?limit=500") => {
                let list = json!({ "metadata": {}, "items": [secret] });
                (200, list.to_string())
            }
            _ => (404, "{}".to_owned()),
        }
    })
    .await;
    let road = FaultyRoad::to(server.address).await;
    let files = Files::new();
    files.write("kubeconfig", &kubeconfig(road.address()));
    let environment = [("NAMESPACE", "own")].into_iter().collect();
    let access = Access::Kubeconfig(files.path("kubeconfig"));
    let make = async |settings: &[(&str, &str)]| {
        let component = contract::component("secretstores.kubernetes", settings);
        let host = Host {
            environment: &environment,
            cluster: &access,
            app_id: "app",
        };
        let built = catalog::build(&component, host).await.unwrap();
        Arc::clone(built.secret_store().unwrap())
    };
    contract::survives(&road, make, ("login", &[("user", "u")])).await;
}

#[tokio::test]
async fn no_name_reaches_another_url() {
    let server = FakeServer::new(|_, _| (404, "{}".to_owned())).await;
    let files = Files::new();
    let started = start_at(&files, server.address).await;
    let longest = "a".repeat(254);
    for name in [
        "",
        ".",
        "..",
        "../configmaps/x",
        "a/b",
        "a?b",
        "a%2fb",
        "a#b",
        "A",
        "a b",
        "a\n",
        "ä",
        "a_b",
        longest.as_str(),
    ] {
        let answer = started.get("kubernetes", name).await;
        assert_eq!(answer, Err(Reason::SecretNotFound), "{name:?}");
    }
    assert_eq!(server.asked(), Vec::<String>::new());
    let answer = started.get("kubernetes", "a.b-c").await;
    assert_eq!(answer, Err(Reason::SecretNotFound));
    assert_eq!(server.asked(), ["/api/v1/namespaces/own/secrets/a.b-c"]);
}

#[tokio::test]
async fn a_list_that_expires_is_read_anew() {
    let server = FakeServer::new(|_, asked| match asked {
        0 | 2 => {
            let items = json!([{ "metadata": { "name": format!("s{asked}") } }]);
            let page = json!({ "metadata": { "continue": "a+b/=" }, "items": items });
            (200, page.to_string())
        }
        1 => (410, json!({ "message": "too old" }).to_string()),
        _ => (200, json!({ "metadata": {}, "items": [] }).to_string()),
    })
    .await;
    let files = Files::new();
    let started = start_at(&files, server.address).await;
    let all = started.bulk("kubernetes").await;
    assert_eq!(all, Ok(vec!["s2".to_owned()]));
    let first = "/api/v1/namespaces/own/secrets?limit=500";
    let second = format!("{first}&continue=a%2Bb%2F%3D");
    assert_eq!(server.asked(), [first, &second, first, &second]);
}

#[tokio::test]
async fn ten_thousand_secrets_come_in_pages() {
    let server = FakeServer::new(|_, page| {
        let secret = |at: usize| {
            let name = format!("s{:05}", page * 500 + at);
            json!({ "metadata": { "name": name }, "data": { "k": "dg==" } })
        };
        let items: Vec<_> = (0..500).map(secret).collect();
        let metadata = match page {
            19 => json!({}),
            _ => json!({ "continue": page.to_string() }),
        };
        let list = json!({ "metadata": metadata, "items": items });
        (200, list.to_string())
    })
    .await;
    let files = Files::new();
    let started = start_at(&files, server.address).await;
    let all = started.bulk("kubernetes").await.unwrap();
    let expected: Vec<_> = (0..10_000).map(|number| format!("s{number:05}")).collect();
    assert_eq!(all, expected);
    assert_eq!(server.asked().len(), 20);
}

#[tokio::test]
async fn a_list_without_end_is_cut_off() {
    let server = FakeServer::new(|_, _| {
        let page = json!({
            "metadata": { "continue": "c", "padding": "x".repeat(5 << 20) }, "items": [],
        });
        (200, page.to_string())
    })
    .await;
    let files = Files::new();
    let started = start_at(&files, server.address).await;
    let answer = started.bulk("kubernetes").await;
    assert_eq!(answer, Err(Reason::SecretFetch));
    assert_eq!(
        server.asked().len(),
        4,
        "16 MiB are three pages of 5 and a piece"
    );
}

#[tokio::test]
async fn a_server_that_hangs_holds_nobody_else() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let files = Files::new();
    files.file_store(r#"{"k": "v"}"#);
    let started = start_at(&files, silent.local_addr().unwrap()).await;
    let other = async {
        // The call of the other one is on its way.
        let connection = silent.accept().await.unwrap();
        assert_eq!(started.value("file", "k").await.as_deref(), Ok("v"));
        connection
    };
    let (hung, _connection) = tokio::join!(started.get("kubernetes", "x"), other);
    assert_eq!(hung, Err(Reason::SecretFetch));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_failure_of_the_store() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let files = Files::new();
    let started = start_at(&files, address).await;
    assert_eq!(started.components(), ["kubernetes"]);
    let answer = started.get("kubernetes", "x").await;
    assert_eq!(answer, Err(Reason::SecretFetch));
}

#[tokio::test]
async fn without_a_token_the_sidecar_starts_and_tells_why_the_store_did_not() {
    let files = Files::new();
    files.file_store(r#"{"k": "v"}"#);
    let started = files
        .start_with(|config| {
            config.is_kubernetes = true;
            config.has_kubernetes_store = true;
        })
        .await;
    assert_eq!(started.components(), ["file"]);
    let failures = started.failures();
    assert_eq!(failures.len(), 1);
    let cause = "the pod's service account cannot be used (is automountServiceAccountToken false";
    assert!(failures[0].contains(cause), "{failures:?}");
    let answer = started.get("kubernetes", "x").await;
    assert_eq!(answer, Err(Reason::SecretStoreNotFound));
    assert_eq!(
        started.message("kubernetes", "x").await,
        "failed finding secret store with key kubernetes: it is defined, but could not be loaded"
    );
}
