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
    /// State was not read or written.
    State(StateReason),
    /// Configuration was not read or followed.
    Configuration(ConfigurationReason),
    /// A lock was not taken or given back.
    Lock(LockReason),
}

/// Why configuration was not read or followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConfigurationReason {
    /// No configuration store is loaded at all.
    StoresNotConfigured,
    /// No configuration store of that name.
    StoreNotFound,
    /// The store of the items failed.
    Get,
    /// There is no app that speaks HTTP, which could be told of changes.
    AppMissing,
    /// As many subscriptions to configuration are open as there may be.
    SubscriptionsFull,
    /// The store cannot be followed.
    Subscribe,
    /// The store has no subscription of that id.
    Unsubscribe,
}

/// Why a lock was not taken or given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockReason {
    /// No lock store is loaded at all.
    StoresNotConfigured,
    /// The resource or the owner of a lock is empty, or its time is not above 0.
    RequestInvalid,
    /// No lock store of that name.
    StoreNotFound,
    /// The store could not say whether the lock was taken.
    Try,
    /// The store could not say what became of the lock.
    Unlock,
}

/// Why state was not read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StateReason {
    /// No state store is loaded at all.
    StoresNotConfigured,
    /// No state store of that name runs.
    StoreNotFound,
    /// A key of state holds `||`.
    KeyIllegal,
    /// The state store could not be read.
    Get,
    /// None of several keys could be read.
    BulkGet,
    /// A value, or one of several, was not saved.
    Save,
    /// A value was not saved: there is another one than its ETag says, or there is one already.
    SaveMismatch,
    /// A value was not saved: its ETag is none of this store's.
    SaveETagInvalid,
    /// A value, or one of several, was not deleted.
    Delete,
    /// A value was not deleted: it is another one than its ETag says.
    DeleteMismatch,
    /// A value was not deleted: its ETag is none of this store's.
    DeleteETagInvalid,
    /// A transaction failed; it may have been done where the store had no answer.
    Transaction,
    /// Nothing of a transaction was done: there is another value than an ETag in it says.
    TransactionMismatch,
    /// Nothing of a transaction was done: an ETag in it is none of this store's.
    TransactionETagInvalid,
    /// The state store has no transactions.
    TransactionsUnsupported,
    /// A transaction has an operation that is neither `upsert` nor `delete`.
    OperationUnknown,
    /// A transaction has more operations than the state store takes.
    TooManyOperations,
    /// State stores cannot be queried.
    QueryUnsupported,
}

/// What a failure is about, for programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The component, where there is one.
    pub resource: Option<Resource>,
    /// What else there is to know, by name.
    pub facts: Vec<(&'static str, String)>,
    /// The part of the request that is at fault.
    pub field: Option<String>,
}

/// A component that a failure is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// What it is.
    pub kind: ResourceKind,
    /// Its name.
    pub name: String,
}

/// What a component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceKind {
    /// Pub/sub.
    PubSub,
    /// A state store.
    State,
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

    /// The same with what it is about.
    #[must_use]
    pub fn about(self, subject: Subject) -> Self {
        let subject = Some(Box::new(subject));
        Self { subject, ..self }
    }

    /// The same with the topic that it is about, which may be empty.
    #[must_use]
    pub fn about_topic(self, pubsub: &str, topic: &str) -> Self {
        let topic = (!topic.is_empty()).then(|| ("topic", topic.to_owned()));
        self.about(Subject {
            resource: Some(Resource {
                kind: ResourceKind::PubSub,
                name: pubsub.to_owned(),
            }),
            facts: topic.into_iter().collect(),
            field: None,
        })
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
