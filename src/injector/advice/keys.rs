//! Annotations that stand where nobody reads them, and those without which the others do nothing.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::base::truthy::is_truthy;
use crate::injector::annotations::{Annotations, Kind, TABLE, hints, is_ours, shown, table as key};
use crate::injector::inject::wants_sidecar;
use crate::injector::workload::Workload;

/// How many keys one warning names.
const NAMED: usize = 3;

/// Metadata of a workload that is not its pods', as what follows the kind in its name and a JSON
/// pointer.
const OUTSIDE: [(&str, &str); 2] = [
    (" itself", "/metadata"),
    ("'s jobTemplate", "/spec/jobTemplate/metadata"),
];

/// Labels that the injector writes, so that a template may have them for its selectors.
const WRITTEN: [&str; 3] = [
    key::APP_ID.key,
    "dapr.io/sidecar-injected",
    "dapr.io/metrics-enabled",
];

/// Our annotations of a workload outside of its pod template, by where they stand.
pub(super) fn outside<'a>(workload: &Workload<'a>) -> Vec<(&'static str, Vec<&'a str>)> {
    let places = OUTSIDE.iter().filter(|_| !workload.is_pod());
    places
        .filter_map(|(place, pointer)| {
            let mut keys = our_keys(workload.object.pointer(pointer)?, "annotations");
            keys.retain(|key| may_be_meant(key));
            (!keys.is_empty()).then_some((*place, keys))
        })
        .collect()
}

/// Warns of keys of a workload.
pub(super) fn warnings(workload: &Workload<'_>, template: &Value) -> Vec<String> {
    let inside = annotations(template);
    let mut elsewhere = Vec::new();
    let mut all = Vec::new();
    for (place, mut keys) in outside(workload) {
        keys.retain(|key| !inside.contains_key(*key));
        if !keys.is_empty() {
            all.push(misplaced(workload, place, &keys));
        }
        elsewhere.extend(keys);
    }
    let mut labels = our_keys(&template["metadata"], "labels");
    let is_known = |key: &str| TABLE.iter().any(|row| row.key == key);
    labels.retain(|key| {
        let is_written = WRITTEN.contains(key);
        is_known(key) && may_be_meant(key) && !is_written && !inside.contains_key(*key)
    });
    if !labels.is_empty() {
        all.push(format!(
            "labels {} of the pods have no effect: write them as annotations",
            named(&labels)
        ));
    }
    elsewhere.extend(labels);
    if !wants_sidecar(template) {
        all.extend(not_asked(&inside, &elsewhere));
    }
    all
}

fn misplaced(workload: &Workload<'_>, place: &str, keys: &[&str]) -> String {
    let pointer = workload.pointer.trim_start_matches('/').replace('/', ".");
    format!(
        "annotations {} of the {}{place} have no effect: write them into \
         {pointer}.metadata.annotations",
        named(keys),
        workload.kind
    )
}

/// Pods of a StatefulSet have names when they are admitted, which count where no id is given.
pub(super) fn changing_app_id(workload: &Workload<'_>) -> Option<String> {
    let template = workload.template().filter(|one| wants_sidecar(one))?;
    let id = template["metadata"]["annotations"][key::APP_ID.key].as_str();
    let name = workload.name_of_first_pod();
    name.filter(|_| id.unwrap_or_default().is_empty())
        .map(|name| {
            format!(
                "annotation {:?} is missing: each pod is an app of its own, the first one {}",
                key::APP_ID.key,
                shown(&name)
            )
        })
}

/// Warns where annotations are there, and none that asks for a sidecar.
fn not_asked(inside: &BTreeMap<String, String>, elsewhere: &[&str]) -> Vec<String> {
    let enabled = key::ENABLED.key;
    match inside.get(enabled) {
        // What is not exactly true is told of with the pod.
        Some(value) if is_truthy(value) => Annotations::new(inside).into_warnings(),
        // Whoever switched the sidecar off need not hear of the rest.
        Some(value) => {
            let alone = BTreeMap::from([(enabled.to_owned(), value.clone())]);
            let mut annotation = Annotations::new(&alone);
            annotation.maybe_flag(&key::ENABLED);
            annotation.into_warnings()
        }
        None => {
            let mut all = Annotations::new(inside).into_warnings();
            let mut ours = inside.keys().filter(|key| is_ours(key));
            let is_told = elsewhere.contains(&enabled)
                || hints(inside).any(|(_, meant)| meant == Some(&key::ENABLED));
            if !is_told && ours.any(|key| may_be_meant(key)) {
                all.push(format!(
                    "annotation {enabled:?} is missing: the pods get no sidecar, and what the \
                     other annotations say has no effect"
                ));
            }
            all
        }
    }
}

/// Whether whoever wrote a key may want something of the injector: it is no key for others.
fn may_be_meant(key: &str) -> bool {
    let row = TABLE.iter().find(|row| row.key == key);
    row.is_none_or(|row| row.kind != Kind::NotRead)
}

/// The annotations of a template.
fn annotations(template: &Value) -> BTreeMap<String, String> {
    let values = template["metadata"]["annotations"].as_object();
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    values.into_iter().flatten().filter_map(text).collect()
}

/// The keys with our prefixes of a map in an object's metadata.
fn our_keys<'a>(metadata: &'a Value, map: &str) -> Vec<&'a str> {
    let map = metadata[map].as_object();
    let keys = map.into_iter().flat_map(|map| map.keys());
    keys.map(String::as_str)
        .filter(|key| is_ours(key))
        .collect()
}

/// The first keys in quotes, and how many more there are.
fn named(keys: &[&str]) -> String {
    let first = keys.iter().take(NAMED).map(|key| shown(key));
    let first = first.collect::<Vec<_>>().join(", ");
    match keys.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
