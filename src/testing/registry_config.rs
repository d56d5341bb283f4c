//! What the registry is given, in tests.

use std::path::Path;

use crate::base::environment::Environment;
use crate::process::kubernetes::Access;
use crate::registry::{DEFAULT_RECONCILE_INTERVAL, RegistryConfig};
use crate::resources::sidecar_policy::DefaultAccess;

/// That of the sidecar of the app `app`, with the resources of one folder, outside Kubernetes.
pub fn registry_config(resources: &Path) -> RegistryConfig {
    RegistryConfig {
        app_id: "app".to_owned(),
        namespace: None,
        resource_paths: vec![resources.to_owned()],
        config_files: Vec::new(),
        policy: None,
        default_access: DefaultAccess::Allow,
        access: Access::InCluster,
        has_kubernetes_store: false,
        environment: Environment::default(),
        is_kubernetes: false,
        reads_cluster: true,
        reconcile_interval: DEFAULT_RECONCILE_INTERVAL,
    }
}
