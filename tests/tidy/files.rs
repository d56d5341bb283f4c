//! Files that nothing leads to: sources without a `mod` line, pages without a link.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, root};
use super::{Finding, finding};

/// Sources that no `mod` line leads to, beginning at the roots of the library and the program.
pub(crate) fn check_dead(sources: &[Source]) -> Vec<Finding> {
    let by_path: BTreeMap<&str, &Source> = sources
        .iter()
        .map(|source| (source.path.as_str(), source))
        .collect();
    let mut alive = BTreeSet::new();
    let mut pending = vec!["src/lib.rs".to_owned(), "src/main.rs".to_owned()];
    while let Some(path) = pending.pop() {
        let Some(source) = by_path.get(path.as_str()) else {
            continue;
        };
        if !alive.insert(path.clone()) {
            continue;
        }
        let (folder, file) = path.rsplit_once('/').unwrap_or(("", path.as_str()));
        let below = match file {
            "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
            _ => path.trim_end_matches(".rs").to_owned(),
        };
        for module in source.contents().submodules {
            pending.push(format!("{below}/{}.rs", module.name));
            pending.push(format!("{below}/{}/mod.rs", module.name));
        }
    }
    sources
        .iter()
        .filter(|source| !alive.contains(&source.path))
        .map(|source| {
            finding(
                &source.path,
                1,
                "no `mod` line leads to this file".to_owned(),
            )
        })
        .collect()
}

/// Links to files that are not there, and mentions of Markdown pages that are not there.
pub(crate) fn check_links(page: &Source) -> Vec<Finding> {
    let folder = root().join(&page.path);
    let folder = folder.parent().unwrap_or(root());
    let mut findings = Vec::new();
    for (at, line) in page.text.lines().enumerate() {
        for target in links(line) {
            if !folder.join(target).exists() {
                let text = format!("link to \"{target}\", which is not there");
                findings.push(finding(&page.path, at + 1, text));
            }
        }
        for name in pages(line) {
            if !folder.join(name).exists() && !root().join(name).exists() {
                let text = format!("mentions \"{name}\", which is not there");
                findings.push(finding(&page.path, at + 1, text));
            }
        }
    }
    findings
}

/// Pages of docs that its index does not link.
pub(crate) fn check_index(index: &Source, pages: &[Source]) -> Vec<Finding> {
    let linked: BTreeSet<&str> = index.text.lines().flat_map(links).collect();
    pages
        .iter()
        .filter(|page| page.path != index.path)
        .filter(|page| {
            let name = page.path.strip_prefix("docs/").unwrap_or(&page.path);
            !linked.contains(name)
        })
        .map(|page| {
            finding(
                &page.path,
                1,
                format!("{} does not link this page", index.path),
            )
        })
        .collect()
}

/// The targets of the links of a line of Markdown that lead to files, without their anchors.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .filter_map(|(target, _)| target.split('#').next())
        .filter(|target| !target.is_empty() && !target.contains("://"))
}

/// Words that are the names of Markdown files.
fn pages(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_ascii_alphanumeric() || "._-/".contains(c)))
        .map(|word| word.trim_end_matches('.'))
        .filter(|word| word.ends_with(".md") && word.len() > 3 && !word.starts_with("//"))
}
