//! What a pluggable component can be.

use http::uri::PathAndQuery;

/// A service of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Service {
    InputBinding,
    OutputBinding,
    PubSub,
    SecretStore,
    StateStore,
}

impl Service {
    pub(super) const ALL: [Self; 5] = [
        Self::InputBinding,
        Self::OutputBinding,
        Self::PubSub,
        Self::SecretStore,
        Self::StateStore,
    ];

    /// Its name with its package.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::InputBinding => "dapr.proto.components.v1.InputBinding",
            Self::OutputBinding => "dapr.proto.components.v1.OutputBinding",
            Self::PubSub => "dapr.proto.components.v1.PubSub",
            Self::SecretStore => "dapr.proto.components.v1.SecretStore",
            Self::StateStore => "dapr.proto.components.v1.StateStore",
        }
    }

    /// What the types of its components begin with.
    pub(super) fn category(self) -> &'static str {
        match self {
            Self::InputBinding | Self::OutputBinding => "bindings.",
            Self::PubSub => "pubsub.",
            Self::SecretStore => "secretstores.",
            Self::StateStore => "state.",
        }
    }

    /// The path of one of its methods. Those of transactions are in services of their own.
    pub(super) fn path(self, method: &str) -> PathAndQuery {
        let service = match (self, method) {
            (Self::StateStore, "Transact") => "dapr.proto.components.v1.TransactionalStateStore",
            (Self::StateStore, "MultiMaxSize") => {
                "dapr.proto.components.v1.TransactionalStoreMultiMaxSize"
            }
            _ => self.name(),
        };
        let path = format!("/{service}/{method}");
        PathAndQuery::try_from(path).expect("letters and dots are a path")
    }
}
