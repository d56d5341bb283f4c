//! The whole sidecar as a program of its own, that a test kills and starts again.

use std::net::SocketAddr;
use std::process::Command;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::json;
use sidegate::testing::eventually::eventually;
use sidegate::testing::http_client::{send, try_send};

use crate::servers::Server;

/// A running sidecar. It is killed when it is dropped.
pub(crate) struct Sidecar(Server);

impl Sidecar {
    /// Starts a sidecar of the app `counter` with these resources, as YAML, and waits until it is
    /// ready. Without an address of the app there is none.
    pub(crate) async fn start(app: Option<SocketAddr>, resources: &str) -> Self {
        Self::with_environment(app, resources, &[]).await
    }

    /// The same without an app and with more flags.
    pub(crate) async fn with_flags(resources: &str, flags: &[&str]) -> Self {
        Self::run(None, resources, &[], flags).await
    }

    /// The same with more of an environment.
    pub(crate) async fn with_environment(
        app: Option<SocketAddr>,
        resources: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        Self::run(app, resources, environment, &[]).await
    }

    async fn run(
        app: Option<SocketAddr>,
        resources: &str,
        environment: &[(&str, &str)],
        flags: &[&str],
    ) -> Self {
        let resources = resources.to_owned();
        let flags: Vec<_> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let environment: Vec<_> = environment.iter().map(owned).collect();
        let server = Server::run(move |address, folder| {
            let path = folder.join("resources");
            std::fs::create_dir_all(&path).unwrap();
            std::fs::write(path.join("resources.yaml"), &resources).unwrap();
            let mut command = Command::new(program());
            command
                .args(["sidecar", "--app-id", "counter", "--log-level", "debug"])
                .args(["--dapr-grpc-port", "0", "--metrics-port", "0"])
                .args(["--dapr-http-port", &address.port().to_string()])
                .arg("--resources-path")
                .arg(path)
                .args(&flags)
                .env_clear()
                .envs(environment.iter().map(|(name, value)| (name, value)));
            if let Some(app) = app {
                command.args(["--app-port", &app.port().to_string()]);
            }
            command
        })
        .await;
        let mut sidecar = Self(server);
        sidecar.is_ready().await;
        sidecar
    }

    /// Where its HTTP API is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// What it logged so far.
    pub(crate) fn printed(&self) -> String {
        self.0.printed()
    }

    /// Kills it, without a chance to settle anything.
    pub(crate) fn kill(&mut self) {
        self.0.kill();
    }

    /// Starts it again, and waits until it is ready.
    pub(crate) async fn start_again(&mut self) {
        self.0.start_again().await;
        self.is_ready().await;
    }

    /// Publishes `{"id": ID}` to a topic of the component `pubsub`, and says whether it was
    /// accepted.
    pub(crate) async fn publish(&self, topic: &str, id: u64) -> bool {
        let path = format!("/v1.0/publish/pubsub/{topic}");
        let (status, _) = self.post(&path, &json!({"id": id}).to_string()).await;
        status.is_success()
    }

    /// Publishes several at once in one call; all are accepted or the call has failed.
    pub(crate) async fn publish_bulk(&self, topic: &str, ids: std::ops::Range<u64>) -> bool {
        let entry = |id: u64| {
            let event = json!({"id": id});
            json!({"entryId": id.to_string(), "event": event, "contentType": "application/json"})
        };
        let entries: Vec<_> = ids.map(entry).collect();
        let path = format!("/v1.0-alpha1/publish/bulk/pubsub/{topic}");
        let (status, _) = self.post(&path, &json!(entries).to_string()).await;
        status.is_success()
    }

    /// Asks for a path with a body of JSON.
    pub(crate) async fn post(&self, path: &str, body: &str) -> (StatusCode, String) {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_owned())))
            .unwrap();
        let answer = send(self.0.address(), request).await;
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        (answer.status(), text)
    }

    /// Asks for a path.
    pub(crate) async fn get(&self, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Full::default()).unwrap();
        let answer = send(self.0.address(), request).await;
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        (answer.status(), text)
    }

    async fn is_ready(&mut self) {
        eventually("the sidecar is ready", async || {
            self.0.runs();
            let request = Request::get("/v1.0/healthz/outbound").body(Full::default());
            let answer = try_send(self.0.address(), request.unwrap()).await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }
}

/// The program under test.
pub(crate) fn program() -> std::ffi::OsString {
    std::env::var_os("SIDEGATE").expect("run with tests/brokers.sh")
}
