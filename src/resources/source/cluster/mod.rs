//! Resources in the cluster: objects of the sidecar's own namespace, listed and then watched.
//!
//! ```text
//! kind → kubernetes (list, watch) → change → objects (documents, as files have them)
//! ```

use std::sync::Arc;

use serde_json::{Value, json};

use crate::resources::Origin;
use crate::resources::decode::Document;

pub mod kubernetes;
mod objects;

pub(crate) use objects::{Change, Objects};

/// A kind of resource, as the API server names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// For example `dapr.io`.
    pub group: &'static str,
    /// For example `v1alpha1`.
    pub version: &'static str,
    /// Both with a slash between them, as objects have it.
    pub api_version: &'static str,
    /// For example `Component`.
    pub kind: &'static str,
    /// For example `components`.
    pub plural: &'static str,
}

/// Components.
pub const COMPONENT: Kind = Kind {
    group: "dapr.io",
    version: "v1alpha1",
    api_version: crate::resources::decode::API_VERSION,
    kind: "Component",
    plural: "components",
};

/// HTTP endpoints.
pub const HTTP_ENDPOINT: Kind = Kind {
    kind: crate::resources::http_endpoint::KIND,
    plural: "httpendpoints",
    ..COMPONENT
};

/// Configurations.
pub const CONFIGURATION: Kind = Kind {
    kind: "Configuration",
    plural: "configurations",
    ..COMPONENT
};

/// Resiliency.
pub const RESILIENCY: Kind = Kind {
    kind: "Resiliency",
    plural: "resiliencies",
    ..COMPONENT
};

/// Policies.
pub const SIDECAR_POLICY: Kind = Kind {
    group: "sidegate.dev",
    version: "v1alpha1",
    api_version: crate::resources::sidecar_policy::API_VERSION,
    kind: crate::resources::sidecar_policy::KIND,
    plural: "sidecarpolicies",
};

/// Subscriptions, in the version that objects of the older are read in too.
pub const SUBSCRIPTION: Kind = Kind {
    version: "v2alpha1",
    api_version: crate::resources::subscription::API_VERSION,
    kind: crate::resources::subscription::KIND,
    plural: "subscriptions",
    ..COMPONENT
};

impl Kind {
    /// An object of this kind as a document. Of its metadata only the name is kept: what kubectl
    /// and the API server note there may be larger than the object.
    fn document(&self, namespace: &Arc<str>, name: &str, mut fields: Value) -> Document {
        fields["apiVersion"] = Value::from(self.api_version);
        fields["kind"] = Value::from(self.kind);
        fields["metadata"] = json!({ "name": name, "namespace": **namespace });
        Document {
            origin: Origin::Object {
                kind: self.kind,
                name: name.to_owned(),
                namespace: Arc::clone(namespace),
            },
            api_version: self.api_version.to_owned(),
            kind: self.kind.to_owned(),
            value: fields,
        }
    }
}

/// Why the objects of a kind cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The account may not.
    #[error(
        "{account} may not {verb} {plural}.{group} in namespace {namespace:?}: a Role there needs \
         apiGroups [{group:?}], resources [{plural:?}], verbs [\"list\", \"watch\"]"
    )]
    Forbidden {
        /// Who asked.
        account: String,
        /// `list` or `watch`.
        verb: &'static str,
        /// Of the kind.
        plural: &'static str,
        /// Of the kind.
        group: &'static str,
        /// Where.
        namespace: Arc<str>,
    },
    /// The cluster does not have the kind.
    #[error(
        "the cluster has no kind {kind} ({api_version}): CustomResourceDefinition \
         \"{plural}.{group}\" is not installed"
    )]
    NoSuchKind {
        /// The kind.
        kind: &'static str,
        /// Its group and version.
        api_version: &'static str,
        /// Its plural.
        plural: &'static str,
        /// Its group.
        group: &'static str,
    },
    /// The API server does not know who asks.
    #[error("the API server does not accept the credentials of the sidecar")]
    Unauthorized,
    /// Everything else, which may be over soon.
    #[error("cannot {verb} {plural}.{group} in namespace {namespace:?}: {cause}")]
    Failed {
        /// `list` or `watch`.
        verb: &'static str,
        /// Of the kind.
        plural: &'static str,
        /// Of the kind.
        group: &'static str,
        /// Where.
        namespace: Arc<str>,
        /// Why.
        cause: String,
    },
}

impl Problem {
    /// Whether somebody has to do something about it, so that waiting a moment is in vain.
    pub fn is_lasting(&self) -> bool {
        !matches!(self, Self::Failed { .. })
    }
}
