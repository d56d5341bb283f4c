//! The servers to compare with: each does the least that its task can be done with.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path};
use axum::http::{HeaderMap, Request, StatusCode, Uri, header};
use axum::response::IntoResponse;
use axum::routing::{any, get, post};
use futures_util::stream::{self, StreamExt as _};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use redis::AsyncCommands as _;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// What the secret of the comparison answers.
pub(crate) const SECRET: &str = "{\"password\":\"hunter2\"}\n";

/// Serves one of them on a port of this machine, for ever.
pub(crate) async fn serve(arguments: &[&str]) {
    match arguments {
        ["axum", port] => plain(port, secrets()).await,
        ["app", port] => plain(port, app()).await,
        ["bridge", port, redis, app] => bridge(port, redis, app.parse().unwrap()).await,
        ["state", port, redis] => plain(port, state(redis).await).await,
        ["vault", port] => plain(port, vault()).await,
        ["kubernetes", port] => plain(port, kubernetes()).await,
        ["proxy", port, target] => plain(port, proxy(target.parse().unwrap())).await,
        ["reviews", port, certificate, key] => {
            let config = tls(certificate, key);
            let routes = Router::new().route("/mutate", post(echo));
            over_tls(port, routes, config).await;
        }
        other => panic!("no such server: {other:?}"),
    }
}

async fn listen(port: &str) -> TcpListener {
    let address: SocketAddr = (Ipv4Addr::LOCALHOST, port.parse().unwrap()).into();
    TcpListener::bind(address).await.unwrap()
}

async fn plain(port: &str, routes: Router) {
    axum::serve(listen(port).await, routes).await.unwrap();
}

/// An app that greets, counts what it is sent, and begins answers that never end.
fn app() -> Router {
    let sink = |body: Body| async move {
        let mut frames = body.into_data_stream();
        let mut count = 0;
        while let Some(Ok(data)) = frames.next().await {
            count += data.len();
        }
        count.to_string()
    };
    let events = || async {
        let first = stream::once(async { Ok::<_, Infallible>("data: 1\n\n") });
        Body::from_stream(first.chain(stream::pending()))
    };
    let delivered = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&delivered);
    let deliver = move || async move {
        count.fetch_add(1, Ordering::Relaxed);
    };
    Router::new()
        .route(
            "/messages",
            post(deliver)
                .get(move || async move { format!("\n{}", delivered.load(Ordering::Relaxed)) }),
        )
        .route("/sink", post(sink).layer(DefaultBodyLimit::disable()))
        .route("/events", get(events))
        .fallback(any(|| async { "hello\n" }))
}

fn secrets() -> Router {
    let json = || async { ([(header::CONTENT_TYPE, "application/json")], SECRET) };
    Router::new().route("/v1.0/secrets/{store}/{key}", get(json))
}

/// One secret as Vault's KV version 2 answers it. `slow` takes its time; `/reads` counts.
fn vault() -> Router {
    let reads = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&reads);
    let read = move |Path(name): Path<String>| async move {
        reads.fetch_add(1, Ordering::Relaxed);
        if name == "slow" {
            let _ = timeout(Duration::from_millis(500), pending::<()>()).await;
        }
        Json(json!({"data": {"data": {"password": "hunter2"}, "metadata": {"version": 1}}}))
    };
    Router::new()
        .route("/v1/secret/data/dapr/{name}", get(read))
        .route(
            "/v1/auth/token/lookup-self",
            get(|| async { Json(json!({"data": {"ttl": 0, "renewable": false}})) }),
        )
        .route(
            "/reads",
            get(move || async move { count.load(Ordering::Relaxed).to_string() }),
        )
}

/// One Secret as an API server answers it.
fn kubernetes() -> Router {
    let read = |Path(name): Path<String>| async move {
        Json(json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": name, "namespace": "bench", "resourceVersion": "1"},
            "data": {"password": "aHVudGVyMg=="},
        }))
    };
    Router::new().route("/api/v1/namespaces/bench/secrets/{name}", get(read))
}

/// What is posted goes to a stream of Redis, and what is read from the stream goes to the app.
async fn bridge(port: &str, redis: &str, app: SocketAddr) {
    let client = redis::Client::open(format!("redis://{redis}")).unwrap();
    let publishing = client.get_multiplexed_async_connection().await.unwrap();
    let publish = move |body: Bytes| {
        let mut connection = publishing.clone();
        async move {
            let fields = [("data", &body[..])];
            let _: String = connection.xadd("bridge", "*", &fields).await.unwrap();
        }
    };
    let routes = Router::new().route("/publish", post(publish));
    tokio::select! {
        () = plain(port, routes) => {}
        () = deliver(client, app) => {}
    }
}

/// Ten messages at once, each acknowledged when the app has it.
async fn deliver(client: redis::Client, app: SocketAddr) {
    let unlimited = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let reading = client.get_multiplexed_async_connection_with_config(&unlimited);
    let mut reading = reading.await.unwrap();
    let acknowledging = client.get_multiplexed_async_connection().await.unwrap();
    let _: () = reading
        .xgroup_create_mkstream("bridge", "bridge", "0")
        .await
        .unwrap();
    let http: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new()).build_http();
    let uri = Uri::try_from(format!("http://{app}/messages")).unwrap();
    let options = redis::streams::StreamReadOptions::default()
        .group("bridge", "bridge")
        .count(10)
        .block(1000);
    let mut in_flight = JoinSet::new();
    loop {
        let read: redis::streams::StreamReadReply = reading
            .xread_options(&["bridge"], &[">"], &options)
            .await
            .unwrap();
        for message in read.keys.into_iter().flat_map(|key| key.ids) {
            while in_flight.len() >= 10 {
                in_flight.join_next().await;
            }
            let (http, uri, mut connection) = (http.clone(), uri.clone(), acknowledging.clone());
            in_flight.spawn(async move {
                let body = message.get::<Vec<u8>>("data").unwrap();
                let request = Request::post(uri).body(Body::from(body)).unwrap();
                assert!(http.request(request).await.unwrap().status().is_success());
                let _: usize = connection
                    .xack("bridge", "bridge", &[message.id])
                    .await
                    .unwrap();
            });
        }
    }
}

/// Values in hashes of Redis, read and written as they are.
async fn state(redis: &str) -> Router {
    let client = redis::Client::open(format!("redis://{redis}")).unwrap();
    let reading = client.get_multiplexed_async_connection().await.unwrap();
    let writing = reading.clone();
    let read = move |Path(key): Path<String>| {
        let mut connection = reading.clone();
        async move {
            let fields: HashMap<String, Bytes> = connection.hgetall(key).await.unwrap();
            (
                [(header::CONTENT_TYPE, "application/json")],
                fields["data"].clone(),
            )
        }
    };
    let write = move |Json(items): Json<Vec<Value>>| {
        let mut connection = writing.clone();
        async move {
            for item in items {
                let fields = [
                    ("data", item["value"].to_string()),
                    ("version", "1".to_owned()),
                ];
                let key = item["key"].as_str().unwrap();
                let () = connection.hset_multiple(key, &fields).await.unwrap();
            }
            StatusCode::NO_CONTENT
        }
    };
    Router::new()
        .route("/v1.0/state/redis", post(write))
        .route("/v1.0/state/redis/{key}", get(read))
}

/// A reverse proxy of hyper's own client and nothing else.
fn proxy(target: SocketAddr) -> Router {
    let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new()).build_http();
    let forward = move |mut request: Request<Body>| {
        let path = request.uri().path_and_query().unwrap().clone();
        *request.uri_mut() = Uri::builder()
            .scheme("http")
            .authority(target.to_string())
            .path_and_query(path)
            .build()
            .unwrap();
        let client = client.clone();
        async move {
            match client.request(request).await {
                Ok(answer) => answer.into_response(),
                Err(_) => StatusCode::BAD_GATEWAY.into_response(),
            }
        }
    };
    Router::new().fallback(any(forward))
}

/// Parses a review and sends it back.
async fn echo(headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let review: Value = serde_json::from_slice(&body).unwrap();
    let kind = headers.get(header::CONTENT_TYPE).cloned();
    let text = serde_json::to_string(&review).unwrap();
    ([(header::CONTENT_TYPE, kind.unwrap())], text)
}

fn tls(certificate: &str, key: &str) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(certificate).unwrap();
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let config = ServerConfig::builder_with_provider(sidegate::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    Arc::new(config)
}

async fn over_tls(port: &str, routes: Router, config: Arc<ServerConfig>) {
    let listener = listen(port).await;
    let acceptor = TlsAcceptor::from(config);
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (acceptor, routes) = (acceptor.clone(), routes.clone());
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let stream = TokioIo::new(stream);
            let service = TowerToHyperService::new(routes);
            let server = auto::Builder::new(TokioExecutor::new());
            // A client that leaves ends its connection in an error.
            let _ = server.serve_connection(stream, service).await;
        });
    }
}
