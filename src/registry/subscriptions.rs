//! The subscriptions that are written down for this app, kept in line with what is written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tracing::info;

use super::plan::Filter;
use crate::resources::subscription::Subscription;

/// The documents, and those of them that count.
#[derive(Default)]
pub(super) struct Subscriptions {
    /// Those that are written down, in the last version that could be read.
    written: Vec<Subscription>,
    /// In the order of the documents; one that stays the same stays the same one.
    current: Vec<Arc<Subscription>>,
    /// What is written and has no effect.
    warnings: Vec<String>,
}

impl Subscriptions {
    /// Takes over what is written down now. Of `places` that have problems, subscriptions that are
    /// nowhere else stay as they were.
    pub(super) fn take_written(&mut self, now: Vec<Subscription>, places: &BTreeSet<String>) {
        let names: BTreeSet<_> = now.iter().map(|one| one.name.clone()).collect();
        let old = std::mem::replace(&mut self.written, now).into_iter();
        self.written.extend(old.filter(|old| {
            places.contains(&old.origin.place()) && !names.contains(old.name.as_str())
        }));
    }

    /// Chooses those that are for this sidecar. Of two with one topic the first counts.
    pub(super) fn choose(&mut self, filter: &Filter<'_>) {
        let mut by_topic: BTreeMap<(&str, &str), &Subscription> = BTreeMap::new();
        let mut chosen = Vec::new();
        self.warnings.clear();
        for written in &self.written {
            if !filter.admits(written.namespace.as_deref(), &written.scopes) {
                continue;
            }
            let (pubsub, topic) = (written.spec.pubsub.as_str(), written.spec.topic.as_str());
            if let Some(first) = by_topic.get(&(pubsub, topic)) {
                self.warnings.push(format!(
                    "{}: Subscription {:?} has no effect: topic {topic:?} of pub/sub {pubsub:?} \
                     is subscribed to by {:?} ({}) already",
                    written.origin, written.name, first.name, first.origin
                ));
                continue;
            }
            by_topic.insert((pubsub, topic), written);
            let same = self.current.iter().find(|old| old.same_as(written));
            chosen.push(match same {
                Some(old) => Arc::clone(old),
                None => Arc::new(written.clone()),
            });
        }
        log(&self.current, &chosen);
        self.current = chosen;
    }

    /// Those that count.
    pub(super) fn current(&self) -> Vec<Arc<Subscription>> {
        self.current.clone()
    }

    /// What is written and has no effect.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        self.warnings.iter().cloned()
    }
}

fn log(before: &[Arc<Subscription>], now: &[Arc<Subscription>]) {
    let has = |list: &[Arc<Subscription>], name: &str| list.iter().any(|one| one.name == name);
    for one in now {
        if !before.iter().any(|old| Arc::ptr_eq(old, one)) {
            let verb = if has(before, &one.name) {
                "updated"
            } else {
                "loaded"
            };
            let (topic, pubsub) = (&one.spec.topic, &one.spec.pubsub);
            info!(
                "Subscription {verb}: {} (topic {topic} of {pubsub})",
                one.name
            );
        }
    }
    for old in before.iter().filter(|old| !has(now, &old.name)) {
        info!("Subscription removed: {}", old.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::decode::Resources;
    use std::path::Path;

    fn written(documents: &[(&str, &str, &str)]) -> Vec<Subscription> {
        let mut resources = Resources::default();
        for (name, topic, more) in documents {
            let text = format!(
                "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata: {{name: {name}}}\n\
                 spec: {{topic: {topic}, pubsubname: p, routes: {{default: /{name}}}}}\n{more}\n"
            );
            resources.add(Path::new(&format!("{name}.yaml")), &text);
        }
        assert!(resources.problems.is_empty(), "{:?}", resources.problems);
        resources.subscriptions
    }

    fn filter() -> Filter<'static> {
        Filter {
            app_id: "app",
            namespace: None,
            denied: &[],
            default_store: None,
            has_kubernetes_store: false,
        }
    }

    fn names(subscriptions: &Subscriptions) -> Vec<String> {
        let current = subscriptions.current();
        current.iter().map(|one| one.name.clone()).collect()
    }

    #[test]
    fn the_first_of_a_topic_counts_and_scopes_keep_others_out() {
        let mut subscriptions = Subscriptions::default();
        let documents = [
            ("other", "t", "scopes: [other]"),
            ("first", "t", "scopes: [app]"),
            ("second", "t", ""),
            ("third", "u", ""),
        ];
        subscriptions.take_written(written(&documents), &BTreeSet::new());
        subscriptions.choose(&filter());
        assert_eq!(names(&subscriptions), ["first", "third"]);
        let warnings: Vec<_> = subscriptions.warnings().collect();
        assert_eq!(warnings.len(), 1);
        assert!(
            warnings[0].contains("Subscription \"second\" has no effect"),
            "{warnings:?}"
        );
    }

    #[test]
    fn what_stays_the_same_stays_the_same_one_and_what_breaks_stays_as_it_was() {
        let mut subscriptions = Subscriptions::default();
        let both = [("a", "t", ""), ("b", "u", "")];
        subscriptions.take_written(written(&both), &BTreeSet::new());
        subscriptions.choose(&filter());
        let before = subscriptions.current();
        let only_a = written(&both[..1]);
        subscriptions.take_written(only_a.clone(), &["b.yaml".to_owned()].into());
        subscriptions.choose(&filter());
        let after = subscriptions.current();
        assert_eq!(after.len(), 2);
        assert!(
            before
                .iter()
                .zip(&after)
                .all(|(old, new)| Arc::ptr_eq(old, new))
        );
        subscriptions.take_written(only_a, &BTreeSet::new());
        subscriptions.choose(&filter());
        assert_eq!(names(&subscriptions), ["a"]);
    }
}
