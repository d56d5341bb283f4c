//! What the steps of the registry take from its configuration.

use super::RegistryConfig;
use super::builtin::KUBERNETES_STORE;
use super::plan::Filter;
use super::resolve::Resolver;
use super::rules::{Choice, Rules};

impl RegistryConfig {
    pub(super) fn choice(&self) -> Choice<'_> {
        Choice {
            name: self.policy.as_deref(),
            namespace: self.namespace.as_deref(),
            default_access: self.default_access,
        }
    }

    /// The store that a reference means which names none.
    pub(super) fn default_store(&self) -> Option<&'static str> {
        self.is_kubernetes.then_some(KUBERNETES_STORE)
    }

    pub(super) fn filter<'a>(&'a self, rules: &'a Rules) -> Filter<'a> {
        Filter {
            app_id: &self.app_id,
            namespace: self.namespace.as_deref(),
            denied: &rules.configuration.denied_components,
            default_store: self.default_store(),
            has_kubernetes_store: self.has_kubernetes_store,
        }
    }

    pub(super) fn resolver(&self, rules: &Rules) -> Resolver<'_> {
        Resolver {
            environment: &self.environment,
            app_id: &self.app_id,
            namespace: self.namespace.as_deref(),
            default_store: self.default_store(),
            scopes_apply: rules.policy.scopes_apply_to_components,
        }
    }
}
