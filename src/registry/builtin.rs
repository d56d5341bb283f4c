//! Components that are there without a manifest.

use crate::resources::Origin;
use crate::resources::component::{Component, DEFAULT_INIT_TIMEOUT};

/// The name of the store of the cluster's own Secrets, which a reference without a store means
/// there (Dapr 1.18).
pub(super) const KUBERNETES_STORE: &str = "kubernetes";

/// The store of the cluster's own Secrets. Most apps never read from it, so none fails without it.
pub(super) fn kubernetes_store() -> Component {
    Component {
        origin: Origin::BuiltIn,
        name: KUBERNETES_STORE.to_owned(),
        namespace: None,
        component_type: "secretstores.kubernetes".to_owned(),
        version: "v1".to_owned(),
        ignore_errors: true,
        init_timeout: DEFAULT_INIT_TIMEOUT,
        properties: Vec::new(),
        secret_store: None,
        scopes: Vec::new(),
    }
}
