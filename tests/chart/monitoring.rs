//! Dashboards and alerts, which must not ask for what nothing counts.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{in_chart, in_tree, read};

/// The metrics of the page, with whether they are histograms.
fn counted() -> BTreeMap<String, bool> {
    let page = read("docs/metrics.md");
    let rows = page.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        Some((name.to_owned(), rest.starts_with("histogram")))
    });
    rows.collect()
}

/// The names of metrics in an expression.
fn metrics(expression: &str) -> impl Iterator<Item = &str> {
    expression
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("dapr_") || word.starts_with("sidegate_"))
}

fn check(place: &str, expression: &str) {
    let counted = counted();
    let mut found = 0;
    for name in metrics(expression) {
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end));
        let is_counted = match (counted.get(name), base.and_then(|base| counted.get(base))) {
            (Some(is_histogram), _) => !is_histogram,
            (None, Some(is_histogram)) => *is_histogram,
            (None, None) => false,
        };
        assert!(is_counted, "{place}: docs/metrics.md does not show {name}");
        found += 1;
    }
    assert!(found > 0, "{place}: no metric in {expression:?}");
}

fn dashboards() -> Vec<(String, Value)> {
    let folder = in_tree("charts/sidegate/files/dashboards");
    let files = std::fs::read_dir(folder).unwrap();
    let dashboard = |file: std::io::Result<std::fs::DirEntry>| {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        (
            path.display().to_string(),
            serde_json::from_str(&text).unwrap(),
        )
    };
    files.map(dashboard).collect()
}

#[test]
fn dashboards_show_metrics_that_exist() {
    let dashboards = dashboards();
    assert_eq!(dashboards.len(), 2);
    for (path, dashboard) in &dashboards {
        for panel in dashboard["panels"].as_array().unwrap() {
            let place = format!("{path}: {}", panel["title"]);
            for target in panel["targets"].as_array().unwrap() {
                check(&place, target["expr"].as_str().unwrap());
            }
        }
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            if variable["type"] == "query" {
                check(path, variable["query"].as_str().unwrap());
            }
        }
    }
}

#[test]
fn panels_do_not_lie_over_each_other() {
    for (path, dashboard) in dashboards() {
        let panels = dashboard["panels"].as_array().unwrap();
        let place = |panel: &Value, side: &str| panel["gridPos"][side].as_u64().unwrap();
        for (at, panel) in panels.iter().enumerate() {
            assert!(place(panel, "x") + place(panel, "w") <= 24, "{path}");
            for other in &panels[at + 1..] {
                let apart = |from: &str, length: &str| {
                    place(panel, from) + place(panel, length) <= place(other, from)
                        || place(other, from) + place(other, length) <= place(panel, from)
                };
                let (one, two) = (&panel["title"], &other["title"]);
                assert!(
                    apart("x", "w") || apart("y", "h"),
                    "{path}: {one} and {two}"
                );
                assert_ne!(panel["id"], other["id"], "{path}");
            }
        }
    }
}

#[test]
fn alerts_watch_metrics_that_exist_and_say_what_to_do() {
    let alerts: Value = serde_saphyr::from_str(&in_chart("files/alerts.yaml")).unwrap();
    let mut names = Vec::new();
    for group in alerts["groups"].as_array().unwrap() {
        for rule in group["rules"].as_array().unwrap() {
            let name = rule["alert"].as_str().unwrap();
            check(name, rule["expr"].as_str().unwrap());
            for text in ["summary", "description"] {
                assert!(rule["annotations"][text].is_string(), "{name}: no {text}");
            }
            let severity = rule["labels"]["severity"].as_str().unwrap();
            assert!(
                ["info", "warning", "critical"].contains(&severity),
                "{name}"
            );
            names.push(name);
        }
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "an alert is there twice");
}
