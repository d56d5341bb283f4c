//! `sidegate injector` as a process.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::json;
use sidegate::testing::certificates::Authority;
use sidegate::testing::eventually::eventually;
use sidegate::testing::fake_app::FakeApp;
use sidegate::testing::http_client;
use sidegate::testing::mounted_secret::MountedSecret;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task;

use super::{connect, patch_of, patched, pod, post, response_of, review_of};

fn sidegate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidegate"));
    command.env_clear().stdin(Stdio::null());
    command
}

fn mounted(authority: &Authority) -> MountedSecret {
    let issued = authority.issue(&["localhost"]);
    MountedSecret::new(&[("tls.crt", &issued.certificate), ("tls.key", &issued.key)])
}

fn injector(mount: &MountedSecret) -> Command {
    let mut command = sidegate();
    command.arg("injector");
    command.arg("--tls-cert-file").arg(mount.file("tls.crt"));
    command.arg("--tls-key-file").arg(mount.file("tls.key"));
    for listener in ["listen", "healthz-listen", "metrics-listen"] {
        command.arg(format!("--{listener}-address=127.0.0.1"));
    }
    command
}

/// A running injector. It is killed when it is dropped.
struct Running {
    child: Child,
    webhook: SocketAddr,
    healthz: SocketAddr,
    metrics: SocketAddr,
}

impl Running {
    /// Starts on free ports and waits until it listens, as its log says.
    fn start(mut command: Command) -> Self {
        command.args(["--port=0", "--healthz-port=0", "--metrics-port=0"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::sync_channel(1024);
        let log = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                // Nobody listens any more when the ports are known.
                let _ = sender.send(line);
            }
        });
        let address_of = |name: &str| {
            let message = format!("msg=\"Listening for {name}\"");
            let mut lines = lines.iter();
            let line = lines.find(|line| line.contains(&message)).unwrap();
            let (_, address) = line.split_once(" address=").unwrap();
            address.split(' ').next().unwrap().parse().unwrap()
        };
        Self {
            webhook: address_of("webhook"),
            healthz: address_of("healthz"),
            metrics: address_of("metrics"),
            child,
        }
    }

    fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    async fn health(&self) -> (StatusCode, String) {
        let request = Request::get("/healthz").body(Default::default()).unwrap();
        let answer = http_client::send(self.healthz, request).await;
        (
            answer.status(),
            String::from_utf8(answer.body().to_vec()).unwrap(),
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command that must fail, and hands back its code and what it says.
fn failure(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    assert!(!output.status.success());
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[tokio::test]
async fn serves_reviews_health_and_metrics() {
    let authority = Authority::new();
    let mount = mounted(&authority);
    let running = Running::start(injector(&mount));
    let healthy = async || (running.health().await.0 == StatusCode::OK).then_some(());
    eventually("healthy", healthy).await;

    let stream = connect(running.webhook, authority.client()).await.unwrap();
    let request = post(review_of(&pod(&json!({}))).to_string());
    patch_of(&response_of(&http_client::send_on(stream, request).await));

    let request = Request::get("/").body(Default::default()).unwrap();
    let metrics = http_client::send(running.metrics, request).await;
    let text = std::str::from_utf8(metrics.body()).unwrap();
    assert!(
        text.contains("# HELP sidegate_injector_reviews_total"),
        "{text}"
    );
    let remaining = "sidegate_injector_certificate_remaining_seconds ";
    let line = text.lines().find_map(|line| line.strip_prefix(remaining));
    let seconds: f64 = line.unwrap().parse().unwrap();
    assert!((1.0..=24.0 * 60.0 * 60.0).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn a_signal_lets_requests_in_flight_finish() {
    let authority = Authority::new();
    let mount = mounted(&authority);
    let mut command = injector(&mount);
    command.arg("--shutdown-delay-seconds=0");
    let mut running = Running::start(command);
    let review = review_of(&pod(&json!({}))).to_string();
    let mut stream = connect(running.webhook, authority.client()).await.unwrap();
    let head = format!(
        "POST /mutate HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nexpect: 100-continue\r\n\r\n",
        review.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server says this when it begins to read the body.
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");

    running.terminate();
    eventually("no more connections", async || {
        TcpStream::connect(running.webhook).await.err()
    })
    .await;
    stream.write_all(review.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\"patchType\":\"JSONPatch\""), "{answer}");
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn between_signal_and_end_it_serves_but_is_not_ready() {
    let authority = Authority::new();
    let mount = mounted(&authority);
    let mut command = injector(&mount);
    command.arg("--shutdown-delay-seconds=3600");
    let running = Running::start(command);
    running.terminate();
    eventually("not ready", async || {
        let (status, text) = running.health().await;
        (status == StatusCode::SERVICE_UNAVAILABLE && text == "not ready: shutdown\n").then_some(())
    })
    .await;
    let stream = connect(running.webhook, authority.client()).await.unwrap();
    let request = post(review_of(&pod(&json!({}))).to_string());
    patch_of(&response_of(&http_client::send_on(stream, request).await));
}

/// A kubeconfig file for an API server that takes anybody.
fn kubeconfig(address: SocketAddr) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    });
    std::fs::write(file.path(), config.to_string()).unwrap();
    file
}

#[tokio::test]
async fn native_sidecars_follow_the_version_of_the_api_server() {
    let authority = Authority::new();
    let mount = mounted(&authority);
    for (answer, flag, native) in [
        (Some("32"), "auto", true),
        (Some("32+"), "auto", true),
        (Some("31"), "auto", false),
        (Some("31"), "on", true),
        (Some("33"), "off", false),
        (None, "auto", false),
    ] {
        let version = json!({
            "major": "1", "minor": answer, "gitVersion": "v1", "gitCommit": "", "buildDate": "",
            "gitTreeState": "", "goVersion": "", "compiler": "", "platform": "",
        });
        let api = FakeApp::answering(move |request| {
            assert_eq!(request.uri, "/version");
            Response::new(Bytes::from(version.to_string()).into())
        })
        .await;
        let file = kubeconfig(api.address());
        let mut command = injector(&mount);
        command.arg("--kubeconfig").arg(file.path());
        command.arg(format!("--native-sidecar={flag}"));
        let running = task::spawn_blocking(|| Running::start(command))
            .await
            .unwrap();
        let stream = connect(running.webhook, authority.client()).await.unwrap();
        let pod = pod(&json!({}));
        let request = post(review_of(&pod).to_string());
        let answer = http_client::send_on(stream, request).await;
        let pod = patched(&pod, &response_of(&answer));
        let init = &pod["spec"]["initContainers"][0]["name"];
        assert_eq!(init == "daprd", native, "{flag}: {pod}");
    }
}

#[test]
fn a_taken_port_is_an_error_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mount = mounted(&Authority::new());
    let mut command = injector(&mount);
    command.arg(format!("--port={}", address.port()));
    let (code, said) = failure(&mut command);
    assert_eq!(code, Some(1));
    assert_eq!(
        said,
        format!("error: cannot listen on {address}: Address already in use (os error 98)\n")
    );
}

#[test]
fn what_cannot_work_is_refused_at_start() {
    let mount = mounted(&Authority::new());
    let certificate = mount.file("tls.crt");
    for (arguments, variable, wanted) in [
        (
            vec!["--tls-key-file", "/nowhere/tls.key"],
            ("A", ""),
            "error: cannot read \"/nowhere/tls.key\": No such file or directory (os error 2)\n"
                .to_owned(),
        ),
        (
            vec!["--tls-key-file", certificate.to_str().unwrap()],
            ("A", ""),
            format!("error: {certificate:?} holds no private key in PEM form\n"),
        ),
        (
            vec!["--allowed-service-accounts", "kube-system"],
            ("A", ""),
            "error: allowed service account \"kube-system\" is not of the form \
             \"namespace:name\" (globs are accepted)\n"
                .to_owned(),
        ),
        (
            vec![],
            ("SIDECAR_RUN_AS_USER", "root"),
            "error: SIDECAR_RUN_AS_USER: \"root\" is no user or group id: accepted are 0 to \
             2147483647\n"
                .to_owned(),
        ),
    ] {
        let mut command = injector(&mount);
        command.args(arguments).env(variable.0, variable.1);
        assert_eq!(failure(&mut command), (Some(1), wanted));
    }
}

#[test]
fn an_unknown_flag_exits_with_2_and_names_the_nearest() {
    let (code, said) = failure(sidegate().args(["injector", "--tls-cert-fil", "x"]));
    assert_eq!(code, Some(2));
    assert!(
        said.contains("unexpected argument '--tls-cert-fil' found"),
        "{said}"
    );
    assert!(said.contains("'--tls-cert-file'"), "{said}");
}

#[test]
fn go_forms_of_flags_are_accepted() {
    let mount = mounted(&Authority::new());
    let mut command = sidegate();
    command.args([
        "injector",
        "-enable-metrics=false",
        "-log-as-json",
        "-log-level=debug",
    ]);
    command.arg("-tls-cert-file").arg(mount.file("tls.crt"));
    command.arg("-tls-key-file").arg("/nowhere");
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(
        said,
        "error: cannot read \"/nowhere\": No such file or directory (os error 2)\n"
    );
}
