//! The page of metrics names exactly what the program counts.

use std::collections::BTreeMap;

use super::source::{Contents, Source};
use super::{Finding, finding};

/// Names of metrics that stand on one side only: in the sources, or on the page.
pub(crate) fn check(sources: &[(&Source, Contents)], page: &Source) -> Vec<Finding> {
    let mut counted = BTreeMap::new();
    for (source, contents) in sources {
        for literal in contents.literals.iter().filter(|text| !text.in_test) {
            if is_metric(&literal.text) {
                let place = (source.path.as_str(), literal.line);
                counted.entry(literal.text.as_str()).or_insert(place);
            }
        }
    }
    let shown: BTreeMap<&str, usize> = page
        .text
        .lines()
        .enumerate()
        .filter_map(|(at, line)| Some((line.strip_prefix("| `")?.split_once('`')?.0, at + 1)))
        .filter(|(name, _)| is_metric(name))
        .collect();
    let hidden = counted
        .iter()
        .filter(|(name, _)| !shown.contains_key(*name))
        .map(|(name, (path, line))| {
            finding(path, *line, format!("{} does not show {name}", page.path))
        });
    let stale = shown
        .iter()
        .filter(|(name, _)| !counted.contains_key(*name))
        .map(|(name, line)| finding(&page.path, *line, format!("nothing counts {name}")));
    hidden.chain(stale).collect()
}

fn is_metric(text: &str) -> bool {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let known = ["dapr_", "sidegate_"]
        .iter()
        .any(|start| text.starts_with(start));
    known && text.chars().all(is_name)
}
