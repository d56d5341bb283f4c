//! The processes that are measured, and the files they need.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sidegate::testing::certificates::Authority;
use sidegate::testing::eventually::eventually_blocking;

/// The API token of the sidecars.
pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// The folder with every file.
pub(crate) struct Stage {
    dir: tempfile::TempDir,
    program: PathBuf,
    /// Who signed the certificate of both webhooks.
    pub(crate) authority: Authority,
}

/// A process that is killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// From its start until it answered that it is healthy.
    pub(crate) started_in: Duration,
}

impl Stage {
    /// Writes the files for `program`.
    pub(crate) fn new(program: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let issued = authority.issue(&["localhost"]);
        let component = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: store}}\nspec:\n  \
             type: secretstores.local.file\n  version: v1\n  metadata:\n  \
             - {{name: secretsFile, value: {:?}}}\n",
            dir.path().join("secrets.json")
        );
        // A copy, as a container has it: the linker's own output may lie in the page cache in large
        // pieces, which count as resident whole.
        let copy = dir.path().join("sidegate");
        fs::copy(program, &copy).unwrap();
        for folder in ["resources", "run"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        for (name, text) in [
            ("tls.crt", issued.certificate.as_str()),
            ("tls.key", &issued.key),
            ("secrets.json", "{\"password\": \"hunter2\"}"),
            ("resources/store.yaml", &component),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        Self {
            dir,
            program: copy,
            authority,
        }
    }

    /// A sidecar with both tokens, with an app or without.
    pub(crate) fn sidecar(&self, app: Option<SocketAddr>) -> Server {
        self.sidecar_with("resources", app)
    }

    /// A sidecar with stores of Vault and of Kubernetes at these addresses, each with a cache and
    /// without.
    pub(crate) fn sidecar_of_stores(&self, vault: SocketAddr, kubernetes: SocketAddr) -> Server {
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
             clusters: [{{name: c, cluster: {{server: 'http://{kubernetes}', \
             insecure-skip-tls-verify: true}}}}]\nusers: [{{name: u, user: {{}}}}]\n\
             contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n"
        );
        let vault = format!(
            "{{name: vaultAddr, value: 'http://{vault}'}}, {{name: engineVersion, value: '2'}}, \
             {{name: vaultToken, value: t}}"
        );
        let kubernetes = format!(
            "{{name: kubeconfigPath, value: {:?}}}, {{name: defaultNamespace, value: bench}}",
            self.dir.path().join("kubeconfig")
        );
        let mut components = String::new();
        for (name, kind, settings) in [
            ("vault", "hashicorp.vault", vault),
            ("kubernetes", "kubernetes", kubernetes),
        ] {
            for (suffix, cache) in [("", "0"), ("-cached", "1h")] {
                components.push_str(&format!(
                    "apiVersion: dapr.io/v1alpha1\nkind: Component\n\
                     metadata: {{name: {name}{suffix}}}\nspec: {{type: secretstores.{kind}, \
                     version: v1, metadata: [{settings}, {{name: cacheTTL, value: '{cache}'}}]}}\n\
                     ---\n"
                ));
            }
        }
        fs::create_dir(self.dir.path().join("stores")).unwrap();
        fs::write(self.dir.path().join("kubeconfig"), kubeconfig).unwrap();
        fs::write(self.dir.path().join("stores/stores.yaml"), components).unwrap();
        self.sidecar_with("stores", None)
    }

    /// A sidecar that others find under this name. Bodies of any size pass.
    pub(crate) fn sidecar_named(&self, app_id: &str, app: Option<SocketAddr>) -> Server {
        self.start_sidecar("resources", app_id, app)
    }

    /// The sidecar of an app that others call as `callee`.
    pub(crate) fn callee(&self, app: &Server) -> Server {
        self.sidecar_named("callee", Some(app.address))
    }

    fn sidecar_with(&self, resources: &str, app: Option<SocketAddr>) -> Server {
        self.start_sidecar(resources, "bench", app)
    }

    fn start_sidecar(&self, resources: &str, app_id: &str, app: Option<SocketAddr>) -> Server {
        let [http, grpc, metrics] = std::array::from_fn(|_| free_port());
        let mut command = Command::new(&self.program);
        command
            .args(["sidecar", "--max-body-size=2Gi"])
            .arg(format!("--app-id={app_id}"))
            .env("XDG_RUNTIME_DIR", self.file("run"))
            .args([
                "--dapr-listen-addresses=127.0.0.1",
                "--metrics-listen-address=127.0.0.1",
            ])
            .arg(format!("--metrics-port={}", metrics.port()))
            .arg(format!("--dapr-http-port={}", http.port()))
            .arg(format!("--dapr-grpc-port={}", grpc.port()))
            .arg(format!("--resources-path={}", self.file(resources)))
            .env("DAPR_API_TOKEN", TOKEN)
            .env("APP_API_TOKEN", "the app's token");
        if let Some(app) = app {
            command.arg(format!("--app-port={}", app.port()));
        }
        Server::start(command, http, |at| get(at, "/v1.0/healthz"))
    }

    /// A sidecar whose app gets the messages of the topic `orders`: of the component `memory`, and
    /// of `redis` where there is a server.
    pub(crate) fn sidecar_of_messages(&self, app: SocketAddr, redis: Option<SocketAddr>) -> Server {
        let mut documents = String::new();
        let settings = redis.map(|at| format!("{{name: redisHost, value: '{at}'}}"));
        let brokers = [
            ("memory", "in-memory", Some(String::new())),
            ("redis", "redis", settings),
        ];
        for (name, kind, settings) in brokers {
            let Some(settings) = settings else {
                continue;
            };
            documents.push_str(&format!(
                "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\n\
                 spec: {{type: pubsub.{kind}, version: v1, metadata: [{settings}]}}\n---\n\
                 apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata: {{name: {name}}}\n\
                 spec: {{pubsubname: {name}, topic: orders, routes: {{default: /messages}}}}\n---\n"
            ));
        }
        fs::create_dir_all(self.dir.path().join("messages")).unwrap();
        fs::write(self.dir.path().join("messages/messages.yaml"), documents).unwrap();
        self.sidecar_with("messages", Some(app))
    }

    /// A sidecar whose store `redis` keeps state in a server.
    pub(crate) fn sidecar_of_state(&self, redis: SocketAddr) -> Server {
        let component = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: redis}}\n\
             spec: {{type: state.redis, version: v1, \
             metadata: [{{name: redisHost, value: '{redis}'}}]}}\n"
        );
        fs::create_dir(self.dir.path().join("state")).unwrap();
        fs::write(self.dir.path().join("state/redis.yaml"), component).unwrap();
        self.sidecar_with("state", None)
    }

    /// The webhook.
    pub(crate) fn injector(&self) -> Server {
        let [webhook, health, metrics] = std::array::from_fn(|_| free_port());
        let mut command = Command::new(&self.program);
        command
            .args(["injector", "--metrics-listen-address=127.0.0.1"])
            .arg(format!("--metrics-port={}", metrics.port()))
            .args([
                "--listen-address=127.0.0.1",
                "--healthz-listen-address=127.0.0.1",
            ])
            .arg(format!("--port={}", webhook.port()))
            .arg(format!("--healthz-port={}", health.port()))
            .arg(format!("--tls-cert-file={}", self.file("tls.crt")))
            .arg(format!("--tls-key-file={}", self.file("tls.key")));
        Server::start(command, webhook, move |_| get(health, "/healthz"))
    }

    /// The same task done by a bare server with TLS.
    pub(crate) fn bare_reviews(&self) -> Server {
        let files = [self.file("tls.crt"), self.file("tls.key")];
        bare("reviews", &[&files[0], &files[1]])
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }
}

/// A Redis that keeps nothing, where this machine has the program: `REDIS_SERVER`, or one on the
/// path.
pub(crate) fn redis_server() -> Option<Server> {
    let program = std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
    Command::new(&program)
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .ok()?;
    let address = free_port();
    let mut command = Command::new(program);
    command
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(["--port", &address.port().to_string()]);
    let connects = |at| TcpStream::connect(at).ok().map(drop);
    Some(Server::start(command, address, connects))
}

/// One of the bare servers, which are this program itself.
pub(crate) fn bare(name: &str, arguments: &[&str]) -> Server {
    let address = free_port();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["serve", name, &address.port().to_string()])
        .args(arguments);
    Server::start(command, address, |at| TcpStream::connect(at).ok().map(drop))
}

impl Server {
    fn start(
        mut command: Command,
        address: SocketAddr,
        healthy: impl Fn(SocketAddr) -> Option<()>,
    ) -> Self {
        let start = Instant::now();
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().unwrap();
        let mut server = Self {
            child,
            address,
            started_in: Duration::ZERO,
        };
        eventually_blocking("the server is healthy", || {
            assert!(
                server.child.try_wait().unwrap().is_none(),
                "it ended: {command:?}"
            );
            // Asked again at once for a while: the answer is a time of a few milliseconds.
            let asked = Instant::now();
            while asked.elapsed() < Duration::from_secs(1) {
                if healthy(address).is_some() {
                    return Some(());
                }
                std::thread::yield_now();
            }
            None
        });
        server.started_in = start.elapsed();
        server
    }

    /// Resident memory in MiB (`VmRSS` of proc(5)).
    pub(crate) fn resident_mib(&self) -> f64 {
        self.memory_mib("VmRSS:")
    }

    /// The most resident memory so far, in MiB (`VmHWM` of proc(5)).
    pub(crate) fn peak_mib(&self) -> f64 {
        self.memory_mib("VmHWM:")
    }

    fn memory_mib(&self, field: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib: f64 = line
            .unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .unwrap();
        kib / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Success of a GET.
fn get(address: SocketAddr, path: &str) -> Option<()> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).ok()?;
    answer.starts_with(b"HTTP/1.1 20").then_some(())
}

fn free_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}
