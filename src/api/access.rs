//! Which APIs a Configuration allows (`spec.api.allowed` and `spec.api.denied`).
//!
//! Dapr ignores a rule that it does not know, so that a typing error opens everything. Here it is
//! an error at start.

use crate::base::names::nearest;

/// The names that rules may use (Dapr, "Selectively enable APIs").
const NAMES: [&str; 18] = [
    "actors",
    "bindings",
    "configuration",
    "conversation",
    "crypto",
    "healthz",
    "invoke",
    "jobs",
    "lock",
    "metadata",
    "publish",
    "secrets",
    "shutdown",
    "state",
    "subscribe",
    "subtlecrypto",
    "unlock",
    "workflows",
];

/// The versions that rules may use. What this build serves is of version 1, under both spellings,
/// but for what is named with [`ALPHA1`].
const VERSIONS: [&str; 9] = [
    "v1",
    "v1.0",
    "v1alpha1",
    "v1.0-alpha1",
    "v1alpha2",
    "v1.0-alpha2",
    "v1beta1",
    "v1.0-beta1",
    "v1.0-beta2",
];

/// What stands before the name of an API whose version is the first draft of version 1.
const ALPHA1: &str = "v1alpha1/";

/// One rule as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The group of APIs, for example `secrets`.
    pub name: String,
    /// Its version, for example `v1`.
    pub version: String,
    /// `http` or `grpc`, in any case.
    pub protocol: String,
}

/// A rule that cannot be understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("api rule {field} {value:?} is not known{hint}: accepted are {accepted}")]
pub struct RuleError {
    field: &'static str,
    value: String,
    hint: String,
    accepted: String,
}

/// A protocol of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP.
    Http,
    /// gRPC.
    Grpc,
}

/// Which APIs may be called, each protocol for itself. The default allows all.
#[derive(Clone, Debug, Default)]
pub struct Access {
    http: Lists,
    grpc: Lists,
}

#[derive(Clone, Debug, Default)]
struct Lists {
    /// Some rule allows something, so that everything else is denied.
    only_allowed: bool,
    allowed: Vec<String>,
    denied: Vec<String>,
}

impl Access {
    /// Reads the rules. All errors at once.
    pub fn parse(allowed: &[Rule], denied: &[Rule]) -> Result<Self, Vec<RuleError>> {
        let mut access = Self::default();
        let mut errors = Vec::new();
        for rule in allowed {
            match ParsedRule::parse(rule) {
                Ok(parsed) => {
                    let lists = access.lists_mut(parsed.protocol);
                    lists.only_allowed = true;
                    lists.allowed.extend(parsed.served_name());
                }
                Err(error) => errors.push(error),
            }
        }
        for rule in denied {
            match ParsedRule::parse(rule) {
                Ok(parsed) => {
                    let lists = access.lists_mut(parsed.protocol);
                    lists.denied.extend(parsed.served_name());
                }
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() {
            Ok(access)
        } else {
            Err(errors)
        }
    }

    /// Whether an API may be called: its name, after its version where that is not 1, as in
    /// `v1alpha1/publish`. A denying rule wins. The empty name, that of the health routes, is
    /// always allowed.
    pub fn allows(&self, protocol: Protocol, name: &str) -> bool {
        let lists = match protocol {
            Protocol::Http => &self.http,
            Protocol::Grpc => &self.grpc,
        };
        let has = |list: &[String]| list.iter().any(|own| own == name);
        name.is_empty() || !has(&lists.denied) && (!lists.only_allowed || has(&lists.allowed))
    }

    fn lists_mut(&mut self, protocol: Protocol) -> &mut Lists {
        match protocol {
            Protocol::Http => &mut self.http,
            Protocol::Grpc => &mut self.grpc,
        }
    }
}

struct ParsedRule {
    name: &'static str,
    version: &'static str,
    protocol: Protocol,
}

impl ParsedRule {
    fn parse(rule: &Rule) -> Result<Self, RuleError> {
        let version = known("version", &rule.version, &VERSIONS)?;
        let protocol = known(
            "protocol",
            &rule.protocol.to_ascii_lowercase(),
            &["http", "grpc"],
        )?;
        Ok(Self {
            name: known("name", &rule.name, &NAMES)?,
            version,
            protocol: match protocol {
                "http" => Protocol::Http,
                _ => Protocol::Grpc,
            },
        })
    }

    /// The name, where this build serves that version of it.
    fn served_name(&self) -> Option<String> {
        match self.version {
            "v1" | "v1.0" => Some(self.name.to_owned()),
            "v1alpha1" | "v1.0-alpha1" => Some(format!("{ALPHA1}{}", self.name)),
            _ => None,
        }
    }
}

fn known(
    field: &'static str,
    value: &str,
    accepted: &[&'static str],
) -> Result<&'static str, RuleError> {
    let found = accepted.iter().find(|name| **name == value);
    found.copied().ok_or_else(|| RuleError {
        field,
        value: value.to_owned(),
        hint: nearest(value, accepted.iter().copied())
            .map(|name| format!(", did you mean {name:?}"))
            .unwrap_or_default(),
        accepted: accepted.join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, version: &str, protocol: &str) -> Rule {
        Rule {
            name: name.to_owned(),
            version: version.to_owned(),
            protocol: protocol.to_owned(),
        }
    }

    #[test]
    fn without_rules_everything_is_allowed() {
        let access = Access::default();
        assert!(access.allows(Protocol::Http, "secrets"));
        assert!(access.allows(Protocol::Grpc, "secrets"));
    }

    #[test]
    fn a_list_counts_for_its_protocol_only() {
        let access = Access::parse(&[rule("secrets", "v1", "http")], &[]).unwrap();
        assert!(access.allows(Protocol::Http, "secrets"));
        assert!(!access.allows(Protocol::Http, "metadata"));
        assert!(access.allows(Protocol::Http, ""));
        assert!(access.allows(Protocol::Grpc, "metadata"));
    }

    #[test]
    fn a_denying_rule_wins() {
        let secrets = [rule("secrets", "v1.0", "gRPC")];
        let access = Access::parse(&secrets, &secrets).unwrap();
        assert!(!access.allows(Protocol::Grpc, "secrets"));
    }

    #[test]
    fn allowing_another_version_only_allows_nothing_of_version_1() {
        let access = Access::parse(&[rule("state", "v1alpha1", "http")], &[]).unwrap();
        assert!(!access.allows(Protocol::Http, "secrets"));
        assert!(!access.allows(Protocol::Http, "state"));
    }

    #[test]
    fn a_draft_is_named_with_its_version() {
        let access = Access::parse(&[], &[rule("publish", "v1.0-alpha1", "http")]).unwrap();
        assert!(access.allows(Protocol::Http, "publish"));
        assert!(!access.allows(Protocol::Http, "v1alpha1/publish"));
        assert!(access.allows(Protocol::Grpc, "v1alpha1/publish"));
        let access = Access::parse(&[rule("publish", "v1", "grpc")], &[]).unwrap();
        assert!(access.allows(Protocol::Grpc, "publish"));
        assert!(!access.allows(Protocol::Grpc, "v1alpha1/publish"));
    }

    #[test]
    fn an_unknown_rule_is_an_error_with_what_is_accepted() {
        let bad = [
            rule("secret", "v1", "http"),
            rule("secrets", "1", "http"),
            rule("secrets", "v1", "tcp"),
        ];
        let errors = Access::parse(&bad, &bad[..1]).unwrap_err();
        let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert!(texts[0].starts_with(
            "api rule name \"secret\" is not known, did you mean \"secrets\": accepted are actors,"
        ));
        assert_eq!(
            texts[2],
            "api rule protocol \"tcp\" is not known: accepted are http, grpc"
        );
        assert_eq!(errors.len(), 4);
    }
}
