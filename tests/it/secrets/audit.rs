//! What the log says of who asked for which secret.

use tokio::process::Command;

use super::*;

/// The lines of the audit, from the caller on, for reads of `a`, `b`, `c` (not there) and all.
async fn audited(policy: &str) -> Vec<String> {
    let files = Files::new();
    files
        .file_store(r#"{"a": "hunter2", "b": "hunter3"}"#)
        .write(
            "scopes.yaml",
            &scopes("      - {storeName: file, deniedSecrets: [b]}\n"),
        )
        .resource(
            "policy.yaml",
            &format!(
                "apiVersion: sidegate.dev/v1alpha1\nkind: SidecarPolicy\nmetadata: {{name: p}}\n\
                 spec: {{secrets: {policy}}}\n"
            ),
        );
    let reads = "for name in a b c bulk; do curl -sS -o /dev/null \
                 -H \"dapr-api-token: $DAPR_API_TOKEN\" \
                 localhost:$DAPR_HTTP_PORT/v1.0/secrets/file/$name; done";
    let output = Command::new(env!("CARGO_BIN_EXE_sidegate"))
        .args(["run", "--app-id=a", "--policy=p", "--resources-path"])
        .arg(files.path("resources"))
        .arg("--config")
        .arg(files.path("scopes.yaml"))
        .args(["--", "sh", "-c", reads])
        .env_remove("DAPR_API_TOKEN")
        .output()
        .await
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(!text.contains("hunter"), "{text}");
    let lines = text
        .lines()
        .filter(|line| line.contains("scope=sidegate.audit"));
    lines
        .map(|line| {
            let fact = |name: &str| {
                let (_, rest) = line.split_once(&format!(" {name}=")).expect(name);
                rest.split(' ').next().unwrap().trim_matches('"').to_owned()
            };
            assert!(line.contains("msg=\"Secret asked for\""), "{line}");
            assert!(fact("caller").starts_with("127.0.0.1:"), "{line}");
            assert_eq!(fact("store"), "file");
            format!("{} {}", fact("secret"), fact("outcome"))
        })
        .collect()
}

#[tokio::test]
async fn denied_reads_are_logged_and_all_where_the_policy_says_so() {
    assert_eq!(audited("{}").await, ["b denied"]);
    let all = ["a read", "b denied", "c missing", "* read"];
    assert_eq!(audited("{audit: all}").await, all);
}
