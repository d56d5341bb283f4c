//! `sidegate run`: a real sidecar and a real process beside it.

use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use rustix::process::{Pid, Signal, kill_process};
use sidegate::testing::eventually::eventually;
use sidegate::testing::http_client::send;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

fn sidegate_run(flags: &[&str], command: &[&str]) -> Command {
    let mut run = Command::new(env!("CARGO_BIN_EXE_sidegate"));
    run.arg("run").args(flags).arg("--").args(command);
    for variable in ["DAPR_API_TOKEN", "APP_API_TOKEN"] {
        run.env_remove(variable);
    }
    run.stdin(Stdio::null()).kill_on_drop(true);
    run
}

/// Standard output, standard error and exit code of a whole run.
async fn whole(mut run: Command) -> (String, String, Option<i32>) {
    let output = run.output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        text(output.stdout),
        text(output.stderr),
        output.status.code(),
    )
}

/// A run whose app says `ready` last, after its environment.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    app: Vec<String>,
}

impl Running {
    async fn start(mut run: Command) -> Self {
        run.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = run.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut running = Self {
            child,
            lines,
            app: Vec::new(),
        };
        while let Some(line) = running.lines.next_line().await.unwrap() {
            match line.strip_prefix("app     | ") {
                Some("ready") => return running,
                Some(line) => running.app.push(line.to_owned()),
                None => assert!(line.starts_with("sidecar | "), "{line}"),
            }
        }
        panic!("the app never said that it is ready: {:?}", running.app)
    }

    fn value(&self, name: &str) -> &str {
        let mut pairs = self.app.iter().filter_map(|line| line.split_once('='));
        pairs.find(|(own, _)| *own == name).unwrap().1
    }

    fn api(&self) -> SocketAddr {
        let port = self.value("DAPR_HTTP_PORT").parse().unwrap();
        ([127, 0, 0, 1], port).into()
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    async fn ended(mut self) -> ExitStatus {
        // The end of the output comes only when every process has closed it.
        while self.lines.next_line().await.unwrap().is_some() {}
        self.child.wait().await.unwrap()
    }
}

fn metadata(token: Option<&str>) -> Request<Full<Bytes>> {
    let request = Request::get("/v1.0/metadata");
    let request = match token {
        Some(token) => request.header("dapr-api-token", token),
        None => request,
    };
    request.body(Full::default()).unwrap()
}

#[tokio::test]
async fn exits_with_the_code_of_the_app() {
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143)] {
        let (stdout, stderr, exit) = whole(sidegate_run(&[], &["sh", "-c", script])).await;
        assert_eq!(exit, Some(code), "{script}: {stdout} {stderr}");
    }
}

#[tokio::test]
async fn prefixes_both_outputs_and_colours_nothing_for_a_pipe() {
    let script = "echo out; echo err >&2; printf 'no newline'";
    let (stdout, stderr, _) = whole(sidegate_run(&[], &["sh", "-c", script])).await;
    for line in ["app     | out\n", "app     | no newline\n", "sidecar | "] {
        assert!(stdout.contains(line), "{line:?} in {stdout}");
    }
    assert!(stderr.contains("app     | err\n"), "{stderr}");
    assert!(!format!("{stdout}{stderr}").contains('\u{1b}'));
}

#[tokio::test]
async fn tells_the_app_ports_and_new_tokens_that_the_sidecar_enforces() {
    let mut run = sidegate_run(&["--app-id", "shop"], &["sh", "-c", "env; echo ready; cat"]);
    run.env("NO_COLOR", "1");
    let mut running = Running::start(run).await;
    let token = running.value("DAPR_API_TOKEN").to_owned();
    assert_ne!(token, running.value("APP_API_TOKEN"));
    assert_eq!(running.value("APP_ID"), "shop");
    for port in ["DAPR_GRPC_PORT", "APP_PORT"] {
        assert!(running.value(port).parse::<u16>().unwrap() > 0);
    }
    let api = running.api();
    assert_eq!(
        send(api, metadata(None)).await.status(),
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        send(api, metadata(Some(&token))).await.status(),
        StatusCode::OK
    );
    drop(running.child.stdin.take());
    assert_eq!(running.ended().await.code(), Some(0));
}

#[tokio::test]
async fn takes_tokens_from_the_environment() {
    let mut run = sidegate_run(&[], &["sh", "-c", "env; echo ready; cat"]);
    run.env("DAPR_API_TOKEN", "mine")
        .env("APP_API_TOKEN", "yours");
    let running = Running::start(run).await;
    assert_eq!(running.value("DAPR_API_TOKEN"), "mine");
    assert_eq!(running.value("APP_API_TOKEN"), "yours");
    let answer = send(running.api(), metadata(Some("mine"))).await;
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn one_signal_stops_the_app_with_its_children_and_the_sidecar() {
    // The child ignores the signal: only the end of its whole group ends it.
    let script = "trap 'exit 5' INT; env; \
                  sh -c 'trap \"\" INT TERM; echo CHILD=$$; echo ready; exec sleep 600' & wait";
    let running = Running::start(sidegate_run(&[], &["sh", "-c", script])).await;
    let child = std::path::Path::new("/proc").join(running.value("CHILD"));
    assert!(child.exists());
    let api = running.api();
    running.signal(Signal::INT);
    assert_eq!(running.ended().await.code(), Some(5));
    eventually("the child is gone", async || {
        (!child.exists()).then_some(())
    })
    .await;
    assert!(tokio::net::TcpStream::connect(api).await.is_err());
}

#[tokio::test]
async fn a_second_signal_ends_an_app_that_ignores_the_first() {
    let script = "trap 'echo asked; ' INT; env; echo ready; while :; do sleep 60; done";
    let mut running = Running::start(sidegate_run(&[], &["sh", "-c", script])).await;
    running.signal(Signal::INT);
    while running.lines.next_line().await.unwrap().as_deref() != Some("app     | asked") {}
    running.signal(Signal::INT);
    assert_eq!(running.ended().await.code(), Some(137));
}

#[tokio::test]
async fn starts_no_app_where_the_sidecar_cannot_start() {
    for (flags, code, text) in [
        (&["--no-such-flag"][..], 2, "--no-such-flag"),
        (&["--config", "/no/such/file"], 1, "/no/such/file"),
    ] {
        let (stdout, stderr, exit) = whole(sidegate_run(flags, &["echo", "started"])).await;
        assert_eq!(exit, Some(code), "{stdout} {stderr}");
        assert!(
            format!("{stdout}{stderr}").contains(text),
            "{stdout} {stderr}"
        );
        assert!(
            stderr.ends_with("error: the sidecar ended before it was ready\n"),
            "{stderr}"
        );
        assert!(!stdout.contains("app     | "), "{stdout}");
    }
}

#[tokio::test]
async fn names_what_it_cannot_run() {
    let (_, stderr, exit) = whole(sidegate_run(&[], &["no-such-program"])).await;
    assert_eq!(exit, Some(1));
    let last = stderr.lines().last().unwrap();
    assert!(
        last.starts_with("error: cannot start \"no-such-program\": "),
        "{stderr}"
    );

    let (_, stderr, exit) = whole(sidegate_run(&["--app-id", "a"], &[])).await;
    assert_eq!(exit, Some(2));
    assert!(
        stderr.starts_with("error: no command; write it after \"--\""),
        "{stderr}"
    );

    let mut blank = sidegate_run(&[], &["true"]);
    blank.env("DAPR_API_TOKEN", "");
    let (_, stderr, exit) = whole(blank).await;
    assert_eq!(exit, Some(1));
    assert!(
        stderr.starts_with("error: DAPR_API_TOKEN is set but blank;"),
        "{stderr}"
    );
}
