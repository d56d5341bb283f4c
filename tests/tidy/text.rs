//! Sizes, the form of to-do notes, and words that do not belong into this tree.

use super::source::{Contents, Source};
use super::{Finding, finding};

const LINES_BEFORE_TESTS: usize = 400;
const LINES: usize = 600;
const COLUMNS: usize = 100;

/// A file of Rust that is too long, or has a line that is too long.
pub(crate) fn check_size(source: &Source, contents: &Contents) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = source.text.lines().count();
    let before_tests = contents.tests_from.map_or(lines, |line| line - 1);
    if source.path.starts_with("src/") && before_tests > LINES_BEFORE_TESTS {
        let text = format!("{before_tests} lines before its tests, over {LINES_BEFORE_TESTS}");
        findings.push(finding(&source.path, LINES_BEFORE_TESTS, text));
    }
    if lines > LINES {
        let text = format!("{lines} lines, over {LINES}");
        findings.push(finding(&source.path, LINES, text));
    }
    for (number, line) in numbered(source) {
        let columns = line.chars().count();
        if columns > COLUMNS {
            let text = format!("{columns} columns, over {COLUMNS}");
            findings.push(finding(&source.path, number, text));
        }
    }
    findings
}

/// To-do notes in another form than the one with a number in it.
pub(crate) fn check_notes(source: &Source) -> Vec<Finding> {
    // Spelled in two parts, so that this file passes its own rule.
    let [todo, fixme, xxx] = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    let mut findings = Vec::new();
    for (number, line) in numbered(source) {
        for word in [todo, fixme, xxx] {
            let bad = words(line, word).any(|after| word != todo || !has_number(after));
            if bad {
                let text = format!("\"{word}\": the only form of a note is {todo}(#123)");
                findings.push(finding(&source.path, number, text));
            }
        }
    }
    findings
}

/// What follows each occurrence of `word` that is a word of its own.
fn words<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    line.match_indices(word).filter_map(move |(at, _)| {
        let after = &line[at + word.len()..];
        let inside = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let begins = !line[..at].ends_with(inside);
        (begins && !after.starts_with(inside)).then_some(after)
    })
}

fn has_number(after: &str) -> bool {
    after
        .strip_prefix("(#")
        .and_then(|rest| rest.split_once(')'))
        .is_some_and(|(digits, _)| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// Paths of one machine: the tree speaks of itself alone.
pub(crate) fn check_words(source: &Source) -> Vec<Finding> {
    let folders = ["work", "root", "home"].map(|folder| format!("/{folder}/"));
    let mut findings = Vec::new();
    for (number, line) in numbered(source) {
        for folder in folders.iter().filter(|folder| stands_alone(line, folder)) {
            let text = format!("\"{folder}\": no paths of one machine");
            findings.push(finding(&source.path, number, text));
        }
    }
    findings
}

/// Whether the folder begins an absolute path, not the middle of a URL or of another path.
fn stands_alone(line: &str, folder: &str) -> bool {
    line.match_indices(folder)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "}._-~".contains(c)))
}

/// Waiting for a time in tests, in place of waiting for what should happen.
pub(crate) fn check_sleeps(source: &Source, contents: &Contents) -> Vec<Finding> {
    if source.path == "src/testing/eventually.rs" {
        return Vec::new();
    }
    let is_sleep = |path: &[String]| match path {
        [.., module, call] => (module == "time" || module == "thread") && call == "sleep",
        _ => false,
    };
    contents
        .mentions
        .iter()
        .filter(|mention| mention.in_test && is_sleep(&mention.path))
        .map(|mention| {
            let text = "a test sleeps: use sidegate::testing::eventually or a channel".to_owned();
            finding(&source.path, mention.line, text)
        })
        .collect()
}

/// Re-exports of everything, which hide where a name is from.
pub(crate) fn check_globs(source: &Source, contents: &Contents) -> Vec<Finding> {
    contents
        .mentions
        .iter()
        .filter(|mention| mention.is_public_use)
        .filter(|mention| mention.path.last().is_some_and(|last| last == "*"))
        .map(|mention| {
            let text = format!("pub use {}: name what is exported", mention.path.join("::"));
            finding(&source.path, mention.line, text)
        })
        .collect()
}

fn numbered(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    source
        .text
        .lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line))
}
