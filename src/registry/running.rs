//! Components that run.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::messaging::{LoadedBinding, LoadedPubSub};
use super::resolve::References;
use super::rules::Rules;
use super::snapshot::{LoadedComponent, LoadedSecretStore};
use super::stores::LoadedState;
use crate::components::catalog::Backend;
use crate::components::middleware::SharedMiddleware;
use crate::resources::component::Component;
use crate::resources::configuration::Handler;

/// A component that runs. Cheap to clone.
#[derive(Clone)]
pub(super) struct Running {
    pub(super) component: Arc<Component>,
    pub(super) references: Arc<References>,
    pub(super) backend: Backend,
    /// Where it is one.
    pub(super) secret_store: Option<Arc<LoadedSecretStore>>,
    pub(super) pubsub: Option<Arc<LoadedPubSub>>,
    pub(super) binding: Option<Arc<LoadedBinding>>,
    pub(super) state: Option<Arc<LoadedState>>,
}

/// What is limited for components from outside of them.
pub(super) struct Limits<'a> {
    pub(super) rules: &'a Rules,
    /// The namespace; may be empty.
    pub(super) namespace: &'a str,
}

impl Running {
    pub(super) fn new(
        component: &Component,
        references: References,
        backend: Backend,
        limits: &Limits<'_>,
    ) -> Self {
        let pubsub = match &backend {
            Backend::PubSub(pubsub) => Some(Arc::new(LoadedPubSub::new(
                component,
                pubsub.clone(),
                limits.namespace,
            ))),
            _ => None,
        };
        let mut running = Self {
            secret_store: None,
            pubsub,
            binding: binding(component, &backend),
            state: match &backend {
                Backend::State(state) => Some(Arc::new(LoadedState::new(&component.name, state))),
                _ => None,
            },
            component: Arc::new(component.clone()),
            references: Arc::new(references),
            backend,
        };
        running.limit(limits);
        running
    }

    /// Takes over the rules that limit it, where it is a secret store.
    pub(super) fn limit(&mut self, limits: &Limits<'_>) {
        let Limits { rules, namespace } = limits;
        self.secret_store = self.backend.secret_store().map(|store| {
            let (store, name) = (Arc::clone(store), &self.component.name);
            Arc::new(LoadedSecretStore::new(store, rules, name, namespace))
        });
    }

    /// What the metadata tells of it.
    pub(super) fn loaded(&self) -> LoadedComponent {
        LoadedComponent {
            name: self.component.name.clone(),
            component_type: self.component.component_type.clone(),
            version: self.component.version.clone(),
            capabilities: self.backend.capabilities(),
        }
    }

    /// The middleware that it is, where it is one of this type and version.
    pub(super) fn middleware(&self, wanted: &Handler) -> Option<&SharedMiddleware> {
        let Component {
            component_type,
            version,
            ..
        } = &*self.component;
        let is_wanted = wanted.is_of(component_type, version);
        self.backend.middleware().filter(|_| is_wanted)
    }
}

/// The secret store of a name.
pub(super) fn secret_store(
    running: &BTreeMap<String, Running>,
    name: &str,
) -> Option<Arc<LoadedSecretStore>> {
    running.get(name)?.secret_store.clone()
}

fn binding(component: &Component, backend: &Backend) -> Option<Arc<LoadedBinding>> {
    let Backend::Binding(binding) = backend else {
        return None;
    };
    Some(Arc::new(LoadedBinding {
        name: component.name.clone(),
        component_type: component.component_type.clone(),
        component: binding.clone(),
    }))
}
