//! The rules of this tree that no compiler checks (ARCHITECTURE.md, "Rules that a test checks").

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod files;
mod layers;
mod metrics;
mod packages;
mod self_test;
mod source;
mod text;

use source::{Source, files, root};

/// A broken rule.
#[derive(Debug)]
pub(crate) struct Finding {
    file: String,
    line: usize,
    text: String,
}

pub(crate) fn finding(file: &str, line: usize, text: String) -> Finding {
    Finding {
        file: file.to_owned(),
        line,
        text,
    }
}

/// Fails with one line a finding.
fn expect_none(findings: Vec<Finding>) {
    let lines: Vec<String> = findings
        .iter()
        .map(|found| format!("{}:{}: {}", found.file, found.line, found.text))
        .collect();
    assert!(lines.is_empty(), "broken rules:\n{}\n", lines.join("\n"));
}

/// Every source of Rust, ours as well as the tests'.
fn rust() -> Vec<Source> {
    ["src", "tests", "benches"]
        .iter()
        .flat_map(|dir| files(dir, &[".rs"]))
        .collect()
}

/// Every file with words of ours in it.
fn texts() -> Vec<Source> {
    let endings = [
        ".rs",
        ".md",
        ".toml",
        ".yaml",
        ".yml",
        ".json",
        ".sh",
        ".py",
        ".js",
        ".mjs",
        ".cjs",
        ".proto",
        ".txt",
        ".tpl",
        "Makefile",
        "Dockerfile",
        "run",
    ];
    files("", &endings)
}

fn one(path: &str) -> Source {
    let text = std::fs::read_to_string(root().join(path)).unwrap_or_default();
    Source::made_up(path, &text)
}

#[test]
fn each_module_imports_only_what_its_layer_may() {
    let check = |source: &Source| layers::check(source, &source.contents());
    expect_none(files("src", &[".rs"]).iter().flat_map(check).collect());
}

#[test]
fn architecture_shows_the_table_of_layers() {
    let page = one("ARCHITECTURE.md");
    let rows = layers::markdown_rows().into_iter();
    let missing = rows.filter(|row| !page.text.lines().any(|line| line == row));
    let findings = missing.map(|row| finding(&page.path, 1, format!("lacks the row: {row}")));
    expect_none(findings.collect());
}

#[test]
fn a_mod_line_leads_to_each_source() {
    expect_none(files::check_dead(&files("src", &[".rs"])));
}

#[test]
fn files_and_lines_stay_short() {
    let check = |source: &Source| text::check_size(source, &source.contents());
    expect_none(rust().iter().flat_map(check).collect());
}

#[test]
fn notes_have_one_form() {
    expect_none(texts().iter().flat_map(text::check_notes).collect());
}

#[test]
fn nothing_is_exported_by_a_glob() {
    let check = |source: &Source| text::check_globs(source, &source.contents());
    expect_none(rust().iter().flat_map(check).collect());
}

#[test]
fn tests_wait_for_what_should_happen_and_never_sleep() {
    let check = |source: &Source| text::check_sleeps(source, &source.contents());
    expect_none(rust().iter().flat_map(check).collect());
}

#[test]
fn the_tree_speaks_of_itself_alone() {
    expect_none(texts().iter().flat_map(text::check_words).collect());
}

#[test]
fn links_and_mentions_of_pages_lead_somewhere() {
    let pages = texts().into_iter().filter(|text| {
        let checked = [".md", ".rs", ".toml", "Makefile", ".yaml"];
        checked.iter().any(|ending| text.path.ends_with(ending))
            && !text.path.starts_with("tests/tidy/")
    });
    expect_none(pages.flat_map(|page| files::check_links(&page)).collect());
}

#[test]
fn the_index_of_docs_links_each_page() {
    expect_none(files::check_index(
        &one("docs/README.md"),
        &files("docs", &[".md"]),
    ));
}

#[test]
fn docs_name_every_metric() {
    let sources = files("src", &[".rs"]);
    let sources: Vec<_> = sources
        .iter()
        .map(|source| (source, source.contents()))
        .collect();
    expect_none(metrics::check(&sources, &one("docs/metrics.md")));
}

#[test]
fn one_tls_stack_is_linked() {
    expect_none(packages::check_lock(&one("Cargo.lock")));
}

#[test]
fn each_dependency_has_a_licence_of_the_list() {
    expect_none(packages::check_licences());
}
