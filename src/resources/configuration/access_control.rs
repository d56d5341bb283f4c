//! `spec.accessControl`: which apps may call which methods of the own app.
//!
//! It only restricts, so what is misspelt is an error, and what one document denies no other one
//! allows.

use serde::Deserialize;

use crate::base::names::nearest;
use crate::base::operation_pattern::OperationPattern;
use crate::base::spiffe_id::SpiffeId;
use crate::resources::decode::Text;

/// The trust domain of an app without one (Dapr 1.18).
pub const DEFAULT_TRUST_DOMAIN: &str = "public";

/// The verbs that an operation may name, besides `*` for all.
const VERBS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
];

/// Who may call what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessControl {
    /// What counts for callers without a policy.
    pub default_action: Action,
    /// The trust domain of the own app, where given.
    pub trust_domain: Option<String>,
    /// The policies, one for each caller.
    pub policies: Vec<Policy>,
}

/// Whether a call is let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is.
    Allow,
    /// It is not.
    Deny,
}

/// What one caller may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The caller.
    pub caller: SpiffeId,
    /// What counts for operations that are not listed. Without it, the one of all callers.
    pub default_action: Option<Action>,
    /// The operations.
    pub operations: Vec<Operation>,
}

/// Some methods of the own app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Their paths.
    pub name: OperationPattern,
    /// The HTTP methods.
    pub verbs: Vec<Verb>,
    /// Whether calls are let through.
    pub action: Action,
}

/// HTTP methods of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// All.
    Any,
    /// One, in upper case.
    One(&'static str),
}

impl AccessControl {
    /// Adds what a later document says: a `deny` of either counts, and policies of one caller are
    /// put together.
    pub(super) fn and(mut self, later: Self) -> Self {
        self.default_action = stricter(self.default_action, later.default_action);
        self.trust_domain = later.trust_domain.or(self.trust_domain);
        for policy in later.policies {
            let known = self.policies.iter_mut();
            match known
                .into_iter()
                .find(|known| known.caller == policy.caller)
            {
                None => self.policies.push(policy),
                Some(known) => {
                    known.default_action = match (known.default_action, policy.default_action) {
                        (Some(one), Some(other)) => Some(stricter(one, other)),
                        (one, other) => one.or(other),
                    };
                    known.operations.extend(policy.operations);
                }
            }
        }
        self
    }
}

fn stricter(one: Action, other: Action) -> Action {
    match (one, other) {
        (Action::Allow, Action::Allow) => Action::Allow,
        _ => Action::Deny,
    }
}

/// The section as it is written.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Fields {
    default_action: OptionalAction,
    trust_domain: Text,
    policies: Vec<PolicyFields>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct PolicyFields {
    app_id: Text,
    default_action: OptionalAction,
    trust_domain: Text,
    namespace: Text,
    operations: Vec<OperationFields>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OperationFields {
    name: Name,
    #[serde(default)]
    http_verb: Vec<Verb>,
    action: Action,
}

impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        match text.to_ascii_lowercase().as_str() {
            "allow" => Ok(Self::Allow),
            "deny" => Ok(Self::Deny),
            lower => Err(serde::de::Error::custom(format!(
                "{text:?} is no action{}; accepted are \"allow\" and \"deny\"",
                hint(nearest(lower, ["allow", "deny"]))
            ))),
        }
    }
}

/// An action that may be left out, or empty.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(try_from = "serde_json::Value")]
struct OptionalAction(Option<Action>);

impl TryFrom<serde_json::Value> for OptionalAction {
    type Error = serde_json::Error;

    fn try_from(value: serde_json::Value) -> Result<Self, Self::Error> {
        if value == "" {
            return Ok(Self(None));
        }
        Action::deserialize(value).map(|action| Self(Some(action)))
    }
}

#[derive(Deserialize)]
#[serde(try_from = "Text")]
struct Name(OperationPattern);

impl TryFrom<Text> for Name {
    type Error = crate::base::operation_pattern::OperationPatternError;

    fn try_from(Text(text): Text) -> Result<Self, Self::Error> {
        OperationPattern::parse(&text).map(Self)
    }
}

impl<'de> Deserialize<'de> for Verb {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        if text == "*" {
            return Ok(Self::Any);
        }
        let verb = VERBS.into_iter().find(|verb| *verb == text);
        verb.map(Self::One).ok_or_else(|| {
            let near = nearest(&text.to_ascii_uppercase(), VERBS);
            let known = VERBS.join(", ");
            serde::de::Error::custom(format!(
                "{text:?} is no HTTP method{}; accepted are {known} and \"*\"",
                hint(near)
            ))
        })
    }
}

fn hint(near: Option<&str>) -> String {
    near.map(|near| format!("; did you mean {near:?}?"))
        .unwrap_or_default()
}

impl Fields {
    /// The section. `None` where it says nothing, which is the same as no section.
    ///
    /// # Errors
    ///
    /// The field within the section, and what is wrong with it.
    pub(super) fn into_access_control(self) -> Result<Option<AccessControl>, (String, String)> {
        let OptionalAction(given) = self.default_action;
        if given.is_none() && self.trust_domain.0.is_empty() && self.policies.is_empty() {
            return Ok(None);
        }
        missing(&self.policies).map_err(|problem| ("policies".to_owned(), problem))?;
        // Whoever wrote policies wanted to restrict something.
        let safe = if self.policies.is_empty() {
            Action::Allow
        } else {
            Action::Deny
        };
        let mut policies: Vec<Policy> = Vec::with_capacity(self.policies.len());
        for (at, fields) in self.policies.into_iter().enumerate() {
            let place = |problem: String| (format!("policies[{at}]"), problem);
            let policy = fields.into_policy().map_err(place)?;
            if policies.iter().any(|known| known.caller == policy.caller) {
                let caller = &policy.caller;
                return Err(place(format!("there is another policy for {caller}")));
            }
            policies.push(policy);
        }
        Ok(Some(AccessControl {
            default_action: given.unwrap_or(safe),
            trust_domain: Some(self.trust_domain.0).filter(|text| !text.is_empty()),
            policies,
        }))
    }
}

/// Policies that do not say whom they are about, in the words of daprd.
fn missing(policies: &[PolicyFields]) -> Result<(), String> {
    let without = |field: fn(&PolicyFields) -> &Text| {
        let found = policies.iter().filter(|policy| field(policy).0.is_empty());
        let names: Vec<&str> = found.map(|policy| policy.app_id.0.as_str()).collect();
        names
    };
    let trust_domain = without(|policy| &policy.trust_domain);
    let namespace = without(|policy| &policy.namespace);
    let app_id = !without(|policy| &policy.app_id).is_empty();
    if trust_domain.is_empty() && namespace.is_empty() && !app_id {
        return Ok(());
    }
    Err(format!(
        "invalid access control spec. missing trustdomain for apps: [{}], missing namespace for \
         apps: [{}], missing app name on at least one of the app policies: {app_id}",
        trust_domain.join(" "),
        namespace.join(" ")
    ))
}

impl PolicyFields {
    fn into_policy(self) -> Result<Policy, String> {
        let caller = SpiffeId::new(&self.trust_domain.0, &self.namespace.0, &self.app_id.0)
            .map_err(|error| format!("no caller can have this identity: {error}"))?;
        let operations = self.operations.into_iter().map(|operation| Operation {
            name: operation.name.0,
            verbs: operation.http_verb,
            action: operation.action,
        });
        Ok(Policy {
            caller,
            default_action: self.default_action.0,
            operations: operations.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::Error;
    use crate::resources::configuration::merge;
    use crate::resources::decode::documents;
    use std::path::Path;

    fn read(sections: &[&str]) -> Result<Option<AccessControl>, Error> {
        let documents = sections.iter().flat_map(|section| {
            let text = format!("spec: {{accessControl: {section}}}");
            documents(Path::new("f.yaml"), &text)
        });
        let documents = documents.collect::<Result<_, _>>()?;
        merge(documents).map(|(configuration, warnings)| {
            assert_eq!(warnings, Vec::<String>::new());
            configuration.access_control
        })
    }

    fn problem(section: &str) -> String {
        read(&[section]).unwrap_err().to_string()
    }

    fn policy(app_id: &str, rest: &str) -> String {
        format!("{{appId: {app_id}, trustDomain: td, namespace: ns, {rest}}}")
    }

    #[test]
    fn reads_every_field() {
        let section = "{
            defaultAction: Deny, trustDomain: own,
            policies: [{
                appId: cart, defaultAction: allow, trustDomain: td, namespace: shop,
                operations: [
                    {name: orders, httpVerb: [GET, '*'], action: ALLOW},
                    {name: /admin/**, action: deny},
                ],
            }],
        }";
        let operation = |name, verbs: &[Verb], action| Operation {
            name: OperationPattern::parse(name).unwrap(),
            verbs: verbs.to_vec(),
            action,
        };
        let expected = AccessControl {
            default_action: Action::Deny,
            trust_domain: Some("own".to_owned()),
            policies: vec![Policy {
                caller: SpiffeId::new("td", "shop", "cart").unwrap(),
                default_action: Some(Action::Allow),
                operations: vec![
                    operation("/orders", &[Verb::One("GET"), Verb::Any], Action::Allow),
                    operation("/admin/**", &[], Action::Deny),
                ],
            }],
        };
        assert_eq!(read(&[section]).unwrap(), Some(expected));
    }

    #[test]
    fn the_global_default_is_to_deny_where_there_are_policies() {
        let with_policy = format!("{{defaultAction: '', policies: [{}]}}", policy("a", ""));
        for (section, expected) in [
            ("", None),
            ("{}", None),
            ("{defaultAction: '', policies: []}", None),
            ("{trustDomain: td}", Some(Action::Allow)),
            ("{defaultAction: deny}", Some(Action::Deny)),
            (&with_policy, Some(Action::Deny)),
        ] {
            let read = read(&[section]).unwrap();
            assert_eq!(read.map(|read| read.default_action), expected, "{section}");
        }
    }

    #[test]
    fn a_policy_says_whom_it_is_about() {
        assert_eq!(
            problem(
                "{policies: [{appId: a, namespace: n}, {appId: b, trustDomain: t}, {appId: c}]}"
            ),
            "file \"f.yaml\", document 1: field \"spec.accessControl.policies\": invalid access \
             control spec. missing trustdomain for apps: [a c], missing namespace for apps: [b c], \
             missing app name on at least one of the app policies: false"
        );
        let text = problem("{policies: [{trustDomain: t, namespace: n}]}");
        assert!(
            text.ends_with("on at least one of the app policies: true"),
            "{text}"
        );
    }

    #[test]
    fn what_is_misspelt_is_an_error_with_what_was_meant() {
        let operation = |fields: &str| {
            let operations = format!("operations: [{{{fields}}}]");
            format!("{{policies: [{}]}}", policy("a", &operations))
        };
        for (section, field, expected) in [
            (
                "{defaultActon: deny}".to_owned(),
                "",
                "did you mean \"defaultAction\"?",
            ),
            (
                "{defaultAction: denny}".to_owned(),
                "defaultAction",
                "did you mean \"deny\"?",
            ),
            ("text".to_owned(), "", "expected"),
            (
                format!("{{policies: [{}]}}", policy("a", "operation: []")),
                "policies[0]",
                "did you mean \"operations\"?",
            ),
            (
                operation("name: /a, httpVerbs: [GET], action: deny"),
                "policies[0].operations[0]",
                "did you mean \"httpVerb\"?",
            ),
            (
                operation("name: /a, httpVerb: [get], action: deny"),
                "policies[0].operations[0].httpVerb[0]",
                "did you mean \"GET\"?",
            ),
            (
                operation("name: /a, action: refuse"),
                "policies[0].operations[0].action",
                "accepted are \"allow\" and \"deny\"",
            ),
            (
                operation("name: /a"),
                "policies[0].operations[0]",
                "missing field \"action\"",
            ),
            (
                operation("name: '', action: deny"),
                "operations[0].name",
                "\"/**\" stands for",
            ),
            (
                operation("name: /a%2Fb, action: deny"),
                "operations[0].name",
                "is escaped",
            ),
            (
                format!("{{policies: [{}, {}]}}", policy("a", ""), policy("a", "")),
                "policies[1]",
                "there is another policy for spiffe://td/ns/ns/a",
            ),
            (
                format!("{{policies: [{}]}}", policy("a/b", "")),
                "policies[0]",
                "no caller can have this identity",
            ),
        ] {
            let text = problem(&section);
            assert!(text.contains("spec.accessControl"), "{text}");
            assert!(
                text.contains(field) && text.contains(expected),
                "{section}: {text}"
            );
        }
    }

    /// A second file that also limits who may call must not lift what the first one limits.
    #[test]
    fn no_document_allows_what_another_one_denies() {
        let first = format!(
            "{{defaultAction: deny, trustDomain: one, policies: [{}, {}]}}",
            policy(
                "a",
                "defaultAction: deny, operations: [{name: /x, action: deny}]"
            ),
            policy("b", "")
        );
        let second = format!(
            "{{defaultAction: allow, trustDomain: two, policies: [{}, {}]}}",
            policy(
                "a",
                "defaultAction: allow, operations: [{name: /x, action: allow}]"
            ),
            policy("c", "")
        );
        for sections in [[&*first, &*second, ""], [&*second, "{}", &*first]] {
            let together = read(&sections).unwrap().unwrap();
            assert_eq!(together.default_action, Action::Deny);
            let ids: Vec<_> = together
                .policies
                .iter()
                .map(|p| p.caller.app_id())
                .collect();
            assert_eq!(ids.len(), 3);
            let of_a = together
                .policies
                .iter()
                .find(|p| p.caller.app_id() == "a")
                .unwrap();
            assert_eq!(of_a.default_action, Some(Action::Deny));
            assert_eq!(of_a.operations.len(), 2);
        }
        let together = read(&[&first, &second]).unwrap().unwrap();
        assert_eq!(together.trust_domain.as_deref(), Some("two"));
    }

    /// The first file says `deny` by having policies without a default.
    #[test]
    fn a_default_that_is_not_written_counts_too() {
        let first = format!("{{policies: [{}]}}", policy("a", ""));
        let together = read(&[&first, "{defaultAction: allow}"]).unwrap().unwrap();
        assert_eq!(together.default_action, Action::Deny);
        assert_eq!(together.policies.len(), 1);
    }
}
