//! Start, readiness, drain and end.

use std::time::Duration;

use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use dapr::dapr::proto::runtime::v1::{GetMetadataRequest, SetMetadataRequest, ShutdownRequest};
use http_body_util::Full;
use serde_json::{Value, json};
use sidegate::cli::sidecar::Ended;
use sidegate::testing::eventually::eventually;
use sidegate::testing::fake_app::FakeApp;
use sidegate::testing::http_client::{send, send_on};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
use tonic::Request;

use super::{Running, TOKEN, bind, request, tcp, unix};

async fn metadata(sidecar: &Running) -> Value {
    let answer = sidecar.get("/v1.0/metadata").await;
    assert_eq!(answer.status(), 200);
    serde_json::from_slice(answer.body()).unwrap()
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_the_address() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    for flag in ["--dapr-http-port", "--dapr-grpc-port", "--metrics-port"] {
        let flag = format!("{flag}={port}");
        let flags = ["--dapr-listen-addresses=127.0.0.1", &flag];
        let error = bind(&flags, &[]).await.err().unwrap();
        let host = if flag.contains("metrics") {
            "0.0.0.0"
        } else {
            "127.0.0.1"
        };
        assert_eq!(error.to_string(), format!("cannot listen on {host}:{port}"));
    }
}

#[tokio::test]
async fn listens_on_loopback_alone_unless_it_is_told_otherwise() {
    let sidecar = Running::start(&[], &[]).await;
    let api = [&sidecar.addresses.http[..], &sidecar.addresses.grpc].concat();
    assert!(!api.is_empty());
    for address in tcp(&api) {
        assert!(address.ip().is_loopback(), "{address}");
    }
}

#[tokio::test]
async fn health_waits_for_the_app_and_outbound_health_does_not() {
    // Bound and not listening: the port stays ours, and connections are refused.
    let app = TcpSocket::new_v4().unwrap();
    app.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = app.local_addr().unwrap().port();
    let flag = format!("--app-port={port}");
    let sidecar = Running::start(&[&flag, "--disable-init-endpoints=config"], &[]).await;
    let answer = send(sidecar.http(), request("GET", "/v1.0/healthz", &[])).await;
    assert_eq!(answer.status(), 500);
    let body: Value = serde_json::from_slice(answer.body()).unwrap();
    let expected = json!({
        "errorCode": "ERR_HEALTH_NOT_READY", "message": "dapr is not ready: [app]"
    });
    assert_eq!(body, expected);
    assert_eq!(
        sidecar.status("GET", "/v1.0/healthz/outbound", &[]).await,
        204
    );
    let _app = app.listen(16).unwrap();
    eventually("the app is found", async || {
        (sidecar.status("GET", "/v1.0/healthz", &[]).await == 204).then_some(())
    })
    .await;
    assert_eq!(
        sidecar.status("GET", "/v1.0/healthz?appid=app", &[]).await,
        204
    );
    assert_eq!(
        sidecar.status("GET", "/v1.0/healthz?appid=b", &[]).await,
        500
    );
}

#[tokio::test]
async fn both_apis_are_served_on_unix_sockets_that_everybody_may_open() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let flag = format!("--unix-domain-socket={}", folder.path().display());
    let sidecar = Running::with_token(&[&flag]).await;
    let (http, grpc) = (unix(&sidecar.addresses.http), unix(&sidecar.addresses.grpc));
    assert_eq!(http, folder.path().join("dapr-app-http.socket"));
    assert_eq!(grpc, folder.path().join("dapr-app-grpc.socket"));
    for path in [&http, &grpc] {
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o666);
    }
    let call = |headers| request("GET", "/v1.0/metadata", headers);
    let stream = UnixStream::connect(&http).await.unwrap();
    assert_eq!(send_on(stream, call(&[])).await.status(), 401);
    let stream = UnixStream::connect(&http).await.unwrap();
    let answer = send_on(stream, call(&[("dapr-api-token", TOKEN)])).await;
    assert_eq!(answer.status(), 200);
    sidecar.stop.cancel();
    sidecar.ended().await.unwrap();
    assert!(!http.exists() && !grpc.exists());
}

#[tokio::test]
async fn metadata_tells_of_the_sidecar_over_http_and_grpc() {
    let flags = [
        "--app-port=1",
        "--app-max-concurrency=7",
        "--enable-app-health-check",
    ];
    let sidecar = Running::with_token(&flags).await;
    let path = "/v1.0/metadata/mine";
    let mut put = request("PUT", path, &[("dapr-api-token", TOKEN)]);
    *put.body_mut() = Full::from("over http");
    assert_eq!(send(sidecar.http(), put).await.status(), 204);
    let mut client = DaprClient::connect(format!("http://{}", sidecar.grpc()))
        .await
        .unwrap();
    let mut set = Request::new(SetMetadataRequest {
        key: "other".to_owned(),
        value: "over grpc".to_owned(),
    });
    set.metadata_mut()
        .insert("dapr-api-token", TOKEN.parse().unwrap());
    client.set_metadata(set).await.unwrap();
    let told = metadata(&sidecar).await;
    assert_eq!(told["id"], "app");
    assert_eq!(told["runtimeVersion"], "1.18.3");
    assert_eq!(told["extended"]["mine"], "over http");
    assert_eq!(told["extended"]["other"], "over grpc");
    assert_eq!(told["extended"]["daprRuntimeVersion"], "1.18.3");
    let app = json!({
        "port": 1, "protocol": "http", "channelAddress": "127.0.0.1", "maxConcurrency": 7,
        "health": {
            "healthCheckPath": "/healthz", "healthProbeInterval": "5s",
            "healthProbeTimeout": "500ms", "healthThreshold": 3
        }
    });
    assert_eq!(told["appConnectionProperties"], app);
    let actors = json!({
        "runtimeStatus": "DISABLED", "hostReady": false, "placement": "placement: disconnected"
    });
    assert_eq!(told["actorRuntime"], actors);
    let mut get = Request::new(GetMetadataRequest {});
    get.metadata_mut()
        .insert("dapr-api-token", TOKEN.parse().unwrap());
    let over_grpc = client.get_metadata(get).await.unwrap().into_inner();
    assert_eq!(over_grpc.id, "app");
    assert_eq!(over_grpc.extended_metadata["mine"], "over http");
    assert_eq!(over_grpc.app_connection_properties.unwrap().port, 1);
}

#[tokio::test]
async fn metadata_warns_of_a_secret_store_without_an_api_token() {
    let folder = tempfile::tempdir().unwrap();
    let store = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: env}\n\
                 spec: {type: secretstores.local.env, version: v1, metadata: []}\n";
    std::fs::write(folder.path().join("env.yaml"), store).unwrap();
    let flag = format!("--resources-path={}", folder.path().display());
    let open = Running::start(&[&flag], &[]).await;
    let told = metadata(&open).await;
    let warning = "secret stores can be read without an API token: set DAPR_API_TOKEN";
    assert_eq!(told["extended"]["sidegateWarnings"], warning);
    assert_eq!(told["components"][0]["name"], "env");
    let closed = Running::with_token(&[&flag]).await;
    let told = metadata(&closed).await;
    assert_eq!(told["extended"]["sidegateWarnings"], Value::Null);
}

#[tokio::test]
async fn the_shutdown_api_drains_over_http_and_grpc() {
    let over_http = Running::with_token(&[]).await;
    let token = [("dapr-api-token", TOKEN)];
    assert_eq!(over_http.status("POST", "/v1.0/shutdown", &[]).await, 401);
    assert_eq!(
        over_http.status("POST", "/v1.0/shutdown", &token).await,
        204
    );
    assert_eq!(over_http.ended().await.unwrap(), Ended::Drained);

    let over_grpc = Running::with_token(&[]).await;
    let address = format!("http://{}", over_grpc.grpc());
    let mut client = DaprClient::connect(address).await.unwrap();
    let mut call = Request::new(ShutdownRequest {});
    assert!(
        client
            .shutdown(Request::new(ShutdownRequest {}))
            .await
            .is_err()
    );
    call.metadata_mut()
        .insert("dapr-api-token", TOKEN.parse().unwrap());
    client.shutdown(call).await.unwrap();
    assert_eq!(over_grpc.ended().await.unwrap(), Ended::Drained);

    let forced = Running::with_token(&[]).await;
    let headers = [token[0], ("dapr-force-shutdown", "true")];
    assert_eq!(forced.status("POST", "/v1.0/shutdown", &headers).await, 204);
    assert_eq!(forced.ended().await.unwrap(), Ended::Forced);
}

#[tokio::test]
async fn a_call_in_flight_is_finished_before_the_end() {
    let (called, mut calls) = tokio::sync::mpsc::channel(1);
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let (app_thread, app_port) = blocking_app(called, released);
    let flag = format!("--app-port={app_port}");
    let flags = [
        &flag,
        "--disable-init-endpoints=config",
        "--dapr-graceful-shutdown-seconds=60",
    ];
    let sidecar = Running::start(&flags, &[]).await;
    let mut stream = TcpStream::connect(sidecar.http()).await.unwrap();
    let call = "GET /v1.0/invoke/app/method/slow HTTP/1.1\r\nhost: a\r\n\r\n";
    stream.write_all(call.as_bytes()).await.unwrap();
    calls.recv().await.unwrap();
    let address = sidecar.http();
    sidecar.stop.cancel();
    eventually("nothing new is accepted", async || {
        TcpStream::connect(address).await.is_err().then_some(())
    })
    .await;
    release.send(()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.ends_with("done"), "{answer}");
    assert_eq!(sidecar.ended().await.unwrap(), Ended::Drained);
    app_thread.join().unwrap();
}

/// An app that answers its first call when it is let, on a thread of its own.
fn blocking_app(
    called: tokio::sync::mpsc::Sender<()>,
    released: std::sync::Mutex<std::sync::mpsc::Receiver<()>>,
) -> (std::thread::JoinHandle<()>, u16) {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        // The sidecar connects once to see whether the app listens.
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            if stream.read(&mut request).unwrap() == 0 {
                continue;
            }
            called.blocking_send(()).unwrap();
            released.lock().unwrap().recv().unwrap();
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone";
            stream.write_all(answer.as_bytes()).unwrap();
            return;
        }
    });
    (thread, port)
}

#[tokio::test]
async fn a_call_that_never_ends_is_cut_when_the_grace_is_over() {
    let sidecar = Running::start(&["--dapr-graceful-shutdown-seconds=0"], &[]).await;
    let mut stream = TcpStream::connect(sidecar.http()).await.unwrap();
    let half = "PUT /v1.0/metadata/a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nab";
    stream.write_all(half.as_bytes()).await.unwrap();
    sidecar.stop.cancel();
    assert_eq!(sidecar.ended().await.unwrap(), Ended::Drained);
}

#[tokio::test]
async fn while_the_end_is_blocked_the_api_goes_on_and_health_says_no() {
    let flags = ["--dapr-block-shutdown-duration=1h"];
    let sidecar = Running::start(&flags, &[]).await;
    sidecar.stop.cancel();
    eventually("health says no", async || {
        (sidecar.status("GET", "/v1.0/healthz", &[]).await == 500).then_some(())
    })
    .await;
    assert_eq!(sidecar.status("GET", "/v1.0/metadata", &[]).await, 200);
    assert_eq!(
        sidecar.status("GET", "/v1.0/healthz/outbound", &[]).await,
        204
    );
}

#[tokio::test]
async fn a_blocked_end_comes_when_its_time_is_up_or_the_app_is_unhealthy() {
    let short = Running::start(&["--dapr-block-shutdown-duration=10ms"], &[]).await;
    short.stop.cancel();
    assert_eq!(short.ended().await.unwrap(), Ended::Drained);

    let app = FakeApp::answering(|_| {
        let mut answer = http::Response::default();
        *answer.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        answer
    })
    .await;
    let port = format!("--app-port={}", app.address().port());
    let flags = [
        &port,
        "--disable-init-endpoints=config",
        "--enable-app-health-check",
        "--app-health-probe-interval=1",
        "--app-health-threshold=1",
        "--dapr-block-shutdown-duration=1h",
    ];
    let sidecar = Running::start(&flags, &[]).await;
    sidecar.stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(60), sidecar.ended());
    assert_eq!(ended.await.unwrap().unwrap(), Ended::Drained);
}
