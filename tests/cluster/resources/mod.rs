//! A sidecar that reads the resources of its namespace from the cluster.

mod components;
mod connection;
mod rights;
mod rules;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use sidegate::base::environment::Environment;
use sidegate::cli::sidecar::{Config, Ended, Sidecar};
use sidegate::process::listener::ListenAddr;
use sidegate::process::tasks::with_causes;
use sidegate::testing::eventually::eventually;
use sidegate::testing::http_client::send;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api_server::ApiServer;
use crate::crds;

/// What the sidecars of the tests may do, where a test does not say otherwise.
const VERBS: &[&str] = &["list", "watch"];

/// A namespace with a service account, whose sidecars the test starts.
struct Namespace {
    server: &'static ApiServer,
    name: String,
    dir: TempDir,
}

impl Namespace {
    /// One whose service account may read every resource.
    async fn new(prefix: &str) -> Self {
        let namespace = Self::without_rights(prefix).await;
        namespace.grant_all(VERBS).await;
        namespace
    }

    async fn without_rights(prefix: &str) -> Self {
        let server = ApiServer::shared().await;
        crds::install(server).await;
        Self::on(server, prefix).await
    }

    async fn on(server: &'static ApiServer, prefix: &str) -> Self {
        Self {
            server,
            name: server.namespace(prefix).await,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// Gives the service account these verbs on every kind that has an effect.
    async fn grant_all(&self, verbs: &[&str]) {
        let kinds = [
            "components",
            "configurations",
            "httpendpoints",
            "resiliencies",
            "subscriptions",
        ];
        self.grant("dapr.io", &kinds, verbs).await;
        self.grant("sidegate.dev", &["sidecarpolicies"], verbs)
            .await;
    }

    /// Gives the service account rights, and waits until they count.
    async fn grant(&self, group: &str, resources: &[&str], verbs: &[&str]) {
        self.allow(group, resources, verbs);
        for (resource, verb) in resources
            .iter()
            .flat_map(|one| verbs.iter().map(move |verb| (one, verb)))
        {
            let account = format!("--as=system:serviceaccount:{}:default", self.name);
            let resource = format!("{resource}.{group}");
            let question = [
                "auth",
                "can-i",
                verb,
                &resource,
                &account,
                "--namespace",
                &self.name,
            ];
            eventually("the right counts", async || {
                self.server.succeeds(&question).then_some(())
            })
            .await;
        }
    }

    /// Gives the service account rights, by a Role of the name of the group.
    fn allow(&self, group: &str, resources: &[&str], verbs: &[&str]) {
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": { "name": group },
            "rules": [{ "apiGroups": [group], "resources": resources, "verbs": verbs }],
        });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": { "name": group },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": group },
            "subjects": [{ "kind": "ServiceAccount", "name": "default", "namespace": self.name }],
        });
        self.apply(&role);
        self.apply(&binding);
    }

    fn apply(&self, object: &Value) {
        let file = self.dir.path().join("object.json");
        std::fs::write(&file, object.to_string()).unwrap();
        let file = file.to_str().unwrap();
        self.server
            .kubectl(&["apply", "--namespace", &self.name, "--filename", file]);
    }

    fn delete(&self, kind: &str, name: &str) {
        self.server
            .kubectl(&["delete", "--namespace", &self.name, kind, name]);
    }

    /// A secret store over a file with the secret `k`; answers where the file is.
    fn file_store(&self, name: &str, value: &str) -> Value {
        let file = self.dir.path().join(format!("{value}.json"));
        std::fs::write(&file, json!({ "k": value }).to_string()).unwrap();
        let file = json!([{ "name": "secretsFile", "value": file }]);
        component(name, "secretstores.local.file", file)
    }

    /// The flags of a sidecar of this namespace.
    async fn flags(&self) -> Vec<String> {
        let kubeconfig: PathBuf = self.server.kubeconfig_of(&self.name, "default").await;
        [
            "--app-id=app".to_owned(),
            "--mode=kubernetes".to_owned(),
            "--dapr-internal-grpc-port=0".to_owned(),
            format!("--kubeconfig={}", kubeconfig.display()),
        ]
        .into_iter()
        .chain(
            [
                "dapr-http-port",
                "dapr-grpc-port",
                "dapr-public-port",
                "metrics-port",
            ]
            .map(|port| format!("--{port}=0")),
        )
        .collect()
    }

    /// A kubeconfig of the service account, for a server at another address.
    async fn kubeconfig_at(&self, address: SocketAddr) -> String {
        let kubeconfig = self.server.kubeconfig_of(&self.name, "default").await;
        let text = std::fs::read_to_string(kubeconfig).unwrap();
        let moved = self.dir.path().join("moved.kubeconfig");
        let text = text.replace(self.server.authority(), &address.to_string());
        std::fs::write(&moved, text).unwrap();
        format!("--kubeconfig={}", moved.display())
    }

    async fn start(&self, flags: &[&str]) -> Running {
        Running::start(self.bind(flags).await.unwrap())
    }

    /// Why a sidecar does not start.
    async fn refusal(&self, flags: &[&str]) -> String {
        let error = self.bind(flags).await.err().expect("the start fails");
        with_causes(error.as_ref())
    }

    async fn bind(&self, flags: &[&str]) -> anyhow::Result<Sidecar> {
        let mut all = self.flags().await;
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        Sidecar::bind(Config::parse(all, &self.environment())?).await
    }

    fn environment(&self) -> Environment {
        ENVIRONMENT
            .into_iter()
            .chain([("NAMESPACE", self.name.as_str())])
            .collect()
    }

    /// The lines that the program logs until each of the texts is in one of them.
    async fn log_until(&self, flags: &[&str], texts: &[&str]) -> Vec<String> {
        use tokio::io::{AsyncBufReadExt as _, BufReader};
        let mut program = tokio::process::Command::new(env!("CARGO_BIN_EXE_sidegate"))
            .arg("sidecar")
            .args(self.flags().await)
            .args(flags)
            .env_clear()
            .envs(ENVIRONMENT)
            .env("NAMESPACE", &self.name)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
        let mut log = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            log.push(line);
            if texts
                .iter()
                .all(|text| log.iter().any(|line| line.contains(text)))
            {
                return log;
            }
        }
        panic!("not all of {texts:?} in {log:#?}");
    }
}

/// The tests may run as root, and read `GREETING` from a store of the environment.
const ENVIRONMENT: [(&str, &str); 2] = [
    ("DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK", "true"),
    ("GREETING", "hello"),
];

fn component(name: &str, component_type: &str, metadata: Value) -> Value {
    json!({
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": { "name": name },
        "spec": { "type": component_type, "version": "v1", "metadata": metadata },
    })
}

/// A store over the environment.
fn env_store(name: &str) -> Value {
    component(name, "secretstores.local.env", json!([]))
}

fn configuration(spec: &Value) -> Value {
    json!({
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Configuration",
        "metadata": { "name": "settings" },
        "spec": spec,
    })
}

fn policy(spec: &Value) -> Value {
    json!({
        "apiVersion": "sidegate.dev/v1alpha1",
        "kind": "SidecarPolicy",
        "metadata": { "name": "strict" },
        "spec": spec,
    })
}

/// A sidecar that runs until it is dropped.
struct Running {
    http: SocketAddr,
    _stop: tokio_util::sync::DropGuard,
    _task: JoinSet<anyhow::Result<Ended>>,
}

impl Running {
    fn start(sidecar: Sidecar) -> Self {
        let found = sidecar.addresses().http.iter().find_map(|one| match one {
            ListenAddr::Tcp(address) if address.is_ipv4() => Some(*address),
            _ => None,
        });
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(sidecar.run(stop.clone()));
        Self {
            http: found.unwrap(),
            _stop: stop.drop_guard(),
            _task: task,
        }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let request = Request::get(path).body(Full::default()).unwrap();
        let answer = send(self.http, request).await;
        let body = serde_json::from_slice(answer.body()).unwrap_or_default();
        (answer.status().as_u16(), body)
    }

    /// The status of a read of a secret, and its value.
    async fn secret(&self, store: &str, key: &str) -> (u16, Option<String>) {
        let (status, body) = self.get(&format!("/v1.0/secrets/{store}/{key}")).await;
        (status, body[key].as_str().map(str::to_owned))
    }

    /// Waits until a read of a secret ends so.
    async fn becomes(&self, store: &str, key: &str, expected: (u16, Option<&str>)) {
        let what = format!("{store}/{key} becomes {expected:?}");
        eventually(&what, async || {
            let (status, value) = self.secret(store, key).await;
            ((status, value.as_deref()) == expected).then_some(())
        })
        .await;
    }

    /// What the metadata says of components that do not run as they are written.
    async fn failures(&self) -> String {
        let (_, metadata) = self.get("/v1.0/metadata").await;
        metadata.to_string()
    }
}
