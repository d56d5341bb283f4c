//! Sidecars with a database file.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sidegate::testing::eventually::eventually;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use super::*;

/// How many clients write while the sidecar is killed.
const CLIENTS: usize = 8;
/// After how many answers it is killed.
const ANSWERS: usize = 200;

/// Writes the component `s`, and hands back the flag of its folder.
fn resources(folder: &Path) -> String {
    let text = format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: s}}\n\
         spec:\n  type: state.sqlite\n  version: v1\n  metadata:\n  \
         - {{name: connectionString, value: '{}/state.db'}}\n",
        folder.display()
    );
    std::fs::write(folder.join("s.yaml"), text).unwrap();
    format!("--resources-path={}", folder.display())
}

async fn start(folder: TempDir) -> World {
    World {
        sidecar: Running::start(&[&resources(folder.path())], &[]).await,
        _folder: folder,
    }
}

#[tokio::test]
async fn two_sidecars_share_a_file() {
    let one = start(tempfile::tempdir().unwrap()).await;
    let flag = resources(one._folder.path());
    let two = World {
        sidecar: Running::start(&[&flag], &[]).await,
        _folder: tempfile::tempdir().unwrap(),
    };
    one.save("k", "1").await;
    assert_eq!(two.value("k").await.as_deref(), Some("1"));
    let etag = one.etag("k").await;
    assert_eq!(two.etag("k").await, etag);
    two.save("k", "2").await;
    let deleted = one.call("DELETE", "s/k", &[("if-match", &etag)], "").await;
    assert_eq!(deleted.status(), 409, "the other one wrote");
    assert_eq!(one.value("k").await.as_deref(), Some("2"));
}

/// The program as a process of its own, and its HTTP address.
async fn spawn(folder: &Path) -> (Child, SocketAddr) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sidegate"))
        .args(["sidecar", "--app-id=app", "--log-as-json"])
        .args([
            "--dapr-http-port=0",
            "--dapr-grpc-port=0",
            "--metrics-port=0",
        ])
        .args(["--dapr-listen-addresses=127.0.0.1", &resources(folder)])
        .env_clear()
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let listens = "HTTP server listening on TCP address: ";
    let mut address = None;
    while let Some(line) = lines.next_line().await.unwrap() {
        let line: Value = serde_json::from_str(&line).unwrap();
        let text = line["msg"].as_str().unwrap();
        if let Some(found) = text.strip_prefix(listens) {
            address = found.parse().ok();
        }
        if text.starts_with("dapr initialized") {
            break;
        }
    }
    (child, address.unwrap())
}

/// Whether a value was saved, as far as the client was told.
async fn is_saved(address: SocketAddr, key: &str, number: usize) -> bool {
    let body = format!(r#"[{{"key": "{key}", "value": {number}}}]"#);
    let request = format!(
        "POST /v1.0/state/s HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let Ok(mut stream) = TcpStream::connect(address).await else {
        return false;
    };
    let mut answer = Vec::new();
    // What breaks off is no answer.
    let _ = stream.write_all(request.as_bytes()).await;
    let _ = stream.read_to_end(&mut answer).await;
    answer.starts_with(b"HTTP/1.1 204")
}

#[tokio::test]
async fn nothing_that_was_answered_is_lost_when_it_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, address) = spawn(folder.path()).await;
    let answers = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let answers = Arc::clone(&answers);
        clients.spawn(async move {
            let (key, mut saved) = (format!("k{client}"), 0);
            while is_saved(address, &key, saved + 1).await {
                saved += 1;
                answers.fetch_add(1, Ordering::Relaxed);
            }
            (key, saved)
        });
    }
    eventually("many writes are answered", async || {
        (answers.load(Ordering::Relaxed) >= ANSWERS).then_some(())
    })
    .await;
    child.kill().await.unwrap();
    let world = start(folder).await;
    while let Some(ended) = clients.join_next().await {
        let (key, saved) = ended.unwrap();
        let value = world.value(&key).await;
        let value: usize = value.map_or(0, |text| text.parse().unwrap());
        // One more may have been written before the answer was on its way.
        assert!(
            (saved..=saved + 1).contains(&value),
            "{key}: {value}, {saved}"
        );
    }
}
