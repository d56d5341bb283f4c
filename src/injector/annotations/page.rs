//! The page of documentation made from the table.

use std::fmt::Write as _;

use super::table::TABLE;
use super::{Annotation, Kind};
use crate::injector::foreign::{FOREIGN, FOREIGN_PREFIXES};

/// The text of `docs/annotations.md`.
pub fn reference_page() -> String {
    let mut page = String::from(INTRODUCTION);
    for (title, prefix) in [
        ("Dapr's keys", "dapr.io/"),
        ("Sidegate's keys", "sidegate.dev/"),
    ] {
        let _ = write!(
            page,
            "\n## {title}\n\n| key | type | default | effect |\n|---|---|---|---|\n"
        );
        for row in TABLE.iter().filter(|row| row.key.starts_with(prefix)) {
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {} |",
                row.key,
                kind(row.kind),
                default(row),
                row.effect
            );
        }
    }
    page.push_str(SECURITY);
    for row in TABLE.iter().filter(|row| !row.weakens.is_empty()) {
        let _ = writeln!(page, "| `{}` | {} |", row.key, row.weakens);
    }
    page.push_str(SECURITY_ELSEWHERE);
    let names = FOREIGN.iter().map(|name| format!("`{name}`"));
    let begun = FOREIGN_PREFIXES.iter().map(|name| format!("`{name}…`"));
    for name in names.chain(begun) {
        let _ = writeln!(page, "- {name}");
    }
    page
}

const INTRODUCTION: &str = "\
# Annotations

<!-- Made from src/injector/annotations/table.rs: `make docs` writes it anew. -->

Annotations of the pod (of a workload: of its pod template) say whether and how a pod gets a
sidecar. What Sidegate makes of them:

- A value that can never work is **denied**, with the key, the value and what is accepted: an app
  id that is no DNS label, a token Secret that can have no such name, a port above 65535, a protocol
  that is not known, two equal ports, a pod for Windows.
- A value that Dapr ignores, such as a number that is none, counts as its **default**, with an
  admission **warning**. So does a number out of its range; none ever wraps round.
- A key with one of the prefixes `dapr.io/` and `sidegate.dev/` that is not on this page gives a
  warning with the nearest key that is.
- An empty value is the same as none, except of truth values, where it is false, and of
  `dapr.io/api-token-secret` and `dapr.io/app-token-secret`, where it is denied.
- Truth values are `y`, `yes`, `true`, `t`, `on` and `1`, in any case; everything else is false.

The warnings also stay on the pod, as `sidegate.dev/warnings`. A pod that carries the label
`dapr.io/sidecar-injected: \"true\"`, the annotation `sidegate.dev/injected` and a container `daprd`
is recognised as ours: a further admission only gives containers that came since what they lack. A
container `daprd` without these marks is somebody else's: the pod is admitted as it is, with a
warning.
";

const SECURITY: &str = "
## Values that lower the security of the sidecar container

These are denied. The injector's flag `--allow-weakened-security` allows them, with a warning.

| key | denied |
|---|---|
";

const SECURITY_ELSEWHERE: &str = "\
| any key of Dapr | `$(DAPR_API_TOKEN)` and `$(APP_API_TOKEN)`, which Kubernetes would replace \
by the token where the value is an argument: whoever lists processes would see it |
| `container.apparmor.security.beta.kubernetes.io/daprd` | `unconfined` |

No annotation lowers anything else of the container, which passes the *restricted* Pod Security
Standard: `runAsNonRoot`, `readOnlyRootFilesystem`, no privilege escalation, no capabilities,
seccomp `RuntimeDefault`. Where the pod's own `securityContext` says `runAsUser: 0`, the sidecar
gets user 65532, and where it names no group or group 0, group 65532. An `SSL_CERT_DIR` in
`dapr.io/env` changes none of this.

## Other containers

The app's containers get `DAPR_HTTP_PORT`, `DAPR_GRPC_PORT` and `APP_PROTOCOL`, each where they do
not have it yet, the folder of sockets where there is one, and the tokens where
`sidegate.dev/app-env-tokens` says so. Containers that another injector owns, which are known by
their names, get nothing:

";

fn kind(kind: Kind) -> String {
    match kind {
        Kind::Gate => "`true`".into(),
        Kind::Text | Kind::NotRead => "text".into(),
        Kind::Flag => "truth value".into(),
        Kind::Number { min, max: i32::MAX } => format!("number from {min}"),
        Kind::Number { min, max } => format!("number, {min} to {max}"),
        Kind::Port => "port".into(),
        Kind::Choice(words) => words
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(", "),
        Kind::Quantity => "quantity".into(),
        Kind::Bytes => "bytes, as quantity".into(),
        Kind::Duration => "duration, as in Go".into(),
        Kind::AppId => "DNS label of at most 58 characters".into(),
        Kind::SecretName => "name of a Secret".into(),
        Kind::List => "comma list".into(),
        Kind::Env => "`NAME=value,…`".into(),
        Kind::EnvFromSecret => "`NAME=secret:key,…`".into(),
        Kind::Mounts => "`volume:/path,…`".into(),
        Kind::Path => "absolute path".into(),
    }
}

fn default(row: &Annotation) -> String {
    match row.default {
        "" => "–".into(),
        text => format!("`{text}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::reference_page;

    #[test]
    fn docs_show_every_annotation() {
        crate::testing::page::expect_fresh("docs/annotations.md", &reference_page());
    }
}
