//! A PostgreSQL of a test's own.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::geteuid;
use sidegate::testing::certificates::{Authority, Issued};
use sidegate::testing::eventually::{eventually, eventually_blocking};
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};

use crate::servers::{Server, installed, program};

/// The account of the database.
const USER: &str = "store";
/// Its password, which is asked for.
pub(crate) const PASSWORD: &str = "hunter2";

/// A server, and the CA of its certificate, which is for `localhost`.
pub(crate) struct PostgresServer {
    /// The server.
    pub(crate) server: Server,
    /// The CA, PEM.
    pub(crate) authority: String,
}

impl PostgresServer {
    /// PostgreSQL that has every commit on its disk before it answers, with a password and TLS.
    pub(crate) async fn start() -> Self {
        let authority = Authority::new();
        let issued = authority.issue(&["localhost"]);
        let server = Server::run(move |address, folder| {
            let data = folder.join("data");
            if data.exists() {
                wait_for_the_end(&data);
            } else {
                initialise(folder, &data, &issued);
            }
            let mut command = unprivileged("postgres");
            command
                .arg("-D")
                .arg(data)
                .args(["-p", &address.port().to_string()])
                .args(["-c", "listen_addresses=127.0.0.1"])
                .args(["-c", "unix_socket_directories="])
                .args(["-c", "max_connections=60", "-c", "ssl=on"])
                // Whoever gives way does so soon.
                .args(["-c", "deadlock_timeout=50ms"]);
            command
        });
        let server = server.await;
        let text = connection_string(server.address(), "").replace("database=", "dbname=");
        eventually("PostgreSQL has started", async || {
            tokio_postgres::connect(&text, NoTls).await.ok().map(drop)
        })
        .await;
        Self {
            server,
            authority: authority.certificate(),
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// A connection of somebody else, with what drives it.
    pub(crate) async fn somebody(&self) -> (Client, JoinSet<()>) {
        let text = self.connection_string("").replace("database=", "dbname=");
        let (client, connection) = tokio_postgres::connect(&text, NoTls).await.unwrap();
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // It ends with the server or with the test.
            let _ = connection.await;
        });
        (client, driver)
    }

    /// The words of a `connectionString`, with more of them.
    pub(crate) fn connection_string(&self, more: &str) -> String {
        connection_string(self.address(), more)
    }
}

/// The words of a `connectionString` to an address, with more of them.
pub(crate) fn connection_string(address: SocketAddr, more: &str) -> String {
    let (host, port) = (address.ip(), address.port());
    format!("host={host} port={port} user={USER} password={PASSWORD} database=postgres {more}")
}

/// One of its programs, which do not run as root. In a namespace of users of its own nobody is
/// root, and still may read what root may.
fn unprivileged(name: &str) -> Command {
    let path = folder_of_programs().join(name);
    if !geteuid().is_root() {
        return program(path.to_str().unwrap());
    }
    let mut command = program("unshare");
    command
        .args(["--user", "--map-user=65534", "--map-group=65534"])
        .arg(path);
    command
}

fn folder_of_programs() -> PathBuf {
    let versions = std::fs::read_dir(installed("usr/lib/postgresql")).unwrap();
    let folders = versions.map(|version| version.unwrap().path().join("bin"));
    folders.max().expect("tests/brokers.sh unpacks PostgreSQL")
}

fn initialise(folder: &Path, data: &Path, issued: &Issued) {
    let password = folder.join("password");
    std::fs::write(&password, PASSWORD).unwrap();
    let output = unprivileged("initdb")
        .arg("-D")
        .arg(data)
        .args(["--auth=scram-sha-256", "--username", USER, "--pwfile"])
        .arg(password)
        .args(["--encoding=UTF8", "--locale=C", "--no-sync"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    for (name, text) in [
        ("server.crt", &issued.certificate),
        ("server.key", &issued.key),
    ] {
        let path = data.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
    }
}

/// Waits until the processes are gone that a killed server started. They end by themselves, and
/// until then no other server may have their data.
fn wait_for_the_end(data: &Path) {
    eventually_blocking("the processes of a killed server end", || {
        let processes = std::fs::read_dir("/proc").unwrap();
        let mut folders = processes
            .filter_map(Result::ok)
            .filter_map(|process| std::fs::read_link(process.path().join("cwd")).ok());
        (!folders.any(|folder| folder == data)).then_some(())
    });
}
