//! Components: a back end with its settings, as written.

use std::time::Duration;

use serde::Deserialize;

use super::decode::{Document, Text};
use super::property::{
    Property, RawAuth, RawMetadata, RawProperty, UnknownFields, path_segment_problem,
};
use super::{Error, Origin};
use crate::base::duration::parse_go_duration;

/// How long a component may take to start where its manifest does not say (Dapr 1.18).
pub const DEFAULT_INIT_TIMEOUT: Duration = Duration::from_secs(5);

/// A component as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Where it stands.
    pub origin: Origin,
    /// Its name, a legal segment of a path.
    pub name: String,
    /// Its namespace, where the manifest has one.
    pub namespace: Option<String>,
    /// For example `secretstores.local.file`.
    pub component_type: String,
    /// For example `v1`, or empty.
    pub version: String,
    /// Whether the sidecar starts without it where it fails.
    pub ignore_errors: bool,
    /// How long it may take to start.
    pub init_timeout: Duration,
    /// Its settings, in the order of the manifest.
    pub properties: Vec<Property>,
    /// The store that its secret references are read from.
    pub secret_store: Option<String>,
    /// The apps that may use it; empty means all.
    pub scopes: Vec<String>,
}

impl Component {
    /// Whether two components say the same, wherever they stand.
    pub fn same_as(&self, other: &Self) -> bool {
        let moved = Self {
            origin: other.origin.clone(),
            ..self.clone()
        };
        moved == *other
    }

    /// The name with type and version, as Dapr's logs and errors show it.
    pub fn label(&self) -> String {
        format!("{} ({}/{})", self.name, self.component_type, self.version)
    }

    pub(crate) fn decode(document: Document) -> Result<Self, Error> {
        let origin = document.origin.clone();
        let field = |field: &str, problem: String| Error::Field {
            origin: origin.clone(),
            field: field.to_owned(),
            problem,
        };
        // There they would limit nothing, silently.
        for name in ["auth", "scopes"] {
            if document.value["spec"].get(name).is_some() {
                let problem = format!("{name:?} belongs beside \"spec\", not under it");
                return Err(field(&format!("spec.{name}"), problem));
            }
        }
        let raw: Raw = document.into_typed()?;
        let name = raw.metadata.name.0;
        if let Some(problem) = path_segment_problem(&name) {
            let problem = format!("invalid name {name:?} for \"Component\": {problem}");
            return Err(field("metadata.name", problem));
        }
        if raw.spec.component_type.0.is_empty() {
            return Err(field("spec.type", "is empty".to_owned()));
        }
        let init_timeout = init_timeout(raw.spec.init_timeout)
            .map_err(|problem| field("spec.initTimeout", problem))?;
        let properties = raw
            .spec
            .metadata
            .into_iter()
            .enumerate()
            .map(|(at, item)| {
                item.into_property()
                    .map_err(|problem| field(&format!("spec.metadata[{at}]"), problem))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            origin: origin.clone(),
            name,
            namespace: raw.metadata.namespace.map(|text| text.0),
            component_type: raw.spec.component_type.0,
            version: raw.spec.version.0,
            ignore_errors: raw.spec.ignore_errors,
            init_timeout,
            properties,
            secret_store: raw.auth.secret_store.map(|text| text.0),
            scopes: raw.scopes.into_iter().map(|text| text.0).collect(),
        })
    }
}

/// Warnings about fields that no component has, which are mostly misspelt.
pub(crate) fn unknown_fields(document: &Document) -> Vec<String> {
    const TOP: [&str; 6] = ["apiVersion", "kind", "metadata", "spec", "auth", "scopes"];
    const SPEC: [&str; 5] = ["type", "version", "ignoreErrors", "initTimeout", "metadata"];
    let value = &document.value;
    let mut unknown = UnknownFields::of(document);
    unknown.check(value, "", &TOP);
    unknown.check(&value["spec"], "spec.", &SPEC);
    unknown.check(&value["auth"], "auth.", &["secretStore"]);
    unknown.check_properties(&value["spec"]["metadata"], "spec.metadata");
    unknown.warnings()
}

fn init_timeout(text: Option<Text>) -> Result<Duration, String> {
    let Some(Text(text)) = text.filter(|text| !text.0.is_empty()) else {
        return Ok(DEFAULT_INIT_TIMEOUT);
    };
    let duration = parse_go_duration(&text).map_err(|error| error.to_string())?;
    Ok(if duration.is_zero() {
        DEFAULT_INIT_TIMEOUT
    } else {
        duration
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    metadata: RawMetadata,
    spec: RawSpec,
    #[serde(default)]
    auth: RawAuth,
    #[serde(default)]
    scopes: Vec<Text>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSpec {
    #[serde(rename = "type")]
    component_type: Text,
    #[serde(default)]
    version: Text,
    #[serde(default)]
    ignore_errors: bool,
    init_timeout: Option<Text>,
    #[serde(default)]
    metadata: Vec<RawProperty>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::decode::Resources;
    use crate::resources::property::Source;
    use std::path::Path;

    fn read(rest: &str) -> Resources {
        let text =
            format!("apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: c\n{rest}");
        let mut resources = Resources::default();
        resources.add(Path::new("f.yaml"), &text);
        resources
    }

    fn decoded(rest: &str) -> Component {
        let mut resources = read(rest);
        assert!(resources.problems.is_empty(), "{:?}", resources.problems);
        resources.components.remove(0)
    }

    fn problem(rest: &str) -> String {
        read(rest).problems.remove(0).to_string()
    }

    #[test]
    fn reads_every_field() {
        let component = decoded(
            "  namespace: ns\nspec:\n  type: secretstores.local.env\n  version: 1\n  \
             ignoreErrors: true\n  initTimeout: 1m\nauth:\n  secretStore: s\nscopes: [a, 1]\n",
        );
        assert_eq!(component.label(), "c (secretstores.local.env/1)");
        assert_eq!(component.namespace.as_deref(), Some("ns"));
        assert!(component.ignore_errors);
        assert_eq!(component.init_timeout, Duration::from_secs(60));
        assert_eq!(component.secret_store.as_deref(), Some("s"));
        assert_eq!(component.scopes, ["a", "1"]);
    }

    #[test]
    fn the_init_timeout_is_five_seconds_unless_said() {
        for rest in [
            "",
            "  initTimeout:\n",
            "  initTimeout: ''\n",
            "  initTimeout: 0s\n",
        ] {
            let component = decoded(&format!("spec:\n  type: t\n{rest}"));
            assert_eq!(component.init_timeout, DEFAULT_INIT_TIMEOUT, "{rest}");
        }
    }

    #[test]
    fn takes_a_reference_before_a_value_before_a_variable() {
        let literal = |text: &str| Source::Literal(text.to_owned());
        let secret = |name: &str, key: &str| Source::Secret {
            name: name.to_owned(),
            key: key.to_owned(),
        };
        for (item, expected) in [
            ("value: a", literal("a")),
            ("value: '\"a\"'", literal("\"a\"")),
            ("value: 5", literal("5")),
            ("value: 007", literal("007")),
            ("value: true", literal("true")),
            ("value: {a: [1, null]}", literal("{\"a\":[1,null]}")),
            ("value:", literal("")),
            ("envRef: E", Source::Env("E".to_owned())),
            ("value: a, envRef: E", literal("a")),
            ("secretKeyRef: {name: s}", secret("s", "s")),
            (
                "secretKeyRef: {name: s, key: k}, value: a",
                secret("s", "k"),
            ),
            ("secretKeyRef: {name: '', key: ''}, value: a", literal("a")),
        ] {
            let component = decoded(&format!(
                "spec:\n  type: t\n  metadata:\n  - {{name: n, {item}}}\n"
            ));
            assert_eq!(component.properties[0].source, expected, "{item}");
        }
    }

    #[test]
    fn refuses_what_would_be_lost_or_limit_nothing() {
        for (rest, expected) in [
            (
                "spec:\n  type: t\n  scopes: [a]\n",
                "field \"spec.scopes\": \"scopes\" belongs beside \"spec\", not under it",
            ),
            (
                "spec:\n  type: t\n  auth: {}\n",
                "field \"spec.auth\": \"auth\" belongs beside \"spec\", not under it",
            ),
            (
                "spec:\n  type: t\nscopes: a\n",
                "field \"scopes\": invalid type: string \"a\", expected a sequence",
            ),
            (
                "spec:\n  type: t\n  metadata:\n  - name: n\n    secretKeyRef: {key: k}\n",
                "field \"spec.metadata[0]\": secretKeyRef has no name",
            ),
            ("spec:\n  type: ''\n", "field \"spec.type\": is empty"),
            (
                "spec:\n  type: t\n  ignoreErrors: 'yes'\n",
                "field \"spec.ignoreErrors\": invalid type: string \"yes\", expected a boolean",
            ),
        ] {
            assert_eq!(
                problem(rest),
                format!("file \"f.yaml\", document 1: {expected}")
            );
        }
    }

    #[test]
    fn warns_about_unknown_fields_with_the_nearest_known_one() {
        let rest = "spec:\n  type: t\n  ignoreError: true\n  metadata:\n  - name: n\n    \
                    secretKeyref: {name: s}\nfoo: 1\n";
        assert_eq!(
            read(rest).warnings,
            [
                "file \"f.yaml\", document 1: unknown field foo",
                "file \"f.yaml\", document 1: unknown field spec.ignoreError; did you mean \
                 \"ignoreErrors\"?",
                "file \"f.yaml\", document 1: unknown field spec.metadata[0].secretKeyref; did you \
                 mean \"secretKeyRef\"?",
            ]
        );
    }

    #[test]
    fn debug_shows_no_literal() {
        let rest = "spec:\n  type: t\n  metadata:\n  - {name: n, value: hunter2}\n";
        assert!(!format!("{:?}", decoded(rest)).contains("hunter2"));
    }
}
