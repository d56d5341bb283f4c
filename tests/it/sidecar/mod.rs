//! `sidegate sidecar` as a whole, in this process: real flags, real sockets.

mod configuration;
mod door;
mod life;
mod limits;
mod messages;
mod mtls;
mod odd_requests;
mod pipeline;
mod process;
mod siblings;
mod tracing;

use std::net::SocketAddr;
use std::path::PathBuf;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use sidegate::base::environment::Environment;
use sidegate::cli::sidecar::{Addresses, Config, Ended, Sidecar};
use sidegate::process::listener::ListenAddr;
use sidegate::testing::http_client::send;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The token of the API in these tests.
const TOKEN: &str = "t0ken";

/// A sidecar of the app `app`, with every server on a free port.
pub(crate) struct Running {
    addresses: Addresses,
    stop: CancellationToken,
    task: JoinSet<anyhow::Result<Ended>>,
}

impl Running {
    pub(crate) async fn start(flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let sidecar = bind(flags, environment).await.unwrap();
        let (addresses, stop) = (sidecar.addresses().clone(), CancellationToken::new());
        let mut task = JoinSet::new();
        task.spawn(sidecar.run(stop.clone()));
        Self {
            addresses,
            stop,
            task,
        }
    }

    async fn with_token(flags: &[&str]) -> Self {
        Self::start(flags, &[("DAPR_API_TOKEN", TOKEN)]).await
    }

    pub(crate) fn http(&self) -> SocketAddr {
        ipv4(&self.addresses.http)
    }

    pub(crate) fn grpc(&self) -> SocketAddr {
        ipv4(&self.addresses.grpc)
    }

    fn public(&self) -> SocketAddr {
        let address = tcp(&self.addresses.public)[0];
        SocketAddr::new([127, 0, 0, 1].into(), address.port())
    }

    pub(crate) fn metrics(&self) -> SocketAddr {
        let address = tcp(&self.addresses.metrics)[0];
        SocketAddr::new([127, 0, 0, 1].into(), address.port())
    }

    async fn status(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
        let answer = send(self.http(), request(method, path, headers)).await;
        answer.status().as_u16()
    }

    async fn get(&self, path: &str) -> Response<Bytes> {
        let token = [("dapr-api-token", TOKEN)];
        send(self.http(), request("GET", path, &token)).await
    }

    /// How it ended, once it has.
    async fn ended(mut self) -> anyhow::Result<Ended> {
        self.task.join_next().await.unwrap().unwrap()
    }
}

async fn bind(flags: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<Sidecar> {
    let free_ports = [
        "--app-id=app",
        "--dapr-http-port=0",
        "--dapr-grpc-port=0",
        "--dapr-public-port=0",
        "--metrics-port=0",
    ];
    let flags = free_ports.iter().chain(flags).copied();
    let environment = Environment::from_iter(environment.iter().copied());
    Sidecar::bind(Config::parse(flags, &environment)?).await
}

fn tcp(addresses: &[ListenAddr]) -> Vec<SocketAddr> {
    let tcp = addresses.iter().filter_map(|address| match address {
        ListenAddr::Tcp(address) => Some(*address),
        ListenAddr::Unix(_) => None,
    });
    tcp.collect()
}

fn ipv4(addresses: &[ListenAddr]) -> SocketAddr {
    let found = tcp(addresses).into_iter().find(SocketAddr::is_ipv4);
    found.unwrap()
}

fn unix(addresses: &[ListenAddr]) -> PathBuf {
    match &addresses[0] {
        ListenAddr::Unix(path) => path.clone(),
        ListenAddr::Tcp(address) => panic!("{address} is no Unix socket"),
    }
}

fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::default()).unwrap()
}

/// Sends bytes as they stand and reads until the end.
async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}
