//! What a pluggable component can be.

use http::uri::PathAndQuery;

/// A service of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Service {
    InputBinding,
    OutputBinding,
    PubSub,
    SecretStore,
}

impl Service {
    pub(super) const ALL: [Self; 4] = [
        Self::InputBinding,
        Self::OutputBinding,
        Self::PubSub,
        Self::SecretStore,
    ];

    /// Its name with its package.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::InputBinding => "dapr.proto.components.v1.InputBinding",
            Self::OutputBinding => "dapr.proto.components.v1.OutputBinding",
            Self::PubSub => "dapr.proto.components.v1.PubSub",
            Self::SecretStore => "dapr.proto.components.v1.SecretStore",
        }
    }

    /// What the types of its components begin with.
    pub(super) fn category(self) -> &'static str {
        match self {
            Self::InputBinding | Self::OutputBinding => "bindings.",
            Self::PubSub => "pubsub.",
            Self::SecretStore => "secretstores.",
        }
    }

    /// The path of one of its methods.
    pub(super) fn path(self, method: &str) -> PathAndQuery {
        let path = format!("/{}/{method}", self.name());
        PathAndQuery::try_from(path).expect("letters and dots are a path")
    }
}
