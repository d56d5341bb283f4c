//! `sidegate inject`: the webhook's decisions over manifests, without a cluster.

mod documents;
mod workloads;
mod yaml;

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use similar::TextDiff;

use self::workloads::{Injection, Note};
use super::injector_config::{ConfigArgs, NativeSidecar};
use crate::base::environment::Environment;

/// Inject sidecars into manifests, as the webhook would, and print them
///
/// Takes Pods, Deployments, StatefulSets, DaemonSets, ReplicaSets, ReplicationControllers, Jobs,
/// CronJobs and Lists of them, as YAML or JSON, any number in a file. What gets no sidecar is
/// printed as it is, comments included. Warnings go to standard error. Nothing is printed, and the
/// exit code is 1, where a pod would be denied.
///
/// The environment is not looked at, and native sidecars are off unless asked for, so that the
/// same manifests give the same output everywhere.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Manifests; - is standard input
    #[arg(short = 'f', long, value_name = "FILE", required = true, num_args = 1..)]
    filename: Vec<String>,
    /// Namespace of objects that name none
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Print what changes, as a unified diff
    #[arg(long)]
    diff: bool,
    #[command(flatten)]
    sidecar: ConfigArgs,
}

/// Injects into every file, then prints everything or nothing.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let environment = Environment::default();
    let native_sidecar = args.sidecar.native_sidecar(&environment) == NativeSidecar::On;
    let config = args.sidecar.config(&environment, native_sidecar)?;
    let injection = Injection {
        config: &config,
        namespace: args.namespace.as_deref(),
    };
    let mut denied = false;
    let mut output = String::new();
    for name in &args.filename {
        let text = read(name).with_context(|| format!("cannot read {name:?}"))?;
        let name = if name == "-" { "standard input" } else { name };
        let injected = inject(&text, &injection).with_context(|| name.to_owned())?;
        for note in &injected.notes {
            denied |= note.is_denial();
            eprintln!("{}", note.about(name));
        }
        match args.diff {
            true => output.push_str(&injected.diff(name)),
            false => append(&mut output, &injected.text),
        }
    }
    if denied {
        return Ok(ExitCode::FAILURE);
    }
    match io::stdout().write_all(output.as_bytes()) {
        // Whoever reads the output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        written => Ok(written.map(|()| ExitCode::SUCCESS)?),
    }
}

fn read(name: &str) -> io::Result<String> {
    if name != "-" {
        return std::fs::read_to_string(name);
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// Appends one file's manifests to another's.
fn append(output: &mut String, text: &str) {
    if !output.is_empty() {
        if !output.ends_with('\n') {
            output.push('\n');
        }
        if !documents::begins_with_separator(text) {
            output.push_str("---\n");
        }
    }
    output.push_str(text);
}

/// The manifests of one file, injected.
struct Injected {
    /// All of them; those that did not change as they were.
    text: String,
    /// Those that changed, as they were and as they are, in one form.
    changed: Vec<(String, String)>,
    notes: Vec<Note>,
}

fn inject(text: &str, injection: &Injection<'_>) -> anyhow::Result<Injected> {
    let mut injected = Injected {
        text: String::with_capacity(text.len()),
        changed: Vec::new(),
        notes: Vec::new(),
    };
    for (index, document) in documents::split(text).into_iter().enumerate() {
        let place = || format!("document {}", index + 1);
        let Some((mut object, form)) = document.parse().with_context(place)? else {
            injected.text.push_str(document.text);
            continue;
        };
        let before = object.clone();
        injection.apply(&mut object, &mut injected.notes);
        if object == before {
            injected.text.push_str(document.text);
            continue;
        }
        let (before, after) = (form.print(&before)?, form.print(&object)?);
        document.replace(&after, &mut injected.text);
        injected.changed.push((before, after));
    }
    Ok(injected)
}

impl Injected {
    /// What the injection changes, and not what printing the manifests anew changes.
    fn diff(&self, name: &str) -> String {
        let mut text = String::new();
        for (before, after) in &self.changed {
            let diff = TextDiff::from_lines(before, after);
            let mut diff = diff.unified_diff();
            let diff = diff.header(name, &format!("{name} (injected)")).to_string();
            // Writing to a String cannot fail.
            let _ = write!(text, "{diff}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::injector::config::Config;

    fn inject_text(text: &str) -> Injected {
        let config = Config::default();
        let injection = Injection {
            config: &config,
            namespace: Some("shop"),
        };
        inject(text, &injection).unwrap()
    }

    #[test]
    fn keeps_what_gets_no_sidecar_to_the_byte() {
        let text = "# head\n---   # one\napiVersion: v1\nkind:   Service # odd\n\n\
                    --- \n# nothing\n---\n{\"kind\": \"List\", \"items\": []}\n---\r\n- 1\n...\n";
        let injected = inject_text(text);
        assert_eq!(injected.text, text);
        assert!(injected.notes.is_empty());
        assert_eq!(injected.diff("a.yaml"), "");
    }

    #[test]
    fn says_which_document_cannot_be_read() {
        let config = Config::default();
        let injection = Injection {
            config: &config,
            namespace: None,
        };
        let error = inject("a: 1\n---\nkind: {{ .Kind }}\nb: [", &injection)
            .err()
            .unwrap();
        assert_eq!(error.to_string(), "document 2");
    }

    #[test]
    fn separates_files() {
        let mut output = String::new();
        append(&mut output, "a: 1");
        append(&mut output, "b: 1\n");
        append(&mut output, "---\nc: 1\n");
        assert_eq!(output, "a: 1\n---\nb: 1\n---\nc: 1\n");
    }
}
