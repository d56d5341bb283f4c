//! Subscriptions: which messages of which topic go where in the app, as written.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::decode::{Document, Text, typed};
use super::property::{RawMetadata, UnknownFields, path_segment_problem};
use super::{Error, Origin};

/// The kind of subscriptions.
pub const KIND: &str = "Subscription";

/// The group and the newer version of subscriptions. The older is that of all other resources.
pub const API_VERSION: &str = "dapr.io/v2alpha1";

/// What a subscription with bulk delivery has that does not say it (Dapr 1.18).
const BULK_MESSAGES: u64 = 100;
const BULK_WAIT_MILLIS: u64 = 1000;
/// The most messages together, and the longest that the first of them waits.
const MOST_BULK_MESSAGES: u64 = 10_000;
const MOST_BULK_WAIT_MILLIS: u64 = 60_000;

/// A subscription as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Where it stands.
    pub origin: Origin,
    /// Its name.
    pub name: String,
    /// Its namespace, where the manifest has one.
    pub namespace: Option<String>,
    /// The apps that it is for; empty means all.
    pub scopes: Vec<String>,
    /// What it says.
    pub spec: Spec,
}

/// What a subscription says, whoever says it: a manifest, an app or a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    /// The component of pub/sub.
    pub pubsub: String,
    /// The topic.
    pub topic: String,
    /// Where in the app its messages go.
    pub routes: Routes,
    /// What the broker is told.
    pub metadata: BTreeMap<String, String>,
    /// Where messages go that the app does not take.
    pub dead_letter_topic: Option<String>,
    /// Whether messages are delivered together.
    pub bulk: Option<Bulk>,
}

/// Where in the app messages go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// The first whose expression is true of a message decides.
    pub rules: Vec<Rule>,
    /// Where the others go; none: nowhere.
    pub default: Option<String>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// An expression in CEL over `event`.
    pub expression: String,
    /// The path of the app.
    pub path: String,
}

/// Delivery of messages together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bulk {
    /// The most messages together.
    pub most: usize,
    /// How long the first of them waits for others.
    pub wait: Duration,
}

impl Subscription {
    /// Whether two subscriptions say the same, wherever they stand.
    pub fn same_as(&self, other: &Self) -> bool {
        let moved = Self {
            origin: other.origin.clone(),
            ..self.clone()
        };
        moved == *other
    }

    /// Reads a subscription of either version. Each takes the fields of both, as their schemas do.
    pub(crate) fn decode(document: Document) -> Result<Self, Error> {
        let origin = document.origin.clone();
        let field = |field: &str, problem: String| Error::Field {
            origin: origin.clone(),
            field: field.to_owned(),
            problem,
        };
        // There they would limit nothing, silently.
        if document.value["spec"].get("scopes").is_some() {
            let problem = "\"scopes\" belongs beside \"spec\", not under it";
            return Err(field("spec.scopes", problem.to_owned()));
        }
        let raw: Raw = document.into_typed()?;
        let name = raw.metadata.name.0;
        if let Some(problem) = path_segment_problem(&name) {
            let problem = format!("invalid name {name:?} for \"Subscription\": {problem}");
            return Err(field("metadata.name", problem));
        }
        if raw.spec.route.is_some() && raw.spec.routes.is_some() {
            let problem = "is given beside \"routes\"; accepted is one of the two";
            return Err(field("spec.route", problem.to_owned()));
        }
        let spec = raw.spec.into_spec();
        let spec = spec.map_err(|(name, problem)| field(&format!("spec.{name}"), problem))?;
        if spec.routes.is_empty() {
            let problem = "names no path; accepted is one of \"route\" and \"routes\"";
            return Err(field("spec.routes", problem.to_owned()));
        }
        Ok(Self {
            origin: origin.clone(),
            name,
            namespace: raw.metadata.namespace.map(|text| text.0),
            scopes: raw.scopes.into_iter().map(|text| text.0).collect(),
            spec,
        })
    }
}

impl Spec {
    /// Reads one entry of the list that an HTTP app answers with. It may be without routes.
    ///
    /// # Errors
    ///
    /// The field that cannot be read, and why.
    pub fn from_json(value: Value) -> Result<Self, String> {
        let raw: RawSpec = typed(&Origin::BuiltIn, value).map_err(|error| match error {
            Error::Field { field, problem, .. } => format!("field {field:?}: {problem}"),
            other => other.to_string(),
        })?;
        let spec = raw.into_spec();
        spec.map_err(|(field, problem)| format!("field {field:?}: {problem}"))
    }
}

impl Routes {
    /// Whether messages go nowhere.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.default.is_none()
    }

    /// Adds a rule after the others. One without an expression is true of every message, so that
    /// it is the default, and nothing counts that comes after it (Dapr 1.18).
    pub fn push(&mut self, expression: &str, path: &str) {
        if self.default.is_some() {
            return;
        }
        let path = path.to_owned();
        match expression.trim() {
            "" => self.default = Some(path),
            expression => self.rules.push(Rule {
                expression: expression.to_owned(),
                path,
            }),
        }
    }
}

impl Bulk {
    /// Numbers of 0 and those that are missing are Dapr's defaults.
    ///
    /// # Errors
    ///
    /// The field whose number cannot be used, and why.
    pub fn new(most: Option<i64>, wait_millis: Option<i64>) -> Result<Self, (String, String)> {
        let number = |name: &str, given: Option<i64>, default: u64, most: u64| {
            let given = u64::try_from(given.unwrap_or_default()).ok();
            match given.filter(|number| *number <= most) {
                Some(0) => Ok(default),
                Some(number) => Ok(number),
                None => Err((
                    format!("bulkSubscribe.{name}"),
                    format!("is out of range; accepted are 0 (which is {default}) to {most}"),
                )),
            }
        };
        let count = number("maxMessagesCount", most, BULK_MESSAGES, MOST_BULK_MESSAGES)?;
        let wait = number(
            "maxAwaitDurationMs",
            wait_millis,
            BULK_WAIT_MILLIS,
            MOST_BULK_WAIT_MILLIS,
        )?;
        Ok(Self {
            most: usize::try_from(count).unwrap_or(usize::MAX),
            wait: Duration::from_millis(wait),
        })
    }
}

/// Warnings about fields that no subscription has, which are mostly misspelt.
pub(crate) fn unknown_fields(document: &Document) -> Vec<String> {
    const TOP: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "scopes"];
    const SPEC: [&str; 7] = [
        "topic",
        "pubsubname",
        "route",
        "routes",
        "metadata",
        "deadLetterTopic",
        "bulkSubscribe",
    ];
    const BULK: [&str; 3] = ["enabled", "maxMessagesCount", "maxAwaitDurationMs"];
    let value = &document.value;
    let spec = &value["spec"];
    let mut unknown = UnknownFields::of(document);
    unknown.check(value, "", &TOP);
    unknown.check(spec, "spec.", &SPEC);
    unknown.check(&spec["routes"], "spec.routes.", &["rules", "default"]);
    let rules = spec["routes"]["rules"].as_array();
    for (at, rule) in rules.into_iter().flatten().enumerate() {
        let path = format!("spec.routes.rules[{at}].");
        unknown.check(rule, &path, &["match", "path"]);
    }
    unknown.check(&spec["bulkSubscribe"], "spec.bulkSubscribe.", &BULK);
    unknown.warnings()
}

#[derive(Deserialize)]
struct Raw {
    metadata: RawMetadata,
    spec: RawSpec,
    #[serde(default)]
    scopes: Vec<Text>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSpec {
    topic: Text,
    pubsubname: Text,
    route: Option<Text>,
    routes: Option<RawRoutes>,
    #[serde(default)]
    metadata: BTreeMap<String, Text>,
    #[serde(default)]
    dead_letter_topic: Text,
    #[serde(default)]
    bulk_subscribe: RawBulk,
}

#[derive(Default, Deserialize)]
struct RawRoutes {
    #[serde(default)]
    rules: Vec<RawRule>,
    #[serde(default)]
    default: Text,
}

#[derive(Deserialize)]
struct RawRule {
    #[serde(default, rename = "match")]
    expression: Text,
    path: Text,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawBulk {
    #[serde(default)]
    enabled: bool,
    max_messages_count: Option<i64>,
    max_await_duration_ms: Option<i64>,
}

impl RawSpec {
    /// The error is a field with what is wrong with it.
    fn into_spec(self) -> Result<Spec, (String, String)> {
        for (name, text) in [("topic", &self.topic), ("pubsubname", &self.pubsubname)] {
            if text.0.is_empty() {
                return Err((name.to_owned(), "is empty".to_owned()));
            }
        }
        let mut routes = Routes::default();
        let written = self.routes.unwrap_or_default();
        for (at, rule) in written.rules.iter().enumerate() {
            if rule.path.0.is_empty() {
                return Err((format!("routes.rules[{at}].path"), "is empty".to_owned()));
            }
            routes.push(&rule.expression.0, &rule.path.0);
        }
        let route = self.route.unwrap_or_default();
        let default = [written.default, route].into_iter();
        for path in default.filter(|path| !path.0.is_empty()) {
            routes.push("", &path.0);
        }
        routes.check()?;
        let bulk = &self.bulk_subscribe;
        let bulk = bulk
            .enabled
            .then(|| Bulk::new(bulk.max_messages_count, bulk.max_await_duration_ms))
            .transpose()?;
        let metadata = self.metadata.into_iter();
        Ok(Spec {
            pubsub: self.pubsubname.0,
            topic: self.topic.0,
            routes,
            metadata: metadata.map(|(name, text)| (name, text.0)).collect(),
            dead_letter_topic: Some(self.dead_letter_topic.0).filter(|topic| !topic.is_empty()),
            bulk,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::decode::Resources;
    use std::path::Path;

    fn read(version: &str, rest: &str) -> Resources {
        let text = format!(
            "apiVersion: dapr.io/{version}\nkind: Subscription\nmetadata: {{name: s}}\n{rest}"
        );
        let mut resources = Resources::default();
        resources.add(Path::new("f.yaml"), &text);
        resources
    }

    #[test]
    fn reads_every_field_in_both_versions() {
        for version in ["v1alpha1", "v2alpha1"] {
            let mut resources = read(
                version,
                "spec:\n  topic: t\n  pubsubname: p\n  routes:\n    rules:\n    - {match: \
                 event.type == 'a', path: /a}\n    default: /b\n  metadata: {rawPayload: true}\n  \
                 deadLetterTopic: d\n  bulkSubscribe: {enabled: true, maxMessagesCount: 7}\n\
                 scopes: [a, 1]\n",
            );
            assert!(resources.problems.is_empty(), "{:?}", resources.problems);
            assert!(resources.warnings.is_empty(), "{:?}", resources.warnings);
            let read = resources.subscriptions.remove(0);
            assert_eq!(
                (read.name.as_str(), read.scopes),
                ("s", vec!["a".into(), "1".into()])
            );
            let expected = Spec {
                pubsub: "p".to_owned(),
                topic: "t".to_owned(),
                routes: Routes {
                    rules: vec![Rule {
                        expression: "event.type == 'a'".to_owned(),
                        path: "/a".to_owned(),
                    }],
                    default: Some("/b".to_owned()),
                },
                metadata: [("rawPayload".to_owned(), "true".to_owned())].into(),
                dead_letter_topic: Some("d".to_owned()),
                bulk: Some(Bulk {
                    most: 7,
                    wait: Duration::from_secs(1),
                }),
            };
            assert_eq!(read.spec, expected);
        }
    }

    #[test]
    fn one_route_gets_everything() {
        let spec = "spec: {topic: t, pubsubname: p, route: /r}";
        for version in ["v1alpha1", "v2alpha1"] {
            let spec = read(version, spec).subscriptions.remove(0).spec;
            assert_eq!(spec.routes.default.as_deref(), Some("/r"));
            assert_eq!((spec.bulk, spec.dead_letter_topic), (None, None));
        }
    }

    #[test]
    fn a_rule_without_expression_hides_what_comes_after_it() {
        let mut routes = Routes::default();
        routes.push("a", "/a");
        routes.push(" ", "/all");
        routes.push("b", "/b");
        routes.push("", "/never");
        assert_eq!(routes.rules.len(), 1);
        assert_eq!(routes.default.as_deref(), Some("/all"));
    }

    #[test]
    fn errors_name_the_field() {
        for (spec, expected) in [
            (
                "{topic: t, pubsubname: p}",
                "field \"spec.routes\": names no path",
            ),
            (
                "{topic: t, pubsubname: p, routes: {}}",
                "field \"spec.routes\": names no path",
            ),
            (
                "{topic: t, pubsubname: p, route: /a, routes: {default: /b}}",
                "\"spec.route\"",
            ),
            (
                "{topic: '', pubsubname: p, route: /a}",
                "field \"spec.topic\": is empty",
            ),
            ("{topic: t, route: /a}", "missing field \"pubsubname\""),
            (
                "{topic: t, pubsubname: p, routes: {rules: [{match: a, path: ''}]}}",
                "field \"spec.routes.rules[0].path\": is empty",
            ),
            (
                "{topic: t, pubsubname: p, route: a, bulkSubscribe: {enabled: true, \
                 maxMessagesCount: -1}}",
                "field \"spec.bulkSubscribe.maxMessagesCount\": is out of range",
            ),
            (
                "{topic: t, pubsubname: p, route: a, scopes: [x]}",
                "\"spec.scopes\"",
            ),
        ] {
            let resources = read("v2alpha1", &format!("spec: {spec}"));
            let problem = resources.problems[0].to_string();
            assert!(problem.contains(expected), "{spec}: {problem}");
            assert!(resources.subscriptions.is_empty());
        }
    }

    #[test]
    fn warns_of_fields_that_it_does_not_know() {
        let spec = "spec: {topic: t, pubsubname: p, routes: {defualt: a, default: b}, x: 1}";
        let warnings = read("v1alpha1", spec).warnings.join("\n");
        assert!(warnings.contains("unknown field spec.x"), "{warnings}");
        let expected = "unknown field spec.routes.defualt; did you mean \"default\"?";
        assert!(warnings.contains(expected), "{warnings}");
    }

    #[test]
    fn entries_of_an_app_need_no_routes() {
        let entry = serde_json::json!({ "topic": "t", "pubsubname": "p", "routes": {} });
        assert!(Spec::from_json(entry).unwrap().routes.is_empty());
        let entry = serde_json::json!({ "topic": "t", "pubsubname": "p", "route": 5 });
        let spec = Spec::from_json(entry).unwrap();
        assert_eq!(spec.routes.default.as_deref(), Some("5"));
        let entry = serde_json::json!({ "topic": "t", "routes": "x" });
        let error = Spec::from_json(entry).unwrap_err();
        assert!(error.contains("field \"routes\""), "{error}");
    }
}
