//! The methods of the gRPC API: one table.

/// A method that this build serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MethodId {
    /// Calls a method of an app.
    InvokeService,
    /// What the sidecar says of itself.
    GetMetadata,
    /// Adds to what it says.
    SetMetadata,
    /// One secret.
    GetSecret,
    /// Every secret of a store.
    GetBulkSecret,
    /// An operation of an output binding.
    InvokeBinding,
    /// Ends the process.
    Shutdown,
    /// Publishes a message.
    PublishEvent,
    /// Publishes several messages.
    BulkPublishEvent,
    /// Subscribes to a topic as a stream.
    SubscribeTopicEvents,
    /// Items of a configuration store.
    GetConfiguration,
    /// Changes of items as a stream.
    SubscribeConfiguration,
    /// Ends such a stream.
    UnsubscribeConfiguration,
    /// Takes a lock.
    TryLock,
    /// Gives a lock back.
    Unlock,
}

/// One row of the table of methods.
#[derive(Debug)]
pub struct Method {
    /// Its name in the code.
    pub id: MethodId,
    /// The path of its calls.
    pub path: &'static str,
    /// Its name in the API lists of a Configuration, after its version where that is not 1.
    pub api_name: &'static str,
}

/// Every method that is served. None may be called without the token.
pub const METHODS: [Method; 19] = [
    Method {
        id: MethodId::InvokeService,
        path: "/dapr.proto.runtime.v1.Dapr/InvokeService",
        api_name: "invoke",
    },
    Method {
        id: MethodId::GetMetadata,
        path: "/dapr.proto.runtime.v1.Dapr/GetMetadata",
        api_name: "metadata",
    },
    Method {
        id: MethodId::SetMetadata,
        path: "/dapr.proto.runtime.v1.Dapr/SetMetadata",
        api_name: "metadata",
    },
    Method {
        id: MethodId::GetSecret,
        path: "/dapr.proto.runtime.v1.Dapr/GetSecret",
        api_name: "secrets",
    },
    Method {
        id: MethodId::GetBulkSecret,
        path: "/dapr.proto.runtime.v1.Dapr/GetBulkSecret",
        api_name: "secrets",
    },
    Method {
        id: MethodId::InvokeBinding,
        path: "/dapr.proto.runtime.v1.Dapr/InvokeBinding",
        api_name: "bindings",
    },
    Method {
        id: MethodId::Shutdown,
        path: "/dapr.proto.runtime.v1.Dapr/Shutdown",
        api_name: "shutdown",
    },
    Method {
        id: MethodId::PublishEvent,
        path: "/dapr.proto.runtime.v1.Dapr/PublishEvent",
        api_name: "publish",
    },
    Method {
        id: MethodId::BulkPublishEvent,
        path: "/dapr.proto.runtime.v1.Dapr/BulkPublishEvent",
        api_name: "publish",
    },
    Method {
        id: MethodId::BulkPublishEvent,
        path: "/dapr.proto.runtime.v1.Dapr/BulkPublishEventAlpha1",
        api_name: "v1alpha1/publish",
    },
    Method {
        id: MethodId::SubscribeTopicEvents,
        path: "/dapr.proto.runtime.v1.Dapr/SubscribeTopicEventsAlpha1",
        api_name: "v1alpha1/subscribe",
    },
    Method {
        id: MethodId::GetConfiguration,
        path: "/dapr.proto.runtime.v1.Dapr/GetConfiguration",
        api_name: "configuration",
    },
    Method {
        id: MethodId::GetConfiguration,
        path: "/dapr.proto.runtime.v1.Dapr/GetConfigurationAlpha1",
        api_name: "v1alpha1/configuration",
    },
    Method {
        id: MethodId::SubscribeConfiguration,
        path: "/dapr.proto.runtime.v1.Dapr/SubscribeConfiguration",
        api_name: "configuration",
    },
    Method {
        id: MethodId::SubscribeConfiguration,
        path: "/dapr.proto.runtime.v1.Dapr/SubscribeConfigurationAlpha1",
        api_name: "v1alpha1/configuration",
    },
    Method {
        id: MethodId::UnsubscribeConfiguration,
        path: "/dapr.proto.runtime.v1.Dapr/UnsubscribeConfiguration",
        api_name: "configuration",
    },
    Method {
        id: MethodId::UnsubscribeConfiguration,
        path: "/dapr.proto.runtime.v1.Dapr/UnsubscribeConfigurationAlpha1",
        api_name: "v1alpha1/configuration",
    },
    Method {
        id: MethodId::TryLock,
        path: "/dapr.proto.runtime.v1.Dapr/TryLockAlpha1",
        api_name: "v1alpha1/lock",
    },
    Method {
        id: MethodId::Unlock,
        path: "/dapr.proto.runtime.v1.Dapr/UnlockAlpha1",
        api_name: "v1alpha1/unlock",
    },
];
