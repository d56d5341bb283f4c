//! Which secrets the configuration lets the app read. Pure.

use std::collections::BTreeSet;

use crate::resources::configuration::SecretScope;

/// The scope of one store.
///
/// Invariant: names are judged in the store's canonical form, so no spelling of a denied name is
/// allowed; and a name that is both allowed and denied is denied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    deny_by_default: bool,
    /// `None` where no list was given.
    allowed: Option<BTreeSet<String>>,
    denied: BTreeSet<String>,
}

impl Scope {
    /// The scope of a store, given how it spells names. Without an entry everything is allowed.
    pub fn new(entry: Option<&SecretScope>, canonical: impl Fn(&str) -> String) -> Self {
        let Some(entry) = entry else {
            return Self::default();
        };
        let set = |names: &[String]| names.iter().map(|name| canonical(name)).collect();
        Self {
            deny_by_default: entry.deny_by_default,
            allowed: (!entry.allowed.is_empty()).then(|| set(&entry.allowed)),
            denied: set(&entry.denied),
        }
    }

    /// Whether a secret may be read. Its name is in canonical form.
    pub fn permits(&self, canonical: &str) -> bool {
        if self.denied.contains(canonical) {
            return false;
        }
        match &self.allowed {
            Some(allowed) => allowed.contains(canonical),
            None => !self.deny_by_default,
        }
    }

    /// Whether no secret at all may be read, whatever the store holds.
    pub fn denies_all(&self) -> bool {
        match &self.allowed {
            Some(allowed) => allowed.is_subset(&self.denied),
            None => self.deny_by_default,
        }
    }
}
