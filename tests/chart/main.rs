//! The chart as it is written: its values, their documentation, dashboards and alerts. What helm
//! and an API server make of it is tested in `tests/cluster/chart`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod monitoring;
mod values;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sidegate::testing::page::expect_fresh;

const README: &str = "charts/sidegate/README.md";
const SCHEMA: &str = "charts/sidegate/values.schema.json";

/// Where the generated part of the README begins.
const MARK: &str = "<!-- Made from values.yaml: `make docs` writes it anew. -->\n";

/// Flags of the injector that make no sense in a pod, or that extraArgs is for.
const UNREACHABLE: [&str; 1] = [
    // There is a service account.
    "--kubeconfig",
];

fn in_tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(in_tree(path)).unwrap()
}

fn in_chart(name: &str) -> String {
    read(&format!("charts/sidegate/{name}"))
}

#[test]
fn the_readme_shows_every_value() {
    let readme = read(README);
    let (head, _) = readme.split_once(MARK).unwrap();
    let values = values::read(&in_chart("values.yaml"));
    let text = format!("{head}{MARK}{}", values::table(&values));
    expect_fresh(README, &text);
}

#[test]
fn the_schema_knows_and_describes_every_value() {
    let values = values::read(&in_chart("values.yaml"));
    let schema = values::described(&read(SCHEMA), &values);
    expect_fresh(SCHEMA, &schema);
}

#[test]
fn the_chart_has_the_version_of_the_program() {
    let chart = in_chart("Chart.yaml");
    for field in ["version", "appVersion"] {
        let line = format!("{field}: {}", env!("CARGO_PKG_VERSION"));
        assert!(chart.lines().any(|found| found == line), "no line {line:?}");
    }
}

#[test]
fn a_value_leads_to_each_flag_of_the_injector() {
    let arguments = in_chart("templates/_arguments.tpl");
    let page = read("docs/flags.md");
    let section = page
        .split("\n## ")
        .find(|part| part.starts_with("sidegate injector\n"));
    let flags: BTreeSet<_> = section
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|flag| flag.starts_with("--"))
        .collect();
    assert!(flags.len() > 30, "{flags:?}");
    let unreachable: Vec<_> = flags
        .into_iter()
        .filter(|flag| !arguments.contains(&format!("{flag}=")))
        .collect();
    assert_eq!(unreachable, UNREACHABLE);
}
