//! Components: a back end with its settings, as written.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::decode::{Document, Text};
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

/// One setting of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Its name as written.
    pub name: String,
    /// What is written for its value.
    pub source: Source,
}

/// Where the value of a setting comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// The manifest itself. Users write passwords here too, so `Debug` shows none of it.
    Literal(String),
    /// A key of a secret.
    Secret {
        /// The name of the secret.
        name: String,
        /// The key in the secret.
        key: String,
    },
    /// A variable of the environment.
    Env(String),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Literal(_) => f.write_str("Literal(…)"),
            Self::Secret { name, key } => write!(f, "Secret({name:?}, {key:?})"),
            Self::Env(variable) => write!(f, "Env({variable:?})"),
        }
    }
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
        let raw: Raw = document.into_typed()?;
        let field = |field: &str, problem: String| Error::Field {
            origin: origin.clone(),
            field: field.to_owned(),
            problem,
        };
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

/// Why a text cannot be one segment of a path (Kubernetes, `path.IsValidPathSegmentName`).
fn path_segment_problem(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("may not be empty"),
        "." => Some("may not be '.'"),
        ".." => Some("may not be '..'"),
        _ if name.contains('/') => Some("may not contain '/'"),
        _ if name.contains('%') => Some("may not contain '%'"),
        _ => None,
    }
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
struct RawMetadata {
    name: Text,
    namespace: Option<Text>,
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

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawAuth {
    secret_store: Option<Text>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawProperty {
    name: Text,
    value: Option<Value>,
    secret_key_ref: Option<RawSecretRef>,
    env_ref: Option<Text>,
}

#[derive(Deserialize)]
struct RawSecretRef {
    #[serde(default)]
    name: Text,
    #[serde(default)]
    key: Text,
}

impl RawProperty {
    /// A secret reference wins over a value, and a value over a variable, as in Dapr 1.18.
    fn into_property(self) -> Result<Property, String> {
        if self.name.0.is_empty() {
            return Err("the name is empty".to_owned());
        }
        // Dapr's own manifests leave an empty reference beside a value.
        let secret = self
            .secret_key_ref
            .filter(|secret| !(secret.name.0.is_empty() && secret.key.0.is_empty()));
        let source = match (secret, self.value, self.env_ref) {
            (Some(secret), _, _) => secret.into_source()?,
            (None, Some(Value::String(text)), _) => Source::Literal(text),
            (None, Some(value), _) => Source::Literal(value.to_string()),
            (None, None, Some(Text(variable))) if !variable.is_empty() => Source::Env(variable),
            (None, None, _) => Source::Literal(String::new()),
        };
        Ok(Property {
            name: self.name.0,
            source,
        })
    }
}

impl RawSecretRef {
    fn into_source(self) -> Result<Source, String> {
        let Self {
            name: Text(name),
            key: Text(key),
        } = self;
        if name.is_empty() {
            return Err("secretKeyRef has no name".to_owned());
        }
        let key = if key.is_empty() { name.clone() } else { key };
        Ok(Source::Secret { name, key })
    }
}
