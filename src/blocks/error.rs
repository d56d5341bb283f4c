//! Why a building block refused or failed.

/// The one reason of a failure. `api::status` turns each into an HTTP status, a gRPC code and an
/// `errorCode`; this layer knows none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The sidecar is not ready.
    NotReady,
    /// The part of the sidecar that apps call is not ready.
    OutboundNotReady,
    /// The health check asked for another app id.
    AppIdMismatch,
    /// No room for one more entry of metadata.
    MetadataFull,
    /// A request that cannot be read.
    MalformedRequest,
    /// A body that could not be read to its end.
    BodyRead,
    /// A body above the limit.
    BodyTooLarge,
    /// A middleware of the pipeline does not run, so that no call may pass.
    MiddlewareUnavailable,
    /// No secret store is loaded at all.
    SecretStoresNotConfigured,
    /// No secret store of that name.
    SecretStoreNotFound,
    /// The scopes of the configuration deny the secret, or the policy its namespace.
    SecretDenied,
    /// The store has no such secret.
    SecretNotFound,
    /// The store failed.
    SecretFetch,
    /// The request names no app to invoke.
    InvokeTargetMissing,
    /// The target is malformed, or names no app that can be reached.
    InvokeTargetUnknown,
    /// The method is malformed.
    InvokeMethodInvalid,
    /// The sidecar has no app.
    AppChannelMissing,
    /// The app does not pass its health check.
    AppUnhealthy,
    /// The app could not be called.
    InvokeFailed,
    /// The access policy of the app denies the call.
    InvokeDenied,
    /// The caller stopped waiting before there was an answer.
    DeadlineExceeded,
    /// The method is not one that passes through to apps.
    ProxyRefused,
    /// The app speaks HTTP, and the call is gRPC.
    AppSpeaksHttp,
    /// The request names no component of pub/sub.
    PubSubNameEmpty,
    /// No component of pub/sub of that name runs.
    PubSubNotFound,
    /// The request names no topic.
    TopicNameEmpty,
    /// The scopes of the component deny the topic to the app.
    TopicForbidden,
    /// `ttlInSeconds` or `rawPayload` of the message cannot be read.
    PublishMetadataInvalid,
    /// The type of the data says that it is a CloudEvent, and it is none.
    CloudEventInvalid,
    /// The body is no list of events with an `entryId` each.
    BulkUnreadable,
    /// An event of the list is not what its `contentType` says.
    BulkEventMismatch,
    /// The broker did not take the message.
    PublishFailed,
    /// As many streams of subscriptions are open as there may be.
    TooManyStreams,
    /// The broker hands out no messages to a stream.
    SubscribeFailed,
    /// The output binding is not there, does not have the operation, or failed.
    BindingFailed,
    /// No configuration store is loaded at all.
    ConfigurationStoresNotConfigured,
    /// No configuration store of that name.
    ConfigurationStoreNotFound,
    /// The store of the items failed.
    ConfigurationGet,
    /// There is no app that speaks HTTP, which could be told of changes.
    ConfigurationAppMissing,
    /// As many subscriptions to configuration are open as there may be.
    ConfigurationSubscriptionsFull,
    /// The store cannot be followed.
    ConfigurationSubscribe,
    /// The store has no subscription of that id.
    ConfigurationUnsubscribe,
    /// No lock store is loaded at all.
    LockStoresNotConfigured,
    /// The resource or the owner of a lock is empty, or its time is not above 0.
    LockRequestInvalid,
    /// No lock store of that name.
    LockStoreNotFound,
    /// The store could not say whether the lock was taken.
    TryLockFailed,
    /// The store could not say what became of the lock.
    UnlockFailed,
}

/// What a failure is about, for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The component of pub/sub.
    pub pubsub: String,
    /// Its topic; may be empty.
    pub topic: String,
}

/// A failure of a building block: a reason for programs, and a text for the client.
///
/// Invariant: the text never holds a secret, nor the inner error of a back end.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    reason: Reason,
    message: String,
    subject: Option<Box<Subject>>,
}

impl Error {
    /// A failure with its text.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            subject: None,
        }
    }

    /// The same with the topic that it is about.
    #[must_use]
    pub fn about_topic(self, pubsub: &str, topic: &str) -> Self {
        let subject = Subject {
            pubsub: pubsub.to_owned(),
            topic: topic.to_owned(),
        };
        Self {
            subject: Some(Box::new(subject)),
            ..self
        }
    }

    /// What it is about, where that is known.
    pub fn subject(&self) -> Option<&Subject> {
        self.subject.as_deref()
    }

    /// Why, for programs.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Why, for the client.
    pub fn message(&self) -> &str {
        &self.message
    }
}
