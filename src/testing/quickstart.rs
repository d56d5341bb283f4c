//! Runs the `## Try it` part of a page of documentation, or another one, as it is written.
//!
//! In an empty folder: a block ```` ```yaml ````, ```` ```python ```` or ```` ```javascript ````,
//! whose first line is a comment with a path, is written to that file; the blocks ```` ```sh ````
//! are run in order by one shell, which ends with the first command that fails; each line of a
//! block ```` ```text ```` has to be a line of what they print, in that order.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;

/// Far above what a slow machine needs: it only keeps a broken page from hanging.
const PATIENCE: Duration = Duration::from_secs(300);

/// The heading of the part that most pages have.
const TRY_IT: &str = "## Try it";

/// A part of a page.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The page, as a path from the root of the tree.
    pub page: &'a str,
    /// The line with the heading of the part. What `## Try it` writes to files is there as well.
    pub heading: &'a str,
    /// Texts, such as names of images, in whose place a test has others.
    pub replacing: &'a [(&'a str, &'a str)],
}

/// A quickstart in pieces.
#[derive(Debug, Default, PartialEq, Eq)]
struct Quickstart {
    files: Vec<(String, String)>,
    script: String,
    expected: Vec<String>,
}

/// Runs the quickstart of `page`, a path from the root of the tree, with these folders in front of
/// `PATH` and more variables.
///
/// Panics where something is other than the page says. Whatever the page leaves running is ended.
pub async fn run(page: &str, programs: &[PathBuf], variables: &[(&str, &str)]) {
    let part = Part {
        page,
        heading: TRY_IT,
        replacing: &[],
    };
    run_part(part, programs, variables).await;
}

/// The same with any part of a page.
pub async fn run_part(part: Part<'_>, programs: &[PathBuf], variables: &[(&str, &str)]) {
    let page = part.page;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let mut text = std::fs::read_to_string(path).unwrap();
    for (written, meant) in part.replacing {
        assert!(text.contains(written), "{page} has no {written:?}");
        text = text.replace(written, meant);
    }
    let mut quickstart = Quickstart::parse(&text, part.heading);
    if part.heading != TRY_IT {
        quickstart
            .files
            .extend(Quickstart::parse(&text, TRY_IT).files);
    }
    assert!(!quickstart.script.is_empty(), "{page} has nothing to try");
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in &quickstart.files {
        let file = folder.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
    }
    let log = folder.path().join("quickstart.log");
    let output = std::fs::File::create(&log).unwrap();
    let mut shell = Command::new("sh");
    shell
        .args(["-e", "-c", &quickstart.script])
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .env("PATH", search_path(programs))
        .envs(variables.iter().copied())
        .env_remove("DAPR_API_TOKEN")
        .env_remove("APP_API_TOKEN")
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .process_group(0);
    let mut child = shell.spawn().unwrap();
    let group = i32::try_from(child.id().unwrap()).unwrap();
    let status = tokio::time::timeout(PATIENCE, child.wait()).await;
    // Servers that it started in the background.
    let _ = kill_process_group(Pid::from_raw(group).unwrap(), Signal::KILL);
    let printed = std::fs::read_to_string(&log).unwrap();
    let status = status.unwrap_or_else(|_| panic!("{page} never ends:\n{printed}"));
    assert!(status.unwrap().success(), "{page} fails:\n{printed}");
    let mut lines = printed.lines().map(str::trim_end);
    for line in &quickstart.expected {
        assert!(
            lines.any(|printed| printed == line),
            "{page} does not print {line:?}, or not in that order:\n{printed}"
        );
    }
}

fn search_path(programs: &[PathBuf]) -> OsString {
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let all = programs
        .iter()
        .cloned()
        .chain(std::env::split_paths(&inherited));
    std::env::join_paths(all).unwrap()
}

impl Quickstart {
    fn parse(page: &str, heading: &str) -> Self {
        let mut quickstart = Self::default();
        let mut lines = page
            .lines()
            .skip_while(|line| *line != heading)
            .skip(1)
            .take_while(|line| !line.starts_with("## "));
        while let Some(line) = lines.next() {
            let Some(kind) = line.strip_prefix("```").filter(|kind| !kind.is_empty()) else {
                continue;
            };
            let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            match kind {
                "yaml" | "python" | "javascript" => {
                    let name = block[0].trim_start_matches(['#', '/']).trim();
                    let content = format!("{}\n", block.join("\n"));
                    quickstart.files.push((name.to_owned(), content));
                }
                "sh" => {
                    quickstart.script.push_str(&block.join("\n"));
                    quickstart.script.push('\n');
                }
                "text" => quickstart
                    .expected
                    .extend(block.iter().map(|line| (*line).to_owned())),
                other => panic!("a quickstart has no blocks of {other:?}"),
            }
        }
        quickstart
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_blocks_under_its_heading() {
        let page = "# Page\n```sh\nnot this\n```\n## Try it\nText.\n\n```yaml\n# a/b.yaml\nk: v\n\
                    ```\n```javascript\n// c.js\nd();\n```\n```sh\none\n```\n```sh\ntwo\n```\n\
                    ```text\nprinted\n```\n## Then\n```sh\nnor this\n```\n";
        let expected = Quickstart {
            files: vec![
                ("a/b.yaml".to_owned(), "# a/b.yaml\nk: v\n".to_owned()),
                ("c.js".to_owned(), "// c.js\nd();\n".to_owned()),
            ],
            script: "one\ntwo\n".to_owned(),
            expected: vec!["printed".to_owned()],
        };
        assert_eq!(Quickstart::parse(page, TRY_IT), expected);
        assert_eq!(Quickstart::parse(page, "## Then").script, "nor this\n");
    }
}
