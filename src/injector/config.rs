//! What is the same for every pod: given to the process, not to the pod.

use k8s_openapi::api::core::v1::Toleration;
use serde::Deserialize;

use crate::resources::sidecar_policy::DefaultAccess;

/// The settings of the injector itself. The names in brackets are Dapr's environment variables.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The image of the sidecar, unless the pod names another (`SIDECAR_IMAGE`).
    pub sidecar_image: String,
    /// When the kubelet pulls the image (`SIDECAR_IMAGE_PULL_POLICY`).
    pub image_pull_policy: PullPolicy,
    /// Whether the sidecar is a restartable init container, unless the pod says otherwise
    /// (`NATIVE_SIDECAR_ENABLED`). "auto" is decided before it gets here.
    pub native_sidecar: bool,
    /// Whether pods may lower the security of the sidecar container by annotation: those rows of
    /// docs/annotations.md are denied otherwise.
    pub allow_weakened_security: bool,
    /// What the app may read of secret stores that no Configuration gives a scope.
    pub secrets_default_access: DefaultAccess,
    /// `runAsNonRoot` of the sidecar (`SIDECAR_RUN_AS_NON_ROOT`).
    pub run_as_non_root: bool,
    /// `readOnlyRootFilesystem` of the sidecar (`SIDECAR_READ_ONLY_ROOT_FILESYSTEM`).
    pub read_only_root_filesystem: bool,
    /// Whether all capabilities are dropped (`SIDECAR_DROP_ALL_CAPABILITIES`).
    pub drop_all_capabilities: bool,
    /// `runAsUser` of the sidecar, where set (`SIDECAR_RUN_AS_USER`).
    pub run_as_user: Option<i64>,
    /// `runAsGroup` of the sidecar, where set (`SIDECAR_RUN_AS_GROUP`).
    pub run_as_group: Option<i64>,
    /// Whether the sidecar gets `DAPR_HOST_IP` from the pod's status (`ENABLE_K8S_DOWNWARD_APIS`).
    pub downward_apis: bool,
    /// A pod with any of these tolerations gets `command: ["/daprd"]`, for nodes whose runtime
    /// ignores the difference between entry point and arguments (`IGNORE_ENTRYPOINT_TOLERATIONS`).
    pub ignore_entrypoint_tolerations: Vec<Toleration>,
    /// Where the sockets of pluggable components are mounted, unless the pod says otherwise
    /// (`DAPR_COMPONENT_SOCKETS_FOLDER`).
    pub component_sockets_folder: String,
    /// The control plane that the sidecar uses; none where there is none.
    pub control_plane: Option<ControlPlane>,
    /// `host:port` of the placement service, where there is one (`ACTORS_SERVICE_ADDRESS`).
    pub placement_address: Option<String>,
    /// `host:port` of the scheduler service, where there is one.
    pub scheduler_address: Option<String>,
}

/// The control plane of the cluster, as the sidecar is told of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct ControlPlane {
    /// Its namespace (`NAMESPACE` of the injector): `DAPR_CONTROLPLANE_NAMESPACE`.
    pub namespace: String,
    /// Its trust domain: `DAPR_CONTROLPLANE_TRUST_DOMAIN`.
    pub trust_domain: String,
    /// `host:port` of the resources API: `--control-plane-address`.
    pub resources_address: Option<String>,
    /// The authority that signs the sidecar's identity, where there is one.
    pub authority: Option<Authority>,
}

/// The authority for workload identity.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Authority {
    /// `host:port`: `--sentry-address`.
    pub address: String,
    /// PEM text of the trust anchors (certificates, no secret): `DAPR_TRUST_ANCHORS`.
    pub trust_anchors: String,
    /// Whether sidecars use TLS among themselves: `--enable-mtls`.
    pub mtls: bool,
}

/// When the kubelet pulls an image (Kubernetes, "Images").
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub enum PullPolicy {
    /// Each time a container starts.
    Always,
    /// Where the node does not have it.
    #[default]
    IfNotPresent,
    /// Never.
    Never,
}

impl PullPolicy {
    /// Reads Kubernetes' spelling; nothing else is accepted.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Always, Self::IfNotPresent, Self::Never]
            .into_iter()
            .find(|policy| policy.as_str() == text)
    }

    /// Kubernetes' spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sidecar_image: concat!("ghcr.io/sidegate/sidegate:", env!("CARGO_PKG_VERSION")).into(),
            image_pull_policy: PullPolicy::default(),
            native_sidecar: false,
            allow_weakened_security: false,
            secrets_default_access: DefaultAccess::Allow,
            run_as_non_root: true,
            read_only_root_filesystem: true,
            drop_all_capabilities: true,
            run_as_user: None,
            run_as_group: None,
            downward_apis: false,
            ignore_entrypoint_tolerations: Vec::new(),
            component_sockets_folder: "/tmp/dapr-components-sockets".into(),
            control_plane: None,
            placement_address: None,
            scheduler_address: None,
        }
    }
}
