//! One API server for all tests of the process: etcd and kube-apiserver, RBAC on, no node and no
//! controllers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Api, ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use sidegate::testing::certificates::Authority;
use sidegate::testing::eventually::eventually;
use sidegate::testing::ports::free_port;
use tokio::sync::OnceCell;

/// Starts both servers, and ends them with its standard input, which closes when the tests end, in
/// whatever way they do.
const SUPERVISOR: &str = r#"
"$BIN/etcd" --name=test --data-dir="$DIR/etcd" --unsafe-no-fsync \
    --listen-client-urls="$ETCD" --advertise-client-urls="$ETCD" \
    --listen-peer-urls="$PEER" --initial-advertise-peer-urls="$PEER" \
    --initial-cluster=test="$PEER" >"$DIR/etcd.log" 2>&1 &
etcd=$!
"$BIN/kube-apiserver" --etcd-servers="$ETCD" --bind-address=127.0.0.1 --secure-port="$PORT" \
    --advertise-address=127.0.0.1 --service-cluster-ip-range=10.96.0.0/24 \
    --tls-cert-file="$DIR/tls.crt" --tls-private-key-file="$DIR/tls.key" \
    --token-auth-file="$DIR/tokens.csv" --authorization-mode=RBAC --anonymous-auth=false \
    --disable-admission-plugins=ServiceAccount --allow-privileged=true --profiling=false \
    --service-account-issuer=https://kubernetes.default.svc \
    --service-account-key-file="$DIR/tls.crt" --service-account-signing-key-file="$DIR/tls.key" \
    >"$DIR/kube-apiserver.log" 2>&1 &
server=$!
read -r _
kill -9 $server $etcd 2>/dev/null
wait
rm -rf "$DIR"
"#;

/// The token of a member of `system:masters`.
const ADMIN_TOKEN: &str = "admin-of-the-tests";

static SHARED: OnceCell<ApiServer> = OnceCell::const_new();
static NAMES: AtomicUsize = AtomicUsize::new(0);

/// A running API server.
pub(crate) struct ApiServer {
    dir: PathBuf,
    bin: PathBuf,
    url: String,
    _supervisor: ChildStdin,
}

impl ApiServer {
    /// The server of this process, ready.
    pub(crate) async fn shared() -> &'static Self {
        let server = SHARED.get_or_init(|| async { Self::start() }).await;
        server.ready().await;
        server
    }

    /// A server of the test's own, ready, without the kinds that other tests install.
    pub(crate) async fn bare() -> &'static Self {
        let server: &'static Self = Box::leak(Box::new(Self::start()));
        server.ready().await;
        server
    }

    async fn ready(&self) {
        let client = self.client().await;
        eventually("the API server is ready", async || {
            let ready = http::Request::get("/readyz").body(Vec::new()).unwrap();
            self.check_that_it_runs();
            client.request_text(ready).await.ok()
        })
        .await;
    }

    fn check_that_it_runs(&self) {
        let log = fs::read_to_string(self.dir.join("kube-apiserver.log")).unwrap_or_default();
        let failure = log.lines().find(|line| line.contains("command failed"));
        assert!(failure.is_none(), "{}", failure.unwrap_or_default());
    }

    #[expect(
        clippy::zombie_processes,
        reason = "the supervisor outlives the tests by a moment"
    )]
    fn start() -> Self {
        let bin = binaries();
        let dir = tempfile::Builder::new().prefix("sidegate-api-").tempdir();
        let dir = dir.unwrap().keep();
        let [etcd, peer, port] = [(); 3].map(|()| free_port());
        let url = format!("https://127.0.0.1:{port}");
        write_credentials(&dir, &url);
        let mut supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR])
            .env("BIN", &bin)
            .env("DIR", &dir)
            .env("ETCD", format!("http://127.0.0.1:{etcd}"))
            .env("PEER", format!("http://127.0.0.1:{peer}"))
            .env("PORT", port.to_string())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = supervisor.stdin.take().unwrap();
        Self {
            dir,
            bin,
            url,
            _supervisor: stdin,
        }
    }

    /// The folder of `kubectl`.
    pub(crate) fn programs(&self) -> &Path {
        &self.bin
    }

    /// Where it listens.
    pub(crate) fn authority(&self) -> &str {
        self.url.trim_start_matches("https://")
    }

    /// The kubeconfig file of a member of `system:masters`.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.dir.join("admin.kubeconfig")
    }

    /// A client of a member of `system:masters`, for the runtime of this test.
    pub(crate) async fn client(&self) -> kube::Client {
        client(&self.kubeconfig(), None).await
    }

    /// A client of somebody else, such as `system:serviceaccount:NAMESPACE:NAME`.
    pub(crate) async fn client_as(&self, user: &str) -> kube::Client {
        client(&self.kubeconfig(), Some(user)).await
    }

    /// A new namespace with the service account `default`; its name begins with `prefix`.
    pub(crate) async fn namespace(&self, prefix: &str) -> String {
        let number = NAMES.fetch_add(1, Ordering::Relaxed);
        let name = format!("{prefix}-{number}");
        let client = self.client().await;
        let namespace = Namespace {
            metadata: named(&name),
            ..Namespace::default()
        };
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let created = namespaces.create(&PostParams::default(), &namespace).await;
        created.unwrap();
        self.service_account(&name, "default").await;
        name
    }

    /// Makes a service account.
    pub(crate) async fn service_account(&self, namespace: &str, name: &str) {
        let account = ServiceAccount {
            metadata: named(name),
            ..ServiceAccount::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await, namespace);
        let created = accounts.create(&PostParams::default(), &account).await;
        created.unwrap();
    }

    /// A kubeconfig file with a token of a service account, whose namespace is the context's.
    pub(crate) async fn kubeconfig_of(&self, namespace: &str, account: &str) -> PathBuf {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await, namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec!["https://kubernetes.default.svc".to_owned()],
                expiration_seconds: Some(3600),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(account, &PostParams::default(), &request)
            .await;
        let token = answer.unwrap().status.unwrap().token;
        let path = self.dir.join(format!("{namespace}-{account}.kubeconfig"));
        write_kubeconfig(&path, &self.dir, &self.url, namespace, &token);
        path
    }

    /// Whether kubectl succeeds as a member of `system:masters`.
    pub(crate) fn succeeds(&self, arguments: &[&str]) -> bool {
        let mut command = Command::new(self.bin.join("kubectl"));
        command.arg("--kubeconfig").arg(self.kubeconfig());
        let output = command.args(arguments).output();
        output.unwrap().status.success()
    }

    /// Runs kubectl as a member of `system:masters`; its standard output.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        self.kubectl_with_warnings(arguments).0
    }

    /// The same, with the standard error.
    pub(crate) fn kubectl_with_warnings(&self, arguments: &[&str]) -> (String, String) {
        let output = Command::new(self.bin.join("kubectl"))
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .args(arguments)
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "kubectl {arguments:?}: {error}");
        (String::from_utf8(output.stdout).unwrap(), error)
    }
}

/// An object's metadata with a name.
pub(crate) fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    }
}

async fn client(kubeconfig: &Path, user: Option<&str>) -> kube::Client {
    let file = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(file, &options).await;
    let mut config = config.unwrap();
    config.auth_info.impersonate = user.map(str::to_owned);
    config.connect_timeout = Some(Duration::from_secs(5));
    kube::Client::try_from(config).unwrap()
}

/// The folder of the programs: `SIDEGATE_CLUSTER_BIN`, else where `make test` puts them.
pub(crate) fn binaries() -> PathBuf {
    if let Some(folder) = std::env::var_os("SIDEGATE_CLUSTER_BIN") {
        return folder.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(std::env::home_dir()?.join(".cache")));
    cache.unwrap().join("sidegate/cluster/bin")
}

fn write_credentials(dir: &Path, url: &str) {
    let authority = Authority::new();
    let server = authority.issue(&["127.0.0.1", "localhost"]);
    fs::write(dir.join("ca.crt"), authority.certificate()).unwrap();
    fs::write(dir.join("tls.crt"), server.certificate).unwrap();
    fs::write(dir.join("tls.key"), server.key).unwrap();
    let tokens = format!("{ADMIN_TOKEN},admin,admin,system:masters\n");
    fs::write(dir.join("tokens.csv"), tokens).unwrap();
    let admin = dir.join("admin.kubeconfig");
    write_kubeconfig(&admin, dir, url, "default", ADMIN_TOKEN);
}

fn write_kubeconfig(path: &Path, dir: &Path, url: &str, namespace: &str, token: &str) {
    let ca = dir.join("ca.crt");
    let kubeconfig = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "test",
            "cluster": { "server": url, "certificate-authority": ca },
        }],
        "users": [{ "name": "test", "user": { "token": token } }],
        "contexts": [{
            "name": "test",
            "context": { "cluster": "test", "user": "test", "namespace": namespace },
        }],
        "current-context": "test",
    });
    fs::write(path, kubeconfig.to_string()).unwrap();
}
