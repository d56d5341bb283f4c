//! The cluster as a user has it: kubectl and helm.

use std::io::Write as _;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// The namespace that the chart is installed into.
pub(crate) const SYSTEM: &str = "sidegate-system";

/// How long kubectl and helm wait for things to become true: far above what a slow machine needs.
pub(crate) const PATIENCE: &str = "--timeout=240s";

/// The cluster, and the images that its nodes have.
pub(crate) struct Cluster {
    /// The image of Sidegate, with its tag.
    pub(crate) image: String,
    /// The image of the program in `tests/e2e/app`.
    pub(crate) app_image: String,
    /// The folder of the scripts of the node, where the node is ours.
    node: Option<String>,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) succeeded: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Cluster {
    pub(crate) fn of_environment() -> Self {
        let variable =
            |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
        let sidegate = concat!("docker.io/library/sidegate:", env!("CARGO_PKG_VERSION"));
        Self {
            image: variable("E2E_SIDEGATE_IMAGE", sidegate),
            app_image: variable("E2E_APP_IMAGE", "localhost/e2e-app:1"),
            node: std::env::var("E2E_NODE").ok(),
        }
    }

    /// Runs kubectl, which must succeed; its standard output.
    pub(crate) fn kubectl(&self, arguments: &str) -> String {
        run("kubectl", arguments.split_whitespace(), None).must(arguments)
    }

    /// Runs kubectl with arguments that hold spaces.
    pub(crate) fn kubectl_with(&self, arguments: &[&str]) -> String {
        run("kubectl", arguments.iter().copied(), None).must(&arguments.join(" "))
    }

    /// Runs kubectl, whatever comes of it.
    pub(crate) fn try_kubectl(&self, arguments: &str) -> Said {
        run("kubectl", arguments.split_whitespace(), None)
    }

    /// Applies objects, which must succeed; what kubectl warns of.
    pub(crate) fn apply(&self, namespace: &str, objects: &[Value]) -> String {
        let said = self.try_apply(namespace, objects);
        let warnings = said.err.clone();
        said.must("apply");
        warnings
    }

    /// Applies objects, whatever comes of it.
    pub(crate) fn try_apply(&self, namespace: &str, objects: &[Value]) -> Said {
        let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        let arguments = ["-n", namespace, "apply", "-f", "-"];
        run("kubectl", arguments, Some(list.to_string()))
    }

    /// Asks the API server what would become of an object.
    pub(crate) fn dry_run(&self, namespace: &str, object: &Value) -> Value {
        let arguments = "create --dry-run=server -o json -f -".split(' ');
        let arguments = ["-n", namespace].into_iter().chain(arguments);
        let text = run("kubectl", arguments, Some(object.to_string())).must("dry run");
        serde_json::from_str(&text).unwrap()
    }

    /// Reads an object.
    pub(crate) fn object(&self, namespace: &str, kind: &str, name: &str) -> Value {
        let text = self.kubectl(&format!("-n {namespace} get {kind} {name} -o json"));
        serde_json::from_str(&text).unwrap()
    }

    /// Lists the objects of a kind.
    pub(crate) fn objects(&self, namespace: &str, kind: &str, selector: &str) -> Vec<Value> {
        let arguments = format!("-n {namespace} get {kind} -l {selector} -o json");
        let list: Value = serde_json::from_str(&self.kubectl(&arguments)).unwrap();
        list["items"].as_array().unwrap().clone()
    }

    /// Runs a command of the program in `tests/e2e/app` in the container `app` of a running pod.
    pub(crate) fn in_pod(&self, namespace: &str, pod: &str, command: &[&str]) -> Said {
        let fixed = ["-n", namespace, "exec", pod, "-c", "app", "--", "/e2e-app"];
        run("kubectl", fixed.iter().chain(command).copied(), None)
    }

    /// Starts such a command and leaves it to the caller: it runs until its standard input is
    /// closed.
    pub(crate) fn start_in_pod(&self, namespace: &str, pod: &str, command: &[&str]) -> Child {
        let fixed = [
            "-n", namespace, "exec", "-i", pod, "-c", "app", "--", "/e2e-app",
        ];
        Command::new("kubectl")
            .args(fixed)
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Waits until a workload has rolled out.
    pub(crate) fn rolled_out(&self, namespace: &str, workload: &str) {
        self.kubectl(&format!(
            "-n {namespace} rollout status {workload} {PATIENCE}"
        ));
    }

    /// Runs helm, which must succeed; its standard output.
    pub(crate) fn helm(&self, arguments: &[&str]) -> String {
        self.try_helm(arguments).must(&arguments.join(" "))
    }

    /// Runs helm, whatever comes of it.
    pub(crate) fn try_helm(&self, arguments: &[&str]) -> Said {
        run("helm", arguments.iter().copied(), None)
    }

    /// Makes a namespace. It is the scenario's own, and stays until the end, for who looks why
    /// something failed.
    pub(crate) fn namespace(&self, name: &str) {
        self.kubectl(&format!("create namespace {name}"));
    }

    /// Deletes a namespace with all that is in it, without waiting for its end.
    pub(crate) fn forget(&self, namespace: &str) {
        self.kubectl(&format!("delete namespace {namespace} --wait=false"));
    }

    /// Kills the process of one injector without a warning; where the node is not ours, deletes its
    /// pod without one.
    pub(crate) fn kill_a_replica(&self) {
        let killed = match &self.node {
            Some(node) => {
                let arguments = ["pkill", "-KILL", "-o", "-f", "^/sidegate injector"];
                run(&format!("{node}/inside"), arguments, None)
            }
            None => {
                let pods = self.objects(SYSTEM, "pods", "app.kubernetes.io/component=injector");
                let name = pods[0]["metadata"]["name"].as_str().unwrap();
                let delete = format!("-n {SYSTEM} delete pod {name} --grace-period=0 --force");
                self.try_kubectl(&delete)
            }
        };
        killed.must("kill an injector");
    }

    /// Prints what somebody who looks for the cause of a failure wants to see.
    pub(crate) fn print_state(&self) {
        for arguments in [
            "get pods -A -o wide".to_owned(),
            "get events -A --sort-by=.lastTimestamp".to_owned(),
            format!("-n {SYSTEM} logs -l app.kubernetes.io/name=sidegate --tail=40 --prefix"),
        ] {
            let said = self.try_kubectl(&arguments);
            let lines: Vec<_> = said.out.lines().collect();
            let last = lines.len().saturating_sub(60);
            println!(
                "$ kubectl {arguments}\n{}{}",
                lines[last..].join("\n"),
                said.err
            );
        }
    }
}

impl Said {
    fn must(self, arguments: &str) -> String {
        assert!(self.succeeded, "{arguments}\n{}{}", self.out, self.err);
        self.out
    }
}

fn run<'a>(
    program: &str,
    arguments: impl IntoIterator<Item = &'a str>,
    input: Option<String>,
) -> Said {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {program}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    if let Some(input) = input {
        stdin.write_all(input.as_bytes()).unwrap();
    }
    drop(stdin);
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().unwrap();
    Said {
        succeeded: status.success(),
        out: String::from_utf8_lossy(&stdout).into_owned(),
        err: String::from_utf8_lossy(&stderr).into_owned(),
    }
}
