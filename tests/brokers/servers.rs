//! Brokers that a test starts, and that end with it. Each can be killed and started again with
//! what it had on its disk.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use sidegate::testing::eventually::eventually;
use sidegate::testing::ports::{free_address, free_port};
use tempfile::TempDir;
use tokio::net::TcpStream;

/// How a server is started: at an address, with a folder of its own.
type Start = Box<dyn Fn(SocketAddr, &Path) -> Command + Send + Sync>;

/// Without the daemon the server would start one that outlives it.
const START_RABBITMQ: &str = "\
epmd -port $ERL_EPMD_PORT &
until epmd -port $ERL_EPMD_PORT -names >/dev/null 2>&1; do sleep 0.02; done
exec \"$0\"";

/// A server. It is killed when it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    folder: TempDir,
    start: Start,
    process: Option<Child>,
}

impl Server {
    /// Redis that has every write on its disk before it answers, and more of its options.
    pub(crate) async fn redis(options: &[&str]) -> Self {
        let options: Vec<_> = options.iter().map(|&option| option.to_owned()).collect();
        Self::run(move |address, folder| {
            let mut command = program("redis-server");
            command
                .args(["--bind", "127.0.0.1", "--appendonly", "yes"])
                .args(["--appendfsync", "always", "--save", "", "--dir"])
                .arg(folder)
                .args(["--port", &address.port().to_string()])
                .args(&options);
            command
        })
        .await
    }

    /// RabbitMQ with the account `guest`, and a daemon of its own that knows Erlang's nodes.
    pub(crate) async fn rabbitmq() -> Self {
        let (daemon, nodes) = (free_port(), free_port());
        Self::run(move |address, folder| {
            let server = installed("usr/lib/rabbitmq/bin/rabbitmq-server");
            let mut command = program("sh");
            command
                .args(["-c", START_RABBITMQ])
                .arg(server)
                .env("ERL_EPMD_PORT", daemon.to_string())
                .env("ERL_EPMD_ADDRESS", "127.0.0.1")
                .env("RABBITMQ_NODENAME", format!("test-{daemon}@localhost"))
                .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
                .env("RABBITMQ_NODE_PORT", address.port().to_string())
                .env("RABBITMQ_DIST_PORT", nodes.to_string())
                .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
                .env("RABBITMQ_CONFIG_FILE", folder.join("none"))
                .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("plugins"))
                .env("RABBITMQ_MNESIA_BASE", folder)
                .env("RABBITMQ_LOG_BASE", folder)
                .env("RABBITMQ_LOGS", "-")
                .env(
                    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                    "-kernel inet_dist_use_interface {127,0,0,1}",
                );
            command
        })
        .await
    }

    /// NATS with JetStream.
    pub(crate) async fn nats() -> Self {
        Self::run(|address, folder| {
            let mut command = program("nats-server");
            command
                .args(["--addr", "127.0.0.1", "--jetstream", "--store_dir"])
                .arg(folder)
                .args(["--port", &address.port().to_string()]);
            command
        })
        .await
    }

    /// Starts a program that listens on a port which it is told, and waits until it does.
    pub(crate) async fn run(
        start: impl Fn(SocketAddr, &Path) -> Command + Send + Sync + 'static,
    ) -> Self {
        let mut server = Self {
            address: free_address(),
            folder: tempfile::tempdir().unwrap(),
            start: Box::new(start),
            process: None,
        };
        server.start_again().await;
        server
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its folder; what it printed is in the file `log`.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it printed so far.
    pub(crate) fn printed(&self) -> String {
        std::fs::read_to_string(self.folder().join("log")).unwrap()
    }

    /// Asserts that it has not ended by itself.
    pub(crate) fn runs(&mut self) {
        let ended = self.process.as_mut().unwrap().try_wait().unwrap();
        assert!(ended.is_none(), "{ended:?}: {}", self.printed());
    }

    /// Kills it and all that it started, without a chance to write anything down.
    pub(crate) fn kill(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        let group = Pid::from_child(&process);
        let _ = kill_process_group(group, Signal::KILL);
        process.wait().unwrap();
    }

    /// Asks it to end, and waits until it has written everything down and is gone.
    pub(crate) async fn stop(&mut self) {
        self.signal(Signal::TERM);
        eventually("the server ends", async || {
            self.process.as_mut().unwrap().try_wait().unwrap()
        })
        .await;
        // What it started besides.
        self.kill();
    }

    /// Stops it in the middle of everything; its connections stay and hang.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after it was frozen.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let group = Pid::from_child(self.process.as_ref().unwrap());
        kill_process_group(group, signal).unwrap();
    }

    /// Starts it at the same address with what is on its disk, and waits until it listens.
    pub(crate) async fn start_again(&mut self) {
        self.kill();
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder().join("log"))
            .unwrap();
        let process = (self.start)(self.address, self.folder())
            .env("HOME", self.folder())
            .current_dir(self.folder())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap();
        self.process = Some(process);
        eventually("the server listens", async || {
            self.runs();
            TcpStream::connect(self.address).await.ok().map(drop)
        })
        .await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            println!("{} printed:\n{}", self.address, self.printed());
        }
    }
}

/// A file of the brokers' packages.
pub(crate) fn installed(path: &str) -> PathBuf {
    let folder = std::env::var_os("BROKER_SERVERS").expect("run with tests/brokers.sh");
    Path::new(&folder).join(path)
}

/// A program that `tests/stores.sh` installed, where it could.
pub(crate) fn installed_for_stores(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("STORE_SERVERS")?;
    Some(Path::new(&folder).join(name)).filter(|program| program.exists())
}

/// A program of the brokers' packages, with the libraries that they bring.
pub(crate) fn program(name: &str) -> Command {
    let programs = installed("usr/bin");
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let found = programs.join(name);
    let mut command = Command::new(if found.exists() { found } else { name.into() });
    command
        .env("PATH", search_path(programs, &inherited))
        .env("LD_LIBRARY_PATH", libraries());
    command
}

fn search_path(first: PathBuf, inherited: &OsString) -> OsString {
    let all = std::iter::once(first).chain(std::env::split_paths(inherited));
    std::env::join_paths(all).unwrap()
}

/// `usr/lib/x86_64-linux-gnu`, or what another machine calls it.
pub(crate) fn libraries() -> OsString {
    let folders = std::fs::read_dir(installed("usr/lib")).unwrap();
    let folders = folders.map(|folder| folder.unwrap().path());
    std::env::join_paths(folders.filter(|folder| folder.to_string_lossy().ends_with("-gnu")))
        .unwrap()
}
