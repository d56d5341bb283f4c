//! Whether an access policy lets a call through. Pure.
//!
//! The path that is judged is the one that the app gets: a [`MethodPath`] or [`GrpcMethod`], made
//! once where the call came in. Nothing is decoded or normalised here.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use http::Method;

use crate::base::grpc_method::GrpcMethod;
use crate::base::method_path::MethodPath;
use crate::base::operation_pattern::{Closeness, OperationPattern};
use crate::base::spiffe_id::SpiffeId;
use crate::resources::configuration::access_control::{self as written, Action, Verb};

/// Which apps may call which methods of the own app.
#[derive(Clone, Debug)]
pub struct AccessControl {
    default_action: Action,
    callers: HashMap<SpiffeId, Policy>,
}

/// What a caller wants to call.
#[derive(Clone, Copy, Debug)]
pub enum Operation<'a> {
    /// A method of an app that speaks HTTP. Case does not count.
    Http {
        /// The path.
        path: &'a MethodPath,
        /// The HTTP method, where the caller says one.
        verb: Option<&'a Method>,
    },
    /// A method of an app that speaks gRPC, by `OnInvoke`. Verbs do not count.
    Invoke(&'a MethodPath),
    /// A method of a gRPC app's own service. Verbs do not count.
    Grpc(&'a GrpcMethod),
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    /// Whether it may go on.
    pub is_allowed: bool,
    /// The caller whose policy decided; `None` for the global default.
    pub policy: Option<&'a SpiffeId>,
}

#[derive(Clone, Debug)]
struct Policy {
    default_action: Option<Action>,
    rules: Vec<Rule>,
}

/// An operation of a policy.
#[derive(Clone, Debug)]
struct Rule {
    pattern: OperationPattern,
    /// The pattern in lower case, for HTTP.
    lower: OperationPattern,
    verbs: Vec<Verb>,
    action: Action,
}

impl AccessControl {
    /// From the section of a Configuration.
    pub fn new(section: &written::AccessControl) -> Self {
        let callers = section.policies.iter().map(|policy| {
            let rules = policy.operations.iter().map(|operation| Rule {
                pattern: operation.name.clone(),
                lower: operation.name.to_lowercase(),
                verbs: operation.verbs.clone(),
                action: operation.action,
            });
            let of_caller = Policy {
                default_action: policy.default_action,
                rules: rules.collect(),
            };
            (policy.caller.clone(), of_caller)
        });
        Self {
            default_action: section.default_action,
            callers: callers.collect(),
        }
    }

    /// Whether it tells callers apart, so that somebody has to say who they are.
    pub fn has_policies(&self) -> bool {
        !self.callers.is_empty()
    }

    /// Whether a caller may call something. `None` is a caller of whom nothing is proven.
    pub fn decide(&self, caller: Option<&SpiffeId>, call: Operation<'_>) -> Decision<'_> {
        let known = caller.and_then(|caller| self.callers.get_key_value(caller));
        let by_policy = known.and_then(|(caller, policy)| {
            let action = policy.decide(call).or(policy.default_action)?;
            Some((caller, action))
        });
        match by_policy {
            Some((caller, action)) => Decision {
                is_allowed: action == Action::Allow,
                policy: Some(caller),
            },
            None => Decision {
                is_allowed: self.default_action == Action::Allow,
                policy: None,
            },
        }
    }
}

impl Policy {
    /// What the rules say that describe the path most closely. `None` where there are none, or
    /// none of them has the verb.
    fn decide(&self, call: Operation<'_>) -> Option<Action> {
        let closest = self.closest(&call.matched_path(), call);
        let Operation::Http { verb, .. } = call else {
            return strictest(closest.into_iter());
        };
        let verb = verb.map(Method::as_str);
        let named = closest.iter().copied().filter(|rule| rule.names(verb));
        let general = closest.iter().copied().filter(|rule| rule.is_for_any());
        strictest(named).or_else(|| strictest(general))
    }

    fn closest(&self, path: &str, call: Operation<'_>) -> Vec<&Rule> {
        let mut closest: Vec<&Rule> = Vec::new();
        let mut best: Option<Closeness> = None;
        for rule in &self.rules {
            let Some(closeness) = rule.matches(path, call) else {
                continue;
            };
            if best.as_ref().is_none_or(|best| closeness > *best) {
                best = Some(closeness);
                closest.clear();
            } else if best.as_ref() != Some(&closeness) {
                continue;
            }
            closest.push(rule);
        }
        closest
    }
}

impl Rule {
    fn matches(&self, path: &str, call: Operation<'_>) -> Option<Closeness> {
        let pattern = match call {
            Operation::Http { .. } => &self.lower,
            Operation::Invoke(_) | Operation::Grpc(_) => &self.pattern,
        };
        // Dapr takes every name for what is beneath it too. Here only what denies reaches so far.
        pattern.matches(path, self.action == Action::Deny)
    }

    fn names(&self, verb: Option<&str>) -> bool {
        let named =
            |own: &Verb| matches!((own, verb), (Verb::One(own), Some(verb)) if *own == verb);
        self.verbs.iter().any(named)
    }

    /// Dapr passes over a rule without verbs. Here that is so only where it allows.
    fn is_for_any(&self) -> bool {
        self.verbs.contains(&Verb::Any) || self.verbs.is_empty() && self.action == Action::Deny
    }
}

/// `Deny` where one of the rules denies. `None` without any.
fn strictest<'a>(mut rules: impl Iterator<Item = &'a Rule>) -> Option<Action> {
    let first = rules.next()?.action;
    let denies = first == Action::Deny || rules.any(|rule| rule.action == Action::Deny);
    Some(if denies { Action::Deny } else { Action::Allow })
}

impl Operation<'_> {
    /// The path as text, as in Dapr's messages.
    fn path(&self) -> &str {
        match self {
            Self::Http { path, .. } | Self::Invoke(path) => path.as_str(),
            Self::Grpc(method) => method.as_str(),
        }
    }

    fn matched_path(&self) -> Cow<'_, str> {
        match self {
            Self::Http { path, .. } => path.as_str().to_lowercase().into(),
            Self::Invoke(_) | Self::Grpc(_) => self.path().into(),
        }
    }
}

impl fmt::Display for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self {
            Self::Http { verb, .. } => verb.map(Method::as_str),
            Self::Invoke(_) | Self::Grpc(_) => None,
        };
        write!(
            f,
            "operation: {} verb: {}",
            self.path(),
            verb.unwrap_or("NONE")
        )
    }
}

#[cfg(test)]
mod tests;
