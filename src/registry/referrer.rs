//! What refers to secrets and variables: a component or an HTTP endpoint. Pure.

use std::borrow::Cow;

use crate::components::secret_store::RequestMetadata;
use crate::resources::component::Component;
use crate::resources::http_endpoint::{HttpEndpoint, KIND, Spec};
use crate::resources::property::Source;

/// A resource as far as references are concerned.
pub(super) struct Referrer<'a> {
    /// In the words of errors.
    pub(super) kind: &'static str,
    /// Its name.
    pub(super) name: &'a str,
    namespace: Option<&'a str>,
    secret_store: Option<&'a str>,
    /// Its values with the names of their properties, in the order of the manifest.
    pub(super) values: Vec<(Cow<'a, str>, &'a Source)>,
}

impl<'a> From<&'a Component> for Referrer<'a> {
    fn from(component: &'a Component) -> Self {
        let properties = component.properties.iter();
        let values = properties
            .map(|property| (Cow::Borrowed(property.name.as_str()), &property.source))
            .collect();
        Self {
            kind: "component",
            name: &component.name,
            namespace: component.namespace.as_deref(),
            secret_store: component.secret_store.as_deref(),
            values,
        }
    }
}

impl<'a> From<&'a HttpEndpoint> for Referrer<'a> {
    fn from(endpoint: &'a HttpEndpoint) -> Self {
        let values = endpoint.spec.iter().flat_map(Spec::values);
        Self {
            kind: KIND,
            name: &endpoint.name,
            namespace: endpoint.namespace.as_deref(),
            secret_store: endpoint.secret_store.as_deref(),
            values: values
                .map(|(name, source)| (Cow::Owned(name), source))
                .collect(),
        }
    }
}

impl<'a> Referrer<'a> {
    /// The names of the secrets that it refers to, once for each reference.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &'a str> {
        self.values.iter().filter_map(|(_, source)| source.secret())
    }

    /// The store that its references need; `default` is the one that a resource means which names
    /// none.
    pub(super) fn store(&self, default: Option<&'a str>) -> Option<&'a str> {
        let named = self.secret_store.filter(|name| !name.is_empty());
        let has_reference = self.secrets().next().is_some();
        named.or(default).filter(|_| has_reference)
    }

    /// The parameters of its reads. `namespace` is that of the sidecar.
    pub(super) fn parameters(&self, namespace: Option<&str>) -> RequestMetadata {
        let namespace = self.namespace.or(namespace);
        namespace
            .map(|namespace| ("namespace".to_owned(), namespace.to_owned()))
            .into_iter()
            .collect()
    }
}
