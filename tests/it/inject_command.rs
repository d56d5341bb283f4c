//! `sidegate inject` as a command.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const DEPLOYMENT: &str = r#"# The cart.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: cart
  namespace: shop
spec:
  template:
    metadata:
      labels: {app: cart}
      annotations:
        dapr.io/enabled: "true"
        dapr.io/app-id: cart
        dapr.io/api-token-secret: cart-api
        example.com/looks-like: "1e3"
    spec:
      containers:
      - name: app
        image: app
        command:
        - sh
        - -c
        - |
          echo "null"

          exec app
"#;

const SERVICE: &str = "---  # the Service\napiVersion:   v1\nkind: Service # plain\nmetadata: {}\n";

fn inject(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sidegate"))
        .arg("inject")
        .args(arguments)
        // What the environment of a developer says must change nothing.
        .env("SIDECAR_IMAGE", "another")
        .env("NATIVE_SIDECAR_ENABLED", "true")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// What is printed where all goes well, and nothing is said.
fn printed(arguments: &[&str], input: &str) -> String {
    let output = inject(arguments, input);
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    text(&output.stdout).to_owned()
}

#[test]
fn injects_a_deployment_and_keeps_the_rest_to_the_byte() {
    let input = format!("{DEPLOYMENT}{SERVICE}");
    let output = printed(&["-f", "-", "--sidecar-image=registry/sidegate:1"], &input);
    assert!(output.starts_with("# The cart.\napiVersion: apps/v1\nkind: Deployment\n"));
    assert!(output.ends_with(SERVICE), "{output}");
    for wanted in [
        "        example.com/looks-like: \"1e3\"\n",
        "        dapr.io/enabled: \"true\"\n",
        "        - |\n          echo \"null\"\n\n          exec app\n",
        "      - name: daprd\n",
        "        image: registry/sidegate:1\n",
        "              name: cart-api\n",
        "          value: shop\n",
    ] {
        assert!(output.contains(wanted), "{wanted} in {output}");
    }
    // A second time there is nothing left to do.
    assert_eq!(printed(&["-f", "-"], &output), output);
}

#[test]
fn a_diff_shows_what_is_added_and_nothing_else() {
    let output = printed(&["-f", "-", "--diff"], DEPLOYMENT);
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], "--- standard input");
    assert_eq!(lines[1], "+++ standard input (injected)");
    assert!(lines.contains(&"+      - name: daprd"), "{output}");
    let removed: Vec<_> = lines[2..]
        .iter()
        .filter(|line| line.starts_with('-'))
        .collect();
    assert!(removed.is_empty(), "{removed:?}");
    assert_eq!(printed(&["-f", "-", "--diff"], SERVICE), "");
}

#[test]
fn json_lists_come_out_as_json() {
    let pod = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "b",
        "annotations": {"dapr.io/enabled": "true"}}, "spec": {"containers": []}}"#;
    let list = format!(r#"{{"apiVersion": "v1", "kind": "List", "items": [{pod}, {pod}]}}"#);
    let output: Value = serde_json::from_str(&printed(&["-f", "-"], &list)).unwrap();
    for item in output["items"].as_array().unwrap() {
        let daprd = &item["spec"]["containers"][0]["name"];
        assert_eq!(daprd, "daprd", "{output}");
        assert_eq!(item["metadata"]["labels"]["dapr.io/app-id"], "a");
    }
}

#[test]
fn a_denial_names_the_object_and_prints_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("good.yaml");
    let bad = dir.path().join("bad.yaml");
    std::fs::write(&good, DEPLOYMENT).unwrap();
    std::fs::write(&bad, DEPLOYMENT.replace("app-id: cart", "app-id: Cart")).unwrap();
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());
    let output = inject(&["-f", good, bad], "");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    let said = text(&output.stderr);
    let wanted = format!("error: {bad}: Deployment \"cart\": ");
    assert!(said.starts_with(&wanted), "{said}");
    assert!(said.contains("\"Cart\""), "{said}");
    assert_eq!(said.lines().count(), 1);
}

#[test]
fn warnings_name_file_kind_and_name() {
    let misspelt = DEPLOYMENT.replace("dapr.io/api-token-secret", "dapr.io/api-tokensecret");
    let output = inject(&["-f", "-"], &misspelt);
    assert_eq!(output.status.code(), Some(0));
    let said = text(&output.stderr);
    assert!(
        said.starts_with("warning: standard input: Deployment \"cart\": "),
        "{said}"
    );
    assert!(said.contains("dapr.io/api-token-secret"), "{said}");

    let nowhere = DEPLOYMENT.replace("  namespace: shop\n", "");
    assert_eq!(
        text(&inject(&["-f", "-"], &nowhere).stderr),
        "warning: standard input: Deployment \"cart\": no namespace is given: \"default\" is \
         written into the sidecar (--namespace gives another)\n"
    );
    let output = printed(&["-f", "-", "-n", "shop"], &nowhere);
    assert!(output.contains("value: shop"), "{output}");
}

#[test]
fn says_where_a_file_cannot_be_read() {
    let output = inject(&["-f", "/nowhere.yaml"], "");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "error: cannot read \"/nowhere.yaml\": No such file or directory (os error 2)\n"
    );
    let output = inject(&["-f", "-"], "a: 1\n---\nb: [\n");
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.starts_with("error: standard input: document 2: "),
        "{said}"
    );
}
