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
    /// Whether the scopes of stores, the default access with them, limit what components refer to.
    pub scopes_apply_to_components: bool,
    /// Which reads of secrets are logged.
    pub audit: Audit,
    /// Whether URLs of services may be invoked.
    pub external_urls: ExternalUrls,
}

/// Whether a caller of the API may invoke any URL. Without it, those services can be invoked that
/// an HTTPEndpoint names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExternalUrls {
    /// Any URL, but for addresses that hand out credentials of the machine.
    #[default]
    Allow,
    /// None.
    Deny,
}

/// Which reads of secrets are logged, each with who asked, what for, and what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Audit {
    /// Those that were denied.
    #[default]
    Denied,
    /// All.
    All,
}

/// What counts where nothing else is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DefaultAccess {
    /// It is allowed.
    #[default]
    Allow,
    /// It is denied.
    Deny,
}

impl DefaultAccess {
    /// Reads the word of a flag; nothing else is accepted.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "allow" => Some(Self::Allow),
            "deny" => Some(Self::Deny),
            _ => None,
        }
    }
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
            scopes_apply_to_components: secrets.scopes_apply_to_components,
            audit: secrets.audit,
            external_urls: raw.spec.invocation.external_urls,
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
    #[serde(default)]
    invocation: RawInvocation,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct RawInvocation {
    external_urls: ExternalUrls,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct RawSecrets {
    default_access: DefaultAccess,
    allowed_namespaces: Vec<String>,
    scopes_apply_to_components: bool,
    audit: Audit,
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
        let read = policy(
            "spec: {secrets: {defaultAccess: deny, allowedNamespaces: [a, b], \
             scopesApplyToComponents: true, audit: all}, invocation: {externalUrls: deny}}",
        );
        let expected = Policy {
            default_access: DefaultAccess::Deny,
            allowed_namespaces: vec!["a".to_owned(), "b".to_owned()],
            scopes_apply_to_components: true,
            audit: Audit::All,
            external_urls: ExternalUrls::Deny,
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
                "field \"spec.secret\": unknown field \"secret\", expected \"secrets\" or \
                 \"invocation\"; did you mean \"secrets\"?",
            ),
            (
                "spec: {secrets: {defaultAcess: deny}}",
                "field \"spec.secrets.defaultAcess\": unknown field \"defaultAcess\", expected \
                 one of \"defaultAccess\", \"allowedNamespaces\", \"scopesApplyToComponents\", \
                 \"audit\"; did you mean \"defaultAccess\"?",
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
                "spec: {invocation: {externalUrls: none}}",
                "field \"spec.invocation.externalUrls\": unknown variant \"none\", expected \
                 \"allow\" or \"deny\"",
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
