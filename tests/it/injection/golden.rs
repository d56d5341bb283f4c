//! `tests/golden/<case>`: a pod and what becomes of it. `UPDATE_GOLDEN=1` writes the outcomes anew.
//!
//! `pod.yaml` and, where it differs from the default, `config.json` go in. Out come `patch.json`,
//! where there is a patch, `warnings.txt`, a warning a line, and `denied.txt`, with reason and
//! message; `verdict.txt` says which kind of verdict it was.

use std::fs;
use std::path::Path;

use json_patch::Patch;
use serde_json::Value;
use sidegate::injector::config::Config;
use sidegate::injector::inject::Verdict;

use super::{check_injected, verdict};

/// What a case gave, as the files that stand in its folder.
struct Outcome {
    verdict: &'static str,
    patch: Option<Patch>,
    warnings: Vec<String>,
    denied: Option<String>,
}

impl Outcome {
    fn of(verdict: Verdict) -> Self {
        let (name, patch, warnings, denied) = match verdict {
            Verdict::Skipped(reason) => (reason.as_str(), None, Vec::new(), None),
            Verdict::Injected {
                patch, warnings, ..
            } => ("injected", Some(patch), warnings, None),
            Verdict::AlreadyInjected { patch, warnings } => {
                ("already_injected", Some(patch), warnings, None)
            }
            Verdict::ForeignSidecar { warnings } => ("foreign_sidecar", None, warnings, None),
            Verdict::Denied {
                message,
                reason,
                warnings,
            } => {
                let denied = format!("{}: {message}", reason.as_str());
                ("denied", None, warnings, Some(denied))
            }
        };
        Self {
            verdict: name,
            patch,
            warnings,
            denied,
        }
    }

    /// Each file with its text, none where it is not to be there.
    fn files(&self) -> [(&'static str, Option<String>); 4] {
        let patch = self.patch.as_ref();
        let patch = patch.map(|patch| serde_json::to_string_pretty(patch).unwrap() + "\n");
        let warnings: String = self
            .warnings
            .iter()
            .map(|text| format!("{text}\n"))
            .collect();
        [
            ("verdict.txt", Some(format!("{}\n", self.verdict))),
            ("patch.json", patch),
            (
                "warnings.txt",
                Some(warnings).filter(|text| !text.is_empty()),
            ),
            (
                "denied.txt",
                self.denied.as_ref().map(|text| format!("{text}\n")),
            ),
        ]
    }
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

#[test]
fn every_case_has_its_outcome() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
    let mut cases = 0;
    for case in fs::read_dir(root).unwrap() {
        let folder = case.unwrap().path();
        let pod: Value =
            serde_saphyr::from_str(&fs::read_to_string(folder.join("pod.yaml")).unwrap()).unwrap();
        let config = read(&folder.join("config.json")).map_or_else(Config::default, |text| {
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{folder:?}: {error}"))
        });
        let verdict = verdict(&pod, &config);
        if let Verdict::Injected { patch, .. } = &verdict {
            check_injected(&pod, patch, &config);
        }
        for (name, text) in Outcome::of(verdict).files() {
            let path = folder.join(name);
            match (&text, update) {
                (Some(text), true) => fs::write(&path, text).unwrap(),
                (None, true) => drop(fs::remove_file(&path)),
                (_, false) => assert_eq!(read(&path), text, "{}", path.display()),
            }
        }
        cases += 1;
    }
    assert!(cases > 0);
}
