//! Which secrets the configuration lets the app read. Pure.

use std::collections::BTreeSet;

use crate::resources::configuration::SecretScope;
use crate::resources::sidecar_policy::{DefaultAccess, Policy};

/// The scope of one store.
///
/// Invariant: names are judged in the store's canonical form, so no spelling of a denied name is
/// allowed; and a name that is both allowed and denied is denied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scope {
    deny_by_default: bool,
    /// `None` where no list was given.
    allowed: Option<BTreeSet<String>>,
    denied: BTreeSet<String>,
}

impl Scope {
    /// The scope of a store that the Configuration names, given how the store spells names.
    pub(super) fn new(entry: &SecretScope, canonical: impl Fn(&str) -> String) -> Self {
        let set = |names: &[String]| names.iter().map(|name| canonical(name)).collect();
        Self {
            deny_by_default: entry.deny_by_default,
            allowed: (!entry.allowed.is_empty()).then(|| set(&entry.allowed)),
            denied: set(&entry.denied),
        }
    }

    /// The scope of a store that the Configuration does not name.
    pub(super) fn of_all_stores(policy: &Policy) -> Self {
        Self {
            deny_by_default: policy.default_access == DefaultAccess::Deny,
            ..Self::default()
        }
    }

    /// Whether a secret may be read. Its name is in canonical form.
    pub(super) fn permits(&self, canonical: &str) -> bool {
        if self.denied.contains(canonical) {
            return false;
        }
        match &self.allowed {
            Some(allowed) => allowed.contains(canonical),
            None => !self.deny_by_default,
        }
    }

    /// The names that may be read, where only listed ones may.
    pub(super) fn only(&self) -> Option<Vec<String>> {
        let allowed = self.allowed.as_ref()?;
        Some(allowed.difference(&self.denied).cloned().collect())
    }

    /// Whether no secret at all may be read, whatever the store holds.
    pub(super) fn denies_all(&self) -> bool {
        match &self.allowed {
            Some(allowed) => allowed.is_subset(&self.denied),
            None => self.deny_by_default,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(deny_by_default: bool, allowed: &[&str], denied: &[&str]) -> SecretScope {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        SecretScope {
            store: "s".to_owned(),
            deny_by_default,
            allowed: list(allowed),
            denied: list(denied),
        }
    }

    #[test]
    fn judges_by_deny_list_then_allow_list_then_default() {
        for (deny_by_default, allowed, denied, permitted) in [
            (false, &[][..], &[][..], [true, true]),
            (true, &[], &[], [false, false]),
            (false, &[], &["a"], [false, true]),
            (false, &["a"], &[], [true, false]),
            (true, &["a"], &[], [true, false]),
            (false, &["a"], &["a"], [false, false]),
            (true, &["a", "b"], &["a"], [false, true]),
        ] {
            let entry = entry(deny_by_default, allowed, denied);
            let scope = Scope::new(&entry, str::to_owned);
            assert_eq!(
                [scope.permits("a"), scope.permits("b")],
                permitted,
                "{entry:?}"
            );
            let only = ["a", "b"].iter().zip(permitted).filter(|(_, is)| *is);
            let only: Vec<_> = only.map(|(name, _)| (*name).to_owned()).collect();
            assert_eq!(
                scope.only(),
                (!allowed.is_empty()).then_some(only),
                "{entry:?}"
            );
            if scope.denies_all() {
                assert_eq!(permitted, [false, false], "{entry:?}");
            }
        }
        let unnamed = |default_access| {
            Scope::of_all_stores(&Policy {
                default_access,
                ..Policy::default()
            })
        };
        assert!(unnamed(DefaultAccess::Allow).permits("a"));
        assert!(!unnamed(DefaultAccess::Deny).permits("a"));
        assert!(unnamed(DefaultAccess::Deny).denies_all());
        assert!(Scope::new(&entry(false, &["a"], &["a"]), str::to_owned).denies_all());
        assert!(!Scope::new(&entry(false, &[], &["a"]), str::to_owned).denies_all());
    }

    proptest! {
        // A store whose names have no case, as some have on their servers.
        #[test]
        fn no_spelling_of_a_denied_name_is_allowed(
            name in "[a-zA-Z]{1,8}",
            upper in proptest::collection::vec(any::<bool>(), 8),
            allow_too: bool,
        ) {
            let canonical = |name: &str| name.to_lowercase();
            let allowed: &[&str] = if allow_too { &[&name] } else { &[] };
            let scope = Scope::new(&entry(false, allowed, &[&name]), canonical);
            let spelling: String = name
                .chars()
                .zip(upper)
                .map(|(letter, upper)| {
                    if upper { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
                })
                .collect();
            prop_assert!(!scope.permits(&canonical(&spelling)));
        }

        #[test]
        fn whatever_is_permitted_is_not_denied(
            deny_by_default: bool,
            allowed in proptest::collection::vec("[ab]{1,2}", 0..4),
            denied in proptest::collection::vec("[ab]{1,2}", 0..4),
            name in "[ab]{1,2}",
        ) {
            let entry = SecretScope {
                store: "s".to_owned(),
                deny_by_default,
                allowed: allowed.clone(),
                denied: denied.clone(),
            };
            let scope = Scope::new(&entry, str::to_owned);
            if scope.permits(&name) {
                prop_assert!(!denied.contains(&name));
                prop_assert!(allowed.contains(&name) || allowed.is_empty() && !deny_by_default);
                prop_assert!(!scope.denies_all());
            }
        }
    }
}
