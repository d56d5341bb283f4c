//! Which app may use which topic, as the metadata of a component says.

use std::collections::{BTreeMap, BTreeSet};

use crate::components::metadata::{Error, Reader};

/// The topics of a component, and who may use them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicScopes {
    allowed: Option<BTreeSet<String>>,
    protected: BTreeSet<String>,
    publishing: BTreeMap<String, BTreeSet<String>>,
    subscription: BTreeMap<String, BTreeSet<String>>,
}

impl TopicScopes {
    /// Reads `allowedTopics`, `protectedTopics`, `publishingScopes` and `subscriptionScopes`.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let allowed = topics(reader.text(&["allowedTopics"])?.unwrap_or_default());
        Ok(Self {
            allowed: (!allowed.is_empty()).then_some(allowed),
            protected: topics(reader.text(&["protectedTopics"])?.unwrap_or_default()),
            publishing: by_app(reader.text(&["publishingScopes"])?.unwrap_or_default()),
            subscription: by_app(reader.text(&["subscriptionScopes"])?.unwrap_or_default()),
        })
    }

    /// Whether an app may publish to a topic.
    pub fn permits_publishing(&self, app_id: &str, topic: &str) -> bool {
        self.permits(&self.publishing, app_id, topic)
    }

    /// Whether an app may subscribe to a topic.
    pub fn permits_subscribing(&self, app_id: &str, topic: &str) -> bool {
        self.permits(&self.subscription, app_id, topic)
    }

    fn permits(
        &self,
        scopes: &BTreeMap<String, BTreeSet<String>>,
        app_id: &str,
        topic: &str,
    ) -> bool {
        let is_allowed = self.allowed.as_ref();
        is_allowed.is_none_or(|allowed| allowed.contains(topic))
            && match scopes.get(app_id) {
                Some(own) => own.contains(topic),
                None => !self.protected.contains(topic),
            }
    }
}

fn topics(list: &str) -> BTreeSet<String> {
    let names = list.split(',').map(|name| name.replace(' ', ""));
    names.filter(|name| !name.is_empty()).collect()
}

fn by_app(list: &str) -> BTreeMap<String, BTreeSet<String>> {
    let entries = list.split(';').filter_map(|entry| entry.split_once('='));
    entries
        .map(|(app_id, list)| (app_id.replace(' ', ""), topics(list)))
        .collect()
}
