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
    /// A part of the last two that names no app is an error: the app that was meant would be free
    /// to use every topic.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let allowed = topics(reader.text(&["allowedTopics"])?.unwrap_or_default());
        Ok(Self {
            allowed: (!allowed.is_empty()).then_some(allowed),
            protected: topics(reader.text(&["protectedTopics"])?.unwrap_or_default()),
            publishing: by_app(reader, "publishingScopes")?,
            subscription: by_app(reader, "subscriptionScopes")?,
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

/// The topics of each app; those of several parts for one app add up.
fn by_app(
    reader: &mut Reader<'_>,
    name: &'static str,
) -> Result<BTreeMap<String, BTreeSet<String>>, Error> {
    let list = reader.text(&[name])?.unwrap_or_default().replace(' ', "");
    let mut apps = BTreeMap::<_, BTreeSet<_>>::new();
    for part in list.split(';').filter(|part| !part.is_empty()) {
        let (app_id, list) = match part.split_once('=') {
            Some((app_id, list)) if !app_id.is_empty() && !list.contains('=') => (app_id, list),
            _ => {
                return Err(Error::Invalid {
                    name,
                    accepted: "a list of the form app1=topic1,topic2;app2=",
                });
            }
        };
        apps.entry(app_id.to_owned())
            .or_default()
            .extend(topics(list));
    }
    Ok(apps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::contract;

    fn scopes(properties: &[(&str, &str)]) -> Result<TopicScopes, Error> {
        let component = contract::component("pubsub.x", properties);
        TopicScopes::read(&mut Reader::new(&component)?)
    }

    /// Which of these topics an app may publish to, and which it may subscribe to.
    fn permitted(scopes: &TopicScopes, app_id: &str) -> [String; 2] {
        let among = |permits: &dyn Fn(&str) -> bool| {
            let topics = ["a", "b", "c"].into_iter();
            topics.filter(|topic| permits(topic)).collect()
        };
        [
            among(&|topic| scopes.permits_publishing(app_id, topic)),
            among(&|topic| scopes.permits_subscribing(app_id, topic)),
        ]
    }

    #[test]
    fn each_list_restricts_as_dapr_says() {
        for (properties, app, other) in [
            (&[][..], ["abc", "abc"], ["abc", "abc"]),
            (&[("allowedTopics", "")], ["abc", "abc"], ["abc", "abc"]),
            (&[("allowedTopics", "a, b")], ["ab", "ab"], ["ab", "ab"]),
            (&[("protectedTopics", "a")], ["bc", "bc"], ["bc", "bc"]),
            (
                &[("publishingScopes", "app=a,b;x=")],
                ["ab", "abc"],
                ["abc", "abc"],
            ),
            (
                &[("publishingScopes", " a p p = a ; app = c;")],
                ["ac", "abc"],
                ["abc", "abc"],
            ),
            (
                &[("subscriptionScopes", "app=")],
                ["abc", ""],
                ["abc", "abc"],
            ),
            (
                &[
                    ("protectedTopics", "a,b"),
                    ("publishingScopes", "app=a"),
                    ("subscriptionScopes", "other=b,c"),
                ],
                ["a", "c"],
                ["c", "bc"],
            ),
            (
                &[("allowedTopics", "a"), ("publishingScopes", "app=a,b")],
                ["a", "a"],
                ["a", "a"],
            ),
            (
                &[("allowedTopics", "a,b"), ("protectedTopics", "b,c")],
                ["a", "a"],
                ["a", "a"],
            ),
        ] {
            let scopes = scopes(properties).unwrap();
            assert_eq!(permitted(&scopes, "app"), app, "{properties:?}");
            assert_eq!(permitted(&scopes, "other"), other, "{properties:?}");
        }
    }

    #[test]
    fn a_list_that_names_no_app_is_an_error() {
        for (name, list) in [
            ("publishingScopes", "app"),
            ("publishingScopes", "app:a"),
            ("subscriptionScopes", "app=a;=b"),
            ("subscriptionScopes", "app=a,other=b"),
        ] {
            let error = scopes(&[(name, list)]).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
            assert!(error.contains("app1=topic1,topic2;app2="), "{error}");
        }
    }
}
