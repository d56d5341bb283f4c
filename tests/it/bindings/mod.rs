//! Bindings of a whole sidecar: real flags, files and sockets, apps that speak HTTP and gRPC.

mod cron;
mod grpc_app;
mod input;
#[cfg(feature = "remote")]
mod output;
mod state;

use std::net::SocketAddr;
use std::path::PathBuf;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use sidegate::base::environment::Environment;
use sidegate::cli::sidecar::{Config, Ended, Sidecar};
use sidegate::process::listener::ListenAddr;
use sidegate::testing::http_client::send;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A folder of resources.
struct Resources(TempDir);

impl Resources {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a resource in one rename, as editors and the kubelet do.
    fn write(&self, name: &str, text: &str) -> &Self {
        let temporary = self.path("being written");
        std::fs::write(&temporary, text).unwrap();
        std::fs::rename(temporary, self.path(name)).unwrap();
        self
    }

    /// A component in a file of its own.
    fn component(&self, name: &str, component_type: &str, settings: &[(&str, &str)]) -> &Self {
        let mut text = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: {name}\nspec:\n  \
             type: {component_type}\n  version: v1\n  metadata:\n"
        );
        for (name, value) in settings {
            text.push_str(&format!("  - name: {name}\n    value: {value:?}\n"));
        }
        self.write(&format!("{name}.yaml"), &text)
    }

    fn cron(&self, name: &str, settings: &[(&str, &str)]) -> &Self {
        let mut all = vec![("schedule", "@every 1s")];
        all.extend(settings);
        self.component(name, "bindings.cron", &all)
    }

    /// A policy that tries calls of a component twice again.
    fn retry_twice(&self, component: &str, direction: &str) -> &Self {
        let text = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata:\n  name: r\nspec:\n  \
             policies:\n    retries:\n      twice: {{policy: constant, duration: 1ms, \
             maxRetries: 2}}\n  targets:\n    components:\n      {component}:\n        \
             {direction}:\n          retry: twice\n"
        );
        self.write("resiliency.yaml", &text)
    }

    /// A sidecar of the app at `app`.
    async fn start(&self, app: SocketAddr, flags: &[&str], variables: &[(&str, &str)]) -> Running {
        let port = format!("--app-port={}", app.port());
        let folder = format!("--resources-path={}", self.0.path().display());
        let own = [
            "--app-id=app",
            "--dapr-http-port=0",
            "--dapr-grpc-port=0",
            "--metrics-port=0",
            &port,
            &folder,
        ];
        let environment = Environment::from_iter(variables.iter().copied());
        let flags = own.iter().chain(flags).copied();
        let sidecar = Sidecar::bind(Config::parse(flags, &environment).unwrap());
        let sidecar = sidecar.await.unwrap();
        let (addresses, stop) = (sidecar.addresses().clone(), CancellationToken::new());
        let mut task = JoinSet::new();
        task.spawn(sidecar.run(stop.clone()));
        Running {
            http: ipv4(&addresses.http),
            grpc: ipv4(&addresses.grpc),
            metrics: SocketAddr::new([127, 0, 0, 1].into(), ipv4(&addresses.metrics).port()),
            stop,
            task,
        }
    }
}

/// A sidecar that runs.
struct Running {
    http: SocketAddr,
    grpc: SocketAddr,
    metrics: SocketAddr,
    stop: CancellationToken,
    task: JoinSet<anyhow::Result<Ended>>,
}

impl Running {
    /// The values of the metrics with this name.
    async fn metrics(&self, name: &str) -> Vec<String> {
        let request = Request::get("/metrics").body(Full::<Bytes>::default());
        let page = send(self.metrics, request.unwrap()).await.into_body();
        let page = String::from_utf8(page.to_vec()).unwrap();
        let lines = page.lines().filter(|line| line.starts_with(name));
        lines.map(str::to_owned).collect()
    }

    async fn post(&self, path: &str, body: &str) -> Response<Bytes> {
        let request = Request::post(path).body(Full::from(body.to_owned()));
        send(self.http, request.unwrap()).await
    }

    /// How it ended, once it has.
    async fn ended(mut self) -> anyhow::Result<Ended> {
        self.task.join_next().await.unwrap().unwrap()
    }
}

fn ipv4(addresses: &[ListenAddr]) -> SocketAddr {
    let tcp = addresses.iter().filter_map(|address| match address {
        ListenAddr::Tcp(address) => Some(*address),
        ListenAddr::Unix(_) => None,
    });
    let mut ipv4 = tcp.filter(SocketAddr::is_ipv4);
    ipv4.next().unwrap()
}
