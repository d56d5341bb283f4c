//! Sidecar policies: what a sidecar may do, in settings that Dapr's kinds have no place for.
//!
//! They are security switches, so a field that is not known is an error.

use serde::Deserialize;

use super::decode::Document;
use super::{Error, Origin};
use crate::base::names::is_dns_label;

/// The group and version of policies.
pub const API_VERSION: &str = "sidegate.dev/v1alpha1";
/// The kind of policies.
pub const KIND: &str = "SidecarPolicy";

/// What one sidecar may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Whether the app may read secrets of stores that the Configuration gives no scope.
    pub default_access: DefaultAccess,
    /// The namespaces, beside the sidecar's own, whose secrets a caller may ask for.
    pub allowed_namespaces: Vec<String>,
}

/// What counts where nothing else is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DefaultAccess {
    /// It is allowed.
    #[default]
    Allow,
    /// It is denied.
    Deny,
}

impl Policy {
    /// Reads a policy.
    pub(crate) fn decode(document: Document) -> Result<Self, Error> {
        let origin = document.origin.clone();
        let raw: Raw = document.into_typed()?;
        let secrets = raw.spec.secrets;
        check_namespaces(&origin, &secrets.allowed_namespaces)?;
        Ok(Self {
            default_access: secrets.default_access,
            allowed_namespaces: secrets.allowed_namespaces,
        })
    }
}

/// A misspelt namespace would allow nothing, and `*` is not "all".
fn check_namespaces(origin: &Origin, names: &[String]) -> Result<(), Error> {
    match names.iter().position(|name| !is_dns_label(name)) {
        None => Ok(()),
        Some(at) => Err(Error::Field {
            origin: origin.clone(),
            field: format!("spec.secrets.allowedNamespaces[{at}]"),
            problem: format!("{:?} is not the name of a namespace", names[at]),
        }),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    #[serde(rename = "apiVersion")]
    _api_version: serde::de::IgnoredAny,
    #[serde(rename = "kind")]
    _kind: serde::de::IgnoredAny,
    #[serde(rename = "metadata")]
    _metadata: serde::de::IgnoredAny,
    spec: RawSpec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSpec {
    #[serde(default)]
    secrets: RawSecrets,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct RawSecrets {
    default_access: DefaultAccess,
    allowed_namespaces: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::decode::documents;
    use std::path::Path;

    fn policy(rest: &str) -> Result<Policy, String> {
        let text =
            format!("apiVersion: {API_VERSION}\nkind: {KIND}\nmetadata: {{name: p}}\n{rest}");
        let document = documents(Path::new("f.yaml"), &text).remove(0).unwrap();
        Policy::decode(document).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_every_field() {
        let read = policy("spec: {secrets: {defaultAccess: deny, allowedNamespaces: [a, b]}}");
        let expected = Policy {
            default_access: DefaultAccess::Deny,
            allowed_namespaces: vec!["a".to_owned(), "b".to_owned()],
        };
        assert_eq!(read, Ok(expected));
        for empty in ["spec: {}", "spec: {secrets: }", "spec: {secrets: {}}"] {
            assert_eq!(policy(empty), Ok(Policy::default()), "{empty}");
        }
    }

    #[test]
    fn refuses_whatever_might_leave_something_open() {
        for (rest, expected) in [
            (
                "spec: {secret: {defaultAccess: deny}}",
                "field \"spec.secret\": unknown field \"secret\", expected \"secrets\"",
            ),
            (
                "spec: {secrets: {defaultAcess: deny}}",
                "field \"spec.secrets.defaultAcess\": unknown field \"defaultAcess\", expected \
                 \"defaultAccess\" or \"allowedNamespaces\"",
            ),
            (
                "spec: {secrets: {defaultAccess: Deny}}",
                "field \"spec.secrets.defaultAccess\": unknown variant \"Deny\", expected \
                 \"allow\" or \"deny\"",
            ),
            (
                "spec: {secrets: {allowedNamespaces: ['*']}}",
                "field \"spec.secrets.allowedNamespaces[0]\": \"*\" is not the name of a namespace",
            ),
            (
                "secrets: {}",
                "field \"secrets\": unknown field \"secrets\", expected one of \"apiVersion\", \
                 \"kind\", \"metadata\", \"spec\"",
            ),
            ("", "field \".\": missing field \"spec\""),
        ] {
            let expected = format!("file \"f.yaml\", document 1: {expected}");
            assert_eq!(policy(rest), Err(expected));
        }
    }
}
