//! Refusals, with a text for people and a reason for metrics.

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

/// A refusal on its way up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Denial {
    pub(super) reason: DenyReason,
    /// Names the annotation or field, its value, and what is accepted.
    pub(super) message: String,
}

impl Denial {
    /// The sidecar could never run.
    pub(super) fn cannot_run(message: String) -> Self {
        Self {
            reason: DenyReason::CannotRun,
            message,
        }
    }
}
