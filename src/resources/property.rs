//! What components and endpoints have in common: settings whose values may be references.

use serde::Deserialize;
use serde_json::Value;

use super::decode::{Document, Text};
use crate::base::names::nearest;

/// The fields of a [`Property`].
pub(super) const PROPERTY_FIELDS: [&str; 4] = ["name", "value", "secretKeyRef", "envRef"];

/// One setting of a component, or one header of an endpoint.
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

impl Source {
    /// The name of the secret that it refers to.
    pub fn secret(&self) -> Option<&str> {
        match self {
            Self::Secret { name, .. } => Some(name),
            Self::Literal(_) | Self::Env(_) => None,
        }
    }
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

/// The metadata of a resource.
#[derive(Deserialize)]
pub(super) struct RawMetadata {
    pub(super) name: Text,
    pub(super) namespace: Option<Text>,
}

/// The store of a resource's secret references.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawAuth {
    pub(super) secret_store: Option<Text>,
}

/// A property as written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawProperty {
    name: Text,
    value: Option<Value>,
    secret_key_ref: Option<RawSecretRef>,
    env_ref: Option<Text>,
}

/// A value without a name, as written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawValue {
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
    /// One without a value has the empty one.
    pub(super) fn into_property(self) -> Result<Property, String> {
        if self.name.0.is_empty() {
            return Err("the name is empty".to_owned());
        }
        let value = RawValue {
            value: self.value,
            secret_key_ref: self.secret_key_ref,
            env_ref: self.env_ref,
        };
        let source = value.into_source()?;
        Ok(Property {
            name: self.name.0,
            source: source.unwrap_or_else(|| Source::Literal(String::new())),
        })
    }
}

impl RawValue {
    /// A secret reference wins over a value, and a value over a variable, as in Dapr 1.18.
    pub(super) fn into_source(self) -> Result<Option<Source>, String> {
        // Dapr's own manifests leave an empty reference beside a value.
        let secret = self
            .secret_key_ref
            .filter(|secret| !(secret.name.0.is_empty() && secret.key.0.is_empty()));
        Ok(match (secret, self.value, self.env_ref) {
            (Some(secret), _, _) => Some(secret.into_source()?),
            (None, Some(Value::String(text)), _) => Some(Source::Literal(text)),
            (None, Some(value), _) => Some(Source::Literal(value.to_string())),
            (None, None, Some(Text(variable))) if !variable.is_empty() => {
                Some(Source::Env(variable))
            }
            (None, None, _) => None,
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

/// Why a text cannot be one segment of a path (Kubernetes, `path.IsValidPathSegmentName`).
pub(super) fn path_segment_problem(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("may not be empty"),
        "." => Some("may not be '.'"),
        ".." => Some("may not be '..'"),
        _ if name.contains('/') => Some("may not contain '/'"),
        _ if name.contains('%') => Some("may not contain '%'"),
        _ => None,
    }
}

/// Gathers warnings about fields that a kind does not have, which are mostly misspelt.
pub(super) struct UnknownFields<'a> {
    document: &'a Document,
    warnings: Vec<String>,
}

impl<'a> UnknownFields<'a> {
    pub(super) fn of(document: &'a Document) -> Self {
        Self {
            document,
            warnings: Vec::new(),
        }
    }

    /// Looks at the fields of `value`, whose names are shown after `path`.
    pub(super) fn check(&mut self, value: &Value, path: &str, known: &[&'static str]) {
        let fields = value.as_object().into_iter();
        for name in fields.flat_map(|fields| fields.keys()) {
            if !known.contains(&name.as_str()) {
                let hint = nearest(name, known.iter().copied())
                    .map(|near| format!("; did you mean {near:?}?"))
                    .unwrap_or_default();
                let origin = &self.document.origin;
                self.warnings
                    .push(format!("{origin}: unknown field {path}{name}{hint}"));
            }
        }
    }

    /// The same for the members of a list of properties, and for their references.
    pub(super) fn check_properties(&mut self, list: &Value, path: &str) {
        for (at, property) in list.as_array().into_iter().flatten().enumerate() {
            let path = format!("{path}[{at}].");
            self.check(property, &path, &PROPERTY_FIELDS);
            self.check_reference(property, &path);
        }
    }

    /// The same for the reference of one value.
    pub(super) fn check_reference(&mut self, value: &Value, path: &str) {
        let path = format!("{path}secretKeyRef.");
        self.check(&value["secretKeyRef"], &path, &["name", "key"]);
    }

    pub(super) fn warnings(self) -> Vec<String> {
        self.warnings
    }
}
