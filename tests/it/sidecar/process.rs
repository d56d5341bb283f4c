//! The program itself: its command line, its log, its exit codes.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

const PROGRAM: &str = env!("CARGO_BIN_EXE_sidegate");

fn sidecar(flags: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("sidecar").args(flags);
    command.env_clear().kill_on_drop(true);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

const FREE_PORTS: [&str; 3] = [
    "--dapr-http-port=0",
    "--dapr-grpc-port=0",
    "--metrics-port=0",
];

async fn code_and_output(flags: &[&str]) -> (i32, String) {
    let output = sidecar(flags).output().await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    (output.status.code().unwrap(), text)
}

#[tokio::test]
async fn each_kind_of_failure_has_its_exit_code() {
    let (code, text) = code_and_output(&["--no-such-flag"]).await;
    assert_eq!(code, 2);
    assert!(
        text.contains("unexpected argument '--no-such-flag'"),
        "{text}"
    );
    assert!(text.contains("Usage: "), "{text}");
    let (code, text) = code_and_output(&[]).await;
    assert_eq!(code, 1);
    let expected = "Fatal error from runtime: parameter app-id cannot be empty";
    assert!(text.contains(expected), "{text}");
    let (code, text) = code_and_output(&["--app-id=a", "--log-level=zz"]).await;
    assert_eq!(code, 1);
    assert!(text.contains("invalid value for --log-level: zz"), "{text}");
    let (code, text) = code_and_output(&["--version"]).await;
    assert_eq!((code, text.trim()), (0, env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn a_taken_port_ends_it_with_1_and_the_address() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let flag = format!("--dapr-http-port={}", address.port());
    let flags = ["--app-id=a", "--dapr-listen-addresses=127.0.0.1", &flag];
    let (code, text) = code_and_output(&flags).await;
    assert_eq!(code, 1);
    assert!(
        text.contains(&format!("cannot listen on {address}")),
        "{text}"
    );
    assert!(!text.contains("panicked"), "{text}");
}

/// Reads lines until one has this message; hands back all of them.
async fn lines_until(child: &mut Child, message: &str) -> Vec<Value> {
    let stdout = child.stdout.as_mut().unwrap();
    let mut reader = BufReader::new(stdout).lines();
    let mut lines: Vec<Value> = Vec::new();
    while let Some(line) = reader.next_line().await.unwrap() {
        let line: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}"));
        let is_it = line["msg"].as_str().unwrap().contains(message);
        lines.push(line);
        if is_it {
            return lines;
        }
    }
    panic!("{message:?} is not in {lines:?}");
}

#[tokio::test]
async fn called_as_daprd_it_is_the_sidecar_and_a_signal_ends_it_with_0() {
    let folder = tempfile::tempdir().unwrap();
    let daprd = folder.path().join("daprd");
    std::os::unix::fs::symlink(PROGRAM, &daprd).unwrap();
    let mut child = Command::new(&daprd)
        .args(["-app-id", "a", "--log-as-json", "/daprd"])
        .args(FREE_PORTS)
        .env_clear()
        .env("DAPR_API_TOKEN", "never-in-the-log")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let lines = lines_until(
        &mut child,
        "dapr initialized. Status: Running. Init Elapsed ",
    )
    .await;
    for anchor in [
        "Starting Dapr Runtime -- version ",
        "Log level set to: info",
        "standalone mode configured",
        "app id: a",
        "HTTP server listening on TCP address: 127.0.0.1:",
        "gRPC server listening on TCP address: 127.0.0.1:",
    ] {
        let has = |line: &Value| line["msg"].as_str().is_some_and(|msg| msg.contains(anchor));
        assert!(lines.iter().any(has), "{anchor}: {lines:?}");
    }
    for line in &lines {
        for field in [
            "time", "level", "type", "msg", "scope", "instance", "ver", "app_id",
        ] {
            assert!(line[field].is_string(), "{field}: {line}");
        }
        assert_eq!(
            (&line["type"], &line["app_id"]),
            (&"log".into(), &"a".into())
        );
        assert!(!line.to_string().contains("never-in-the-log"), "{line}");
    }
    let pid = child.id().unwrap().to_string();
    let sent = Command::new("kill").arg(&pid).status().await.unwrap();
    assert!(sent.success());
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn the_log_of_calls_is_written_when_it_is_asked_for() {
    let flags = ["--app-id=a", "--log-as-json", "--enable-api-logging"];
    let mut child = sidecar(&[&flags[..], &FREE_PORTS].concat())
        .spawn()
        .unwrap();
    let lines = lines_until(
        &mut child,
        "HTTP server listening on TCP address: 127.0.0.1:",
    )
    .await;
    let message = lines.last().unwrap()["msg"].as_str().unwrap();
    let address = message.rsplit(' ').next().unwrap().parse().unwrap();
    let headers = [("user-agent", "me")];
    let call = super::request("GET", "/v1.0/metadata?x=1", &headers);
    let answer = sidegate::testing::http_client::send(address, call).await;
    assert_eq!(answer.status(), 200);
    let lines = lines_until(&mut child, "HTTP API Called").await;
    let line = lines.last().unwrap();
    assert_eq!(line["scope"], "dapr.runtime.http-info");
    assert_eq!(line["method"], "GET /v1.0/metadata");
    assert_eq!(line["code"], 200);
    assert_eq!(line["size"], answer.body().len());
    assert_eq!(line["useragent"], "me");
    assert!(line["duration"].is_u64(), "{line}");
}

#[tokio::test]
async fn waiting_ends_with_0_when_the_api_is_usable() {
    let sidecar_in_process = super::Running::start(&[], &[]).await;
    let flag = format!("--dapr-http-port={}", sidecar_in_process.http().port());
    let (code, text) = code_and_output(&["--wait", &flag]).await;
    assert_eq!((code, text.as_str()), (0, ""));
}
