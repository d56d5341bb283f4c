//! The one entry: a pod and the configuration in, a verdict out.

use json_patch::Patch;
use serde_json::Value;

use super::config::Config;

/// The annotation that asks for a sidecar.
pub const ENABLED: &str = "dapr.io/enabled";

/// What is asked for one pod.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The namespace of the admission request: the pod itself may not carry one yet.
    pub namespace: &'a str,
    /// The whole Pod object, as it was sent.
    pub pod: &'a Value,
}

/// What becomes of a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Not for us: allow it unchanged.
    Skipped(SkipReason),
    /// Allow it with this patch.
    Injected {
        /// The app id that was chosen, a DNS label.
        app_id: String,
        /// `add` operations only, never empty.
        patch: Patch,
        /// For whoever created the pod.
        warnings: Vec<String>,
    },
    /// It has our sidecar already (a re-invocation): allow it with a patch that gives containers
    /// which came since their environment.
    AlreadyInjected {
        /// For whoever created the pod.
        warnings: Vec<String>,
        /// `add` operations only; empty where nothing is missing.
        patch: Patch,
    },
    /// It has a container `daprd` that is not ours: allow it unchanged, and say so.
    ForeignSidecar {
        /// Never empty.
        warnings: Vec<String>,
    },
    /// Refuse the pod.
    Denied {
        /// Names the annotation or field, its value, and what is accepted.
        message: String,
        /// For metrics.
        reason: DenyReason,
        /// What else was found.
        warnings: Vec<String>,
    },
}

/// Why a pod is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// `dapr.io/enabled` is absent, or no spelling of true.
    NotEnabled,
    /// `dapr.io/enabled` is a spelling of true (`1`, `yes`, …) that is not exactly `true`: neither
    /// Dapr's webhook nor ours takes it.
    NotExactlyTrue,
    /// The pod mirrors a static pod of a kubelet, which runs it from a file without us.
    MirrorPod,
}

impl SkipReason {
    /// A stable name, for metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotEnabled => "not_enabled",
            Self::NotExactlyTrue => "not_exactly_true",
            Self::MirrorPod => "mirror_pod",
        }
    }
}

/// Why a pod is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenyReason {
    /// No usable app id.
    AppId,
    /// An annotation that names a Secret has a value that no Secret can be called.
    SecretName,
    /// `dapr.io/env` or `dapr.io/env-from-secret` names a variable that the injector sets itself.
    ReservedEnv,
    /// The value would lower the security of the sidecar container.
    WeakensSecurity,
    /// The pod is for Windows nodes.
    Windows,
    /// The sidecar could never run, for example with two equal ports.
    CannotRun,
}

impl DenyReason {
    /// A stable name, for metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AppId => "app_id",
            Self::SecretName => "secret_name",
            Self::ReservedEnv => "reserved_env",
            Self::WeakensSecurity => "weakens_security",
            Self::Windows => "windows",
            Self::CannotRun => "cannot_run",
        }
    }
}

/// A request that no verdict can be given for: the server answers 400.
#[derive(Debug, thiserror::Error)]
pub enum InjectError {
    /// The object does not decode as a Pod.
    #[error("object is not a pod")]
    NotAPod(#[source] serde_json::Error),
}

/// Whether the pod asks for a sidecar: the annotation `dapr.io/enabled` is `true` in any case, not
/// trimmed (Dapr 1.18; also the condition of the chart's webhook).
pub fn wants_sidecar(pod: &Value) -> bool {
    pod["metadata"]["annotations"][ENABLED]
        .as_str()
        .is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

/// Decides what becomes of one pod.
///
/// # Errors
/// Only where the object is no Pod; everything that a Pod can say gives a verdict.
pub fn inject(request: &Request<'_>, _config: &Config) -> Result<Verdict, InjectError> {
    use serde::Deserialize as _;
    k8s_openapi::api::core::v1::Pod::deserialize(request.pod).map_err(InjectError::NotAPod)?;
    Ok(Verdict::Skipped(SkipReason::NotEnabled))
}
