//! Servers that a test starts, and that end with it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use sidegate::testing::eventually::eventually;
use sidegate::testing::ports::free_address;
use tempfile::TempDir;
use tokio::net::TcpStream;

/// The root token of [`Bao`].
pub(crate) const ROOT_TOKEN: &str = "root-of-a-test";

/// A program that `tests/stores.sh` installed.
pub(crate) fn program(name: &str) -> PathBuf {
    let folder = std::env::var_os("STORE_SERVERS").expect("run with tests/stores.sh");
    PathBuf::from(folder).join(name)
}

/// A running server. It is killed when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl Server {
    /// Starts a program that listens on a port which it is told, and waits until it does.
    pub(crate) async fn start(command: impl FnOnce(SocketAddr, &TempDir) -> Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start_at(free_address(), folder, command).await
    }

    /// The same at an address and in a folder that were a server's before.
    pub(crate) async fn start_at(
        address: SocketAddr,
        folder: TempDir,
        command: impl FnOnce(SocketAddr, &TempDir) -> Command,
    ) -> Self {
        let mut command = command(address, &folder);
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Self {
            address,
            child,
            folder,
        };
        eventually("the server listens", async || {
            TcpStream::connect(server.address).await.ok().map(drop)
        })
        .await;
        server
    }

    /// Its folder; what it printed is in the file `log`.
    pub(crate) fn folder(&self) -> &TempDir {
        &self.folder
    }

    /// Kills it. Its folder is for a server after it.
    pub(crate) fn stop(mut self) -> TempDir {
        let nothing = TempDir::new().unwrap();
        std::mem::replace(&mut self.folder, nothing)
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// OpenBao in its development mode: unsealed, in memory, KV version 2 at `secret`.
pub(crate) async fn bao() -> Server {
    Server::start(|address, folder| {
        let mut command = Command::new(program("bao"));
        command
            .args(["server", "-dev", "-dev-no-store-token"])
            .arg(format!("-dev-root-token-id={ROOT_TOKEN}"))
            .arg(format!("-dev-listen-address={address}"))
            .env("HOME", folder.path());
        command
    })
    .await
}

/// A server that speaks AWS's APIs, with an account of its own.
pub(crate) async fn aws() -> Server {
    Server::start(|address, folder| {
        let mut command = Command::new(program("moto_server"));
        command
            .args(["--host", "127.0.0.1", "--port"])
            .arg(address.port().to_string())
            .env("HOME", folder.path());
        command
    })
    .await
}
