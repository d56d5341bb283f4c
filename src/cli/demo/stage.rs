//! What the demo runs: this program as webhook and as sidecar, with their files in a folder that
//! is removed at the end.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, bail};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustix::process::Signal;
use tokio::process::Command;

use crate::base::environment::Environment;
use crate::base::secret::Secret;
use crate::cli::loopback::ready;
use crate::cli::paint::{Colour, Paint};
use crate::cli::processes::{Label, Process};
use crate::process::free_ports::FreePorts;

/// The app id of the demo's app.
pub(super) const APP_ID: &str = "shop";

/// The value of the secret that the scopes deny.
pub(super) const DENIED: &str = "correct-horse";

const CONFIGURATION: &str = "
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: shop}
spec:
  secrets:
    scopes: [{storeName: vault, defaultAccess: deny, allowedSecrets: [db-password]}]
";

/// The folder and the program.
pub(super) struct Stage {
    dir: tempfile::TempDir,
    program: PathBuf,
    certificate: String,
    labels: Option<[Label; 2]>,
}

/// A running webhook.
pub(super) struct Webhook {
    process: Process,
    /// Its port, TLS.
    pub(super) port: u16,
}

/// A running sidecar.
pub(super) struct Sidecar {
    process: Process,
    /// The port of its HTTP API.
    pub(super) port: u16,
}

impl Stage {
    /// Writes every file. `logs` shows what the processes log.
    pub(super) fn build(logs: bool, environment: &Environment) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir().context("cannot make a folder for the demo's files")?;
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()])?;
        let store = dir.path().join("secrets.json");
        let component = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: vault}}\n\
             spec:\n  type: secretstores.local.file\n  version: v1\n  metadata:\n  \
             - {{name: secretsFile, value: {:?}}}\n",
            store.display().to_string()
        );
        let secrets = format!("{{\"db-password\": \"hunter2\", \"root-key\": \"{DENIED}\"}}");
        let stage = Self {
            program: std::env::current_exe().context("cannot find this program")?,
            certificate: cert.pem(),
            labels: logs.then(|| labels(environment)),
            dir,
        };
        stage.write("tls.crt", &stage.certificate)?;
        stage.write("tls.key", &signing_key.serialize_pem())?;
        stage.write("secrets.json", &secrets)?;
        stage.write("configuration.yaml", CONFIGURATION)?;
        stage.write("resources/vault.yaml", &component)?;
        Ok(stage)
    }

    /// The webhook's certificate, PEM.
    pub(super) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Starts a webhook, and waits until it is ready.
    pub(super) async fn webhook(&self) -> anyhow::Result<Webhook> {
        let ports = FreePorts::find()?;
        let [port, health] = ports.numbers;
        let mut command = self.command("injector");
        command
            .arg(flag("tls-cert-file", self.file("tls.crt")))
            .arg(flag("tls-key-file", self.file("tls.key")))
            .args([format!("--port={port}"), format!("--healthz-port={health}")])
            .args([
                "--listen-address=127.0.0.1",
                "--healthz-listen-address=127.0.0.1",
            ])
            .args(["--enable-metrics=false", "--native-sidecar=on"]);
        let process = self.start(command, 0, health, "/healthz").await?;
        Ok(Webhook { process, port })
    }

    /// Starts a sidecar with an API token and an app token, and waits until its API answers.
    pub(super) async fn sidecar(
        &self,
        app_port: u16,
        [api_token, app_token]: [&Secret; 2],
    ) -> anyhow::Result<Sidecar> {
        let ports = FreePorts::find()?;
        let [port, grpc] = ports.numbers;
        let mut command = self.command("sidecar");
        command
            .args([
                format!("--app-id={APP_ID}"),
                format!("--app-port={app_port}"),
            ])
            .args([
                format!("--dapr-http-port={port}"),
                format!("--dapr-grpc-port={grpc}"),
            ])
            .args([
                "--dapr-listen-addresses=127.0.0.1",
                "--enable-metrics=false",
            ])
            .arg(flag("resources-path", self.file("resources")))
            .arg(flag("config", self.file("configuration.yaml")))
            // The environment is how a sidecar is told its tokens.
            .env("DAPR_API_TOKEN", api_token.expose())
            .env("APP_API_TOKEN", app_token.expose());
        let process = self.start(command, 1, port, "/v1.0/healthz").await?;
        Ok(Sidecar { process, port })
    }

    fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(subcommand).stdin(Stdio::null());
        command
    }

    async fn start(
        &self,
        command: Command,
        which: usize,
        port: u16,
        health: &'static str,
    ) -> anyhow::Result<Process> {
        let label = self.labels.map(|labels| labels[which]);
        let mut process = Process::start(command, label)?;
        let ended = tokio::select! {
            () = ready(port, health) => return Ok(process),
            ended = process.ended() => ended?,
        };
        let name = ["webhook", "sidecar"][which];
        bail!("the {name} ended before it was ready ({ended}); try --logs")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.file(name);
        let write = || {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(&path, text)
        };
        write().with_context(|| format!("cannot write {path:?}"))
    }
}

impl Webhook {
    /// Ends it.
    pub(super) async fn stop(self) {
        stop(self.process).await;
    }
}

impl Sidecar {
    /// Ends it.
    pub(super) async fn stop(self) {
        stop(self.process).await;
    }
}

async fn stop(mut process: Process) {
    process.signal(Signal::TERM);
    // However it ended, it has.
    let _ = process.ended().await;
    process.finish().await;
}

fn flag(name: &str, path: PathBuf) -> std::ffi::OsString {
    let mut flag = std::ffi::OsString::from(format!("--{name}="));
    flag.push(path);
    flag
}

fn labels(environment: &Environment) -> [Label; 2] {
    let label = |name, colour| Label {
        name,
        colour,
        stdout: Paint::of(&std::io::stdout(), environment),
        stderr: Paint::of(&std::io::stderr(), environment),
    };
    [
        label("webhook", Colour::Magenta),
        label("sidecar", Colour::Cyan),
    ]
}
