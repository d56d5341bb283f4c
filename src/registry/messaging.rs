//! Brokers and bindings that run, under their names.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::components::binding::BindingComponent;
use crate::components::pubsub::PubSubComponent;
use crate::resources::component::Component;
use crate::resources::property::Source;

/// Pub/sub that runs. A changed component is another one: compare with `Arc::ptr_eq`.
pub struct LoadedPubSub {
    /// Its name.
    pub name: String,
    /// What it is.
    pub component: PubSubComponent,
    /// What stands before each topic at the broker.
    pub topic_prefix: String,
}

/// A binding that runs. A changed component is another one: compare with `Arc::ptr_eq`.
pub struct LoadedBinding {
    /// Its name.
    pub name: String,
    /// For example `bindings.cron`.
    pub component_type: String,
    /// What it is.
    pub component: BindingComponent,
}

/// What of a name is escaped in a path: all but `unreserved` of RFC 3986.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

impl LoadedBinding {
    /// The path of its events at an HTTP app, escaped, with the slash at its beginning.
    pub fn route(&self) -> String {
        let route = self.component.settings.route.clone();
        route.unwrap_or_else(|| format!("/{}", utf8_percent_encode(&self.name, ESCAPED)))
    }
}

/// The placeholder that, anywhere in a component of pub/sub, keeps its topics apart by namespace
/// (Dapr 1.18).
const NAMESPACE: &str = "{namespace}";

impl LoadedPubSub {
    pub(super) fn new(component: &Component, loaded: PubSubComponent, namespace: &str) -> Self {
        let has_placeholder = component.properties.iter().any(|property| {
            matches!(&property.source, Source::Literal(text) if text.contains(NAMESPACE))
        });
        Self {
            name: component.name.clone(),
            component: loaded,
            topic_prefix: if has_placeholder {
                namespace.to_owned()
            } else {
                String::new()
            },
        }
    }

    /// A topic as the broker knows it.
    pub fn broker_topic(&self, topic: &str) -> String {
        format!("{}{topic}", self.topic_prefix)
    }
}
