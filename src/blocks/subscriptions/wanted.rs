//! Which subscriptions there should be. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::streaming::Stream;
use crate::blocks::metadata;
use crate::registry::messaging::LoadedPubSub;
use crate::resources::subscription::{Spec, Subscription};

/// Who says that there is a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Declarative,
    Programmatic,
    Streaming,
}

impl Kind {
    /// In the words of `/v1.0/metadata`.
    fn as_str(self) -> &'static str {
        match self {
            Self::Declarative => "DECLARATIVE",
            Self::Programmatic => "PROGRAMMATIC",
            Self::Streaming => "STREAMING",
        }
    }
}

/// What tells a subscription from all others at one moment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// Pub/sub and topic of one to the app.
    App(String, String),
    /// The id of a stream.
    Stream(u64),
}

/// A subscription that there should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) key: Key,
    pub(super) kind: Kind,
    pub(super) spec: Arc<Spec>,
}

/// The subscriptions to the app. Of two to one topic the first counts, those that are written down
/// before those that the app lists (Dapr 1.18); each of the others is told to `warn`.
pub(super) fn of_app(
    written: &[Arc<Subscription>],
    listed: &[Arc<Spec>],
    mut warn: impl FnMut(String),
) -> Vec<Wanted> {
    let written = written
        .iter()
        .map(|one| (Kind::Declarative, Arc::new(one.spec.clone())));
    let listed = listed
        .iter()
        .map(|spec| (Kind::Programmatic, Arc::clone(spec)));
    let mut seen: BTreeMap<Key, Kind> = BTreeMap::new();
    let mut wanted = Vec::new();
    for (kind, spec) in written.chain(listed) {
        let key = Key::App(spec.pubsub.clone(), spec.topic.clone());
        if let Some(first) = seen.get(&key) {
            let (kind, first) = (kind.as_str(), first.as_str());
            let Spec { pubsub, topic, .. } = &*spec;
            warn(format!(
                "the {kind} subscription to topic {topic:?} of pub/sub {pubsub:?} has no effect: \
                 there is a {first} one"
            ));
            continue;
        }
        seen.insert(key.clone(), kind);
        wanted.push(Wanted { key, kind, spec });
    }
    wanted
}

/// The subscription of a stream.
pub(super) fn of_stream(stream: &Stream) -> Wanted {
    Wanted {
        key: Key::Stream(stream.id),
        kind: Kind::Streaming,
        spec: Arc::clone(&stream.spec),
    }
}

impl Wanted {
    /// Its component, where it is loaded and lets the app have the topic; else why not.
    pub(super) fn pubsub<'a>(
        &self,
        pubsubs: &'a BTreeMap<String, Arc<LoadedPubSub>>,
        app_id: &str,
    ) -> Result<&'a Arc<LoadedPubSub>, String> {
        let Spec { pubsub, topic, .. } = &*self.spec;
        let Some(loaded) = pubsubs.get(pubsub) else {
            return Err(format!(
                "the subscription to topic {topic:?} waits: pub/sub {pubsub:?} is not loaded"
            ));
        };
        if loaded.component.scopes.permits_subscribing(app_id, topic) {
            Ok(loaded)
        } else {
            Err(format!(
                "subscription to topic {topic} on pubsub {pubsub} is not allowed for app id \
                 {app_id}"
            ))
        }
    }

    /// What the metadata tells of it.
    pub(super) fn view(&self) -> metadata::Subscription {
        let Spec {
            pubsub,
            topic,
            routes,
            metadata,
            dead_letter_topic,
            ..
        } = &*self.spec;
        let rules = routes.rules.iter();
        let rules = rules.map(|rule| (rule.expression.clone(), rule.path.clone()));
        let default = routes
            .default
            .iter()
            .map(|path| (String::new(), path.clone()));
        metadata::Subscription {
            pubsub: pubsub.clone(),
            topic: topic.clone(),
            metadata: metadata.clone(),
            rules: rules.chain(default).collect(),
            dead_letter_topic: dead_letter_topic.clone().unwrap_or_default(),
            kind: self.kind.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::Origin;

    fn spec(topic: &str, path: &str) -> Spec {
        let mut spec = Spec {
            pubsub: "p".to_owned(),
            topic: topic.to_owned(),
            ..Spec::default()
        };
        spec.routes.push("", path);
        spec
    }

    #[test]
    fn what_is_written_down_wins_over_what_the_app_lists() {
        let written = [Arc::new(Subscription {
            origin: Origin::BuiltIn,
            name: "s".to_owned(),
            namespace: None,
            scopes: Vec::new(),
            spec: spec("a", "/written"),
        })];
        let listed = [spec("a", "/x"), spec("b", "/y"), spec("b", "/z")].map(Arc::new);
        let mut warnings = Vec::new();
        let wanted = of_app(&written, &listed, |warning| warnings.push(warning));
        let views: Vec<_> = wanted.iter().map(Wanted::view).collect();
        let rules: Vec<_> = views
            .iter()
            .map(|view| (view.kind, &*view.rules[0].1))
            .collect();
        assert_eq!(rules, [("DECLARATIVE", "/written"), ("PROGRAMMATIC", "/y")]);
        assert_eq!(warnings.len(), 2, "{warnings:?}");
    }
}
