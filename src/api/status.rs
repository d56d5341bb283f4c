//! What a failure looks like to a client: one table for both protocols.

use http::StatusCode;

use crate::blocks::error::{ConfigurationReason, LockReason, Reason, ResourceKind, StateReason};

/// The messages of `google.rpc` that tell the details of a failure (googleapis,
/// `error_details.proto`).
pub(super) const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";
pub(super) const RESOURCE_INFO: &str = "type.googleapis.com/google.rpc.ResourceInfo";
pub(super) const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";
pub(super) const HELP: &str = "type.googleapis.com/google.rpc.Help";
/// Whose reasons they name.
pub(super) const DETAIL_DOMAIN: &str = "dapr.io";
/// What a page of help is about.
pub(super) const HELP_DESCRIPTION: &str = "State stores and what each of them can do";

/// How details call the kind of a component, and how they describe one of a failure.
pub(super) fn resource(kind: ResourceKind, message: &str) -> (&'static str, &str) {
    match kind {
        ResourceKind::PubSub => ("pubsub", message),
        ResourceKind::State => ("state", ""),
    }
}

/// Dapr's page of state stores, which its own answers name.
const STATE_STORES: &str =
    "https://docs.dapr.io/reference/components-reference/supported-state-stores/";

/// The codes of gRPC that this API answers (gRPC, "Status codes and their use").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum GrpcCode {
    /// None of the others.
    Unknown = 2,
    /// The request is wrong, whatever the state of the sidecar.
    InvalidArgument = 3,
    /// The time of the call is over.
    DeadlineExceeded = 4,
    /// There is no such thing.
    NotFound = 5,
    /// A rule forbids it.
    PermissionDenied = 7,
    /// A limit was reached.
    ResourceExhausted = 8,
    /// The sidecar is not in a state for it.
    FailedPrecondition = 9,
    /// Somebody else was faster.
    Aborted = 10,
    /// This build or its configuration does not serve it.
    Unimplemented = 12,
    /// Something broke.
    Internal = 13,
    /// Try again later.
    Unavailable = 14,
    /// No valid token.
    Unauthenticated = 16,
}

/// How one reason is told.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The HTTP status. With 204 there is no body.
    pub http: StatusCode,
    /// The `errorCode` of the JSON body, a stable text of Dapr's API.
    pub code: &'static str,
    /// The code of the gRPC status.
    pub grpc: GrpcCode,
    /// The `reason` of `google.rpc.ErrorInfo`, where the failure has details.
    pub detail: Option<&'static str>,
    /// The address of a page that helps, where the failure has details.
    pub help: Option<&'static str>,
}

impl Row {
    fn with_detail(self, reason: &'static str) -> Self {
        let detail = Some(reason);
        Self { detail, ..self }
    }

    fn with_help(self, page: &'static str) -> Self {
        let help = Some(page);
        Self { help, ..self }
    }

    /// The part of the API that fails so, a label of `dapr_error_code_total`.
    pub(super) fn category(&self) -> &'static str {
        let is_of_state = |reason: &str| reason.starts_with("DAPR_STATE_");
        match self.code {
            _ if self.detail.is_some_and(is_of_state) => "state",
            "ERR_NOT_SUPPORTED_STATE_OPERATION" => "state",
            code if code.starts_with("ERR_STATE_") => "state",
            "ERR_DIRECT_INVOKE" => "service-invocation",
            "ERR_INVOKE_OUTPUT_BINDING" => "binding",
            "ERR_PERMISSION_DENIED" => "secret",
            "ERR_TRY_LOCK" | "ERR_UNLOCK" => "lock",
            code if code.starts_with("ERR_LOCK_") => "lock",
            code if code.starts_with("ERR_CONFIGURATION_") => "configuration",
            code if code.starts_with("ERR_SECRET_") => "secret",
            code if code.starts_with("ERR_PUBSUB_") || code.starts_with("ERR_TOPIC_") => "pubsub",
            code if code.contains("HEALTH") => "health",
            _ => "common",
        }
    }
}

fn row(http: u16, code: &'static str, grpc: GrpcCode) -> Row {
    Row {
        http: StatusCode::from_u16(http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        code,
        grpc,
        detail: None,
        help: None,
    }
}

/// The row of a reason. Statuses follow Dapr's public API reference where its code differs.
pub fn of(reason: Reason) -> Row {
    use GrpcCode::{
        DeadlineExceeded, FailedPrecondition, Internal, InvalidArgument, NotFound,
        PermissionDenied, ResourceExhausted, Unavailable, Unimplemented,
    };
    match reason {
        Reason::NotReady => row(500, "ERR_HEALTH_NOT_READY", Unavailable),
        Reason::OutboundNotReady => row(500, "ERR_OUTBOUND_HEALTH_NOT_READY", Unavailable),
        Reason::AppIdMismatch => row(500, "ERR_HEALTH_APPID_NOT_MATCH", InvalidArgument),
        Reason::MetadataFull => row(400, "ERR_MALFORMED_REQUEST", ResourceExhausted),
        Reason::MalformedRequest => row(400, "ERR_MALFORMED_REQUEST", InvalidArgument),
        Reason::BodyRead => row(400, "ERR_BODY_READ", InvalidArgument),
        Reason::BodyTooLarge => row(413, "ERR_BODY_READ", ResourceExhausted),
        Reason::MiddlewareUnavailable => row(500, "ERR_MIDDLEWARE_UNAVAILABLE", Unavailable),
        Reason::SecretStoresNotConfigured => {
            row(500, "ERR_SECRET_STORES_NOT_CONFIGURED", FailedPrecondition)
        }
        Reason::SecretStoreNotFound => row(400, "ERR_SECRET_STORE_NOT_FOUND", InvalidArgument),
        Reason::SecretDenied => row(403, "ERR_PERMISSION_DENIED", PermissionDenied),
        Reason::SecretNotFound => row(204, "ERR_SECRET_GET", NotFound),
        Reason::SecretFetch => row(500, "ERR_SECRET_GET", Internal),
        Reason::InvokeTargetMissing => row(404, "ERR_DIRECT_INVOKE", InvalidArgument),
        Reason::InvokeTargetUnknown => row(500, "ERR_DIRECT_INVOKE", Internal),
        Reason::InvokeMethodInvalid => row(500, "ERR_DIRECT_INVOKE", InvalidArgument),
        Reason::AppChannelMissing => row(500, "ERR_DIRECT_INVOKE", Internal),
        Reason::AppUnhealthy => row(500, "ERR_DIRECT_INVOKE", Internal),
        Reason::InvokeFailed => row(500, "ERR_DIRECT_INVOKE", Internal),
        Reason::InvokeDenied => row(403, "ERR_DIRECT_INVOKE", PermissionDenied),
        Reason::DeadlineExceeded => row(504, "ERR_DIRECT_INVOKE", DeadlineExceeded),
        Reason::ProxyRefused => row(500, "ERR_DIRECT_INVOKE", Unimplemented),
        Reason::AppSpeaksHttp => row(500, "ERR_DIRECT_INVOKE", Unavailable),
        Reason::PubSubNameEmpty => {
            row(404, "ERR_PUBSUB_EMPTY", InvalidArgument).with_detail("DAPR_PUBSUB_NAME_EMPTY")
        }
        Reason::PubSubNotFound => {
            row(404, "ERR_PUBSUB_NOT_FOUND", InvalidArgument).with_detail("DAPR_PUBSUB_NOT_FOUND")
        }
        Reason::TopicNameEmpty => row(404, "ERR_TOPIC_NAME_EMPTY", InvalidArgument)
            .with_detail("DAPR_PUBSUB_TOPIC_NAME_EMPTY"),
        Reason::TopicForbidden => {
            row(403, "ERR_PUBSUB_FORBIDDEN", PermissionDenied).with_detail("DAPR_PUBSUB_FORBIDDEN")
        }
        Reason::PublishMetadataInvalid => row(400, "ERR_PUBSUB_REQUEST_METADATA", InvalidArgument)
            .with_detail("DAPR_PUBSUB_METADATA_DESERIALIZATION"),
        Reason::CloudEventInvalid => row(500, "ERR_PUBSUB_CLOUD_EVENTS_SER", InvalidArgument)
            .with_detail("DAPR_PUBSUB_CLOUD_EVENT_CREATION"),
        Reason::BulkUnreadable => row(400, "ERR_PUBSUB_EVENTS_SER", InvalidArgument)
            .with_detail("DAPR_PUBSUB_UNMARSHAL_EVENTS"),
        Reason::BulkEventMismatch => row(400, "ERR_PUBSUB_EVENTS_SER", InvalidArgument)
            .with_detail("DAPR_PUBSUB_MARSHAL_ENVELOPE"),
        Reason::PublishFailed => row(500, "ERR_PUBSUB_PUBLISH_MESSAGE", Internal)
            .with_detail("DAPR_PUBSUB_PUBLISH_MESSAGE"),
        Reason::TooManyStreams => row(429, "ERR_PUBSUB_STREAMS", ResourceExhausted),
        Reason::SubscribeFailed => row(503, "ERR_PUBSUB_SUBSCRIBE", Unavailable),
        Reason::BindingFailed => row(500, "ERR_INVOKE_OUTPUT_BINDING", Internal),
        Reason::State(reason) => of_state(reason),
        Reason::Configuration(reason) => of_configuration(reason),
        Reason::Lock(reason) => of_lock(reason),
    }
}

/// The row of a reason that is about configuration.
fn of_configuration(reason: ConfigurationReason) -> Row {
    use GrpcCode::{FailedPrecondition, Internal, InvalidArgument, NotFound, ResourceExhausted};
    match reason {
        ConfigurationReason::StoresNotConfigured => row(
            500,
            "ERR_CONFIGURATION_STORE_NOT_CONFIGURED",
            FailedPrecondition,
        ),
        ConfigurationReason::StoreNotFound => {
            row(400, "ERR_CONFIGURATION_STORE_NOT_FOUND", InvalidArgument)
        }
        ConfigurationReason::Get => row(500, "ERR_CONFIGURATION_GET", Internal),
        ConfigurationReason::AppMissing => row(500, "ERR_APP_CHANNEL_NIL", FailedPrecondition),
        ConfigurationReason::SubscriptionsFull => {
            row(429, "ERR_CONFIGURATION_SUBSCRIBE", ResourceExhausted)
        }
        ConfigurationReason::Subscribe => row(500, "ERR_CONFIGURATION_SUBSCRIBE", InvalidArgument),
        ConfigurationReason::Unsubscribe => row(500, "ERR_CONFIGURATION_UNSUBSCRIBE", NotFound),
    }
}

/// The row of a reason that is about locks.
fn of_lock(reason: LockReason) -> Row {
    use GrpcCode::{FailedPrecondition, Internal, InvalidArgument};
    match reason {
        LockReason::StoresNotConfigured => {
            row(500, "ERR_LOCK_STORE_NOT_CONFIGURED", FailedPrecondition)
        }
        LockReason::RequestInvalid => row(400, "ERR_MALFORMED_REQUEST", InvalidArgument),
        LockReason::StoreNotFound => row(400, "ERR_LOCK_STORE_NOT_FOUND", InvalidArgument),
        LockReason::Try => row(500, "ERR_TRY_LOCK", Internal),
        LockReason::Unlock => row(500, "ERR_UNLOCK", Internal),
    }
}

/// The row of a reason that is about state.
fn of_state(reason: StateReason) -> Row {
    use GrpcCode::{Aborted, FailedPrecondition, Internal, InvalidArgument, Unimplemented};
    match reason {
        StateReason::StoresNotConfigured => {
            row(500, "ERR_STATE_STORE_NOT_CONFIGURED", FailedPrecondition)
                .with_detail("DAPR_STATE_NOT_CONFIGURED")
        }
        StateReason::StoreNotFound => row(400, "ERR_STATE_STORE_NOT_FOUND", InvalidArgument)
            .with_detail("DAPR_STATE_NOT_FOUND"),
        StateReason::KeyIllegal => {
            row(400, "ERR_MALFORMED_REQUEST", InvalidArgument).with_detail("DAPR_STATE_ILLEGAL_KEY")
        }
        StateReason::Get => row(500, "ERR_STATE_GET", Internal),
        StateReason::BulkGet => row(500, "ERR_STATE_BULK_GET", Internal),
        StateReason::Save => row(500, "ERR_STATE_SAVE", Internal),
        StateReason::SaveMismatch => row(409, "ERR_STATE_SAVE", Aborted),
        StateReason::SaveETagInvalid => row(400, "ERR_STATE_SAVE", InvalidArgument),
        StateReason::Delete => row(500, "ERR_STATE_DELETE", Internal),
        StateReason::DeleteMismatch => row(409, "ERR_STATE_DELETE", Aborted),
        StateReason::DeleteETagInvalid => row(400, "ERR_STATE_DELETE", InvalidArgument),
        StateReason::Transaction => row(500, "ERR_STATE_TRANSACTION", Internal),
        StateReason::TransactionMismatch => row(409, "ERR_STATE_TRANSACTION", Aborted),
        StateReason::TransactionETagInvalid => row(400, "ERR_STATE_TRANSACTION", InvalidArgument),
        StateReason::TransactionsUnsupported => {
            row(500, "ERR_STATE_STORE_NOT_SUPPORTED", Unimplemented)
                .with_detail("DAPR_STATE_TRANSACTIONS_NOT_SUPPORTED")
                .with_help(STATE_STORES)
        }
        StateReason::OperationUnknown => {
            row(400, "ERR_NOT_SUPPORTED_STATE_OPERATION", Unimplemented)
        }
        StateReason::TooManyOperations => row(
            400,
            "ERR_STATE_STORE_TOO_MANY_TRANSACTIONS",
            InvalidArgument,
        )
        .with_detail("DAPR_STATE_TOO_MANY_TRANSACTIONS"),
        StateReason::QueryUnsupported => row(500, "ERR_STATE_STORE_NOT_SUPPORTED", Unimplemented)
            .with_detail("DAPR_STATE_QUERYING_NOT_SUPPORTED"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_of_stores_have_rows_of_their_own() {
        for (reason, http, code) in [
            (
                Reason::Configuration(ConfigurationReason::StoreNotFound),
                400,
                "ERR_CONFIGURATION_STORE_NOT_FOUND",
            ),
            (
                Reason::Configuration(ConfigurationReason::Get),
                500,
                "ERR_CONFIGURATION_GET",
            ),
            (
                Reason::Lock(LockReason::RequestInvalid),
                400,
                "ERR_MALFORMED_REQUEST",
            ),
            (Reason::Lock(LockReason::Try), 500, "ERR_TRY_LOCK"),
            (Reason::Lock(LockReason::Unlock), 500, "ERR_UNLOCK"),
        ] {
            let row = of(reason);
            assert_eq!((row.http.as_u16(), row.code), (http, code));
        }
    }

    #[test]
    fn secrets_follow_the_public_api_reference() {
        for (reason, http, code, grpc) in [
            (
                Reason::SecretNotFound,
                204,
                "ERR_SECRET_GET",
                GrpcCode::NotFound,
            ),
            (
                Reason::SecretStoreNotFound,
                400,
                "ERR_SECRET_STORE_NOT_FOUND",
                GrpcCode::InvalidArgument,
            ),
            (
                Reason::SecretDenied,
                403,
                "ERR_PERMISSION_DENIED",
                GrpcCode::PermissionDenied,
            ),
            (
                Reason::SecretFetch,
                500,
                "ERR_SECRET_GET",
                GrpcCode::Internal,
            ),
            (
                Reason::SecretStoresNotConfigured,
                500,
                "ERR_SECRET_STORES_NOT_CONFIGURED",
                GrpcCode::FailedPrecondition,
            ),
        ] {
            let row = of(reason);
            assert_eq!((row.http.as_u16(), row.code, row.grpc), (http, code, grpc));
        }
    }

    #[test]
    fn state_answers_as_dapr_does() {
        use GrpcCode::{Aborted, FailedPrecondition, Internal, InvalidArgument, Unimplemented};
        use StateReason as R;
        for (reason, http, code, grpc) in [
            (
                R::StoresNotConfigured,
                500,
                "ERR_STATE_STORE_NOT_CONFIGURED",
                FailedPrecondition,
            ),
            (
                R::StoreNotFound,
                400,
                "ERR_STATE_STORE_NOT_FOUND",
                InvalidArgument,
            ),
            (R::KeyIllegal, 400, "ERR_MALFORMED_REQUEST", InvalidArgument),
            (R::Get, 500, "ERR_STATE_GET", Internal),
            (R::Save, 500, "ERR_STATE_SAVE", Internal),
            (R::SaveMismatch, 409, "ERR_STATE_SAVE", Aborted),
            (R::SaveETagInvalid, 400, "ERR_STATE_SAVE", InvalidArgument),
            (R::DeleteMismatch, 409, "ERR_STATE_DELETE", Aborted),
            (R::Transaction, 500, "ERR_STATE_TRANSACTION", Internal),
            (
                R::TransactionsUnsupported,
                500,
                "ERR_STATE_STORE_NOT_SUPPORTED",
                Unimplemented,
            ),
            (
                R::TooManyOperations,
                400,
                "ERR_STATE_STORE_TOO_MANY_TRANSACTIONS",
                InvalidArgument,
            ),
        ] {
            let row = of(Reason::State(reason));
            assert_eq!((row.http.as_u16(), row.code, row.grpc), (http, code, grpc));
            assert_eq!(row.category(), "state", "{reason:?}");
        }
        assert_eq!(of(Reason::MalformedRequest).category(), "common");
    }
}
