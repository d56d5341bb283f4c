//! The text of docs/errors.md, made from the reasons and the table of statuses.

use std::fmt::Write as _;

use super::status;
use crate::blocks::error::{ConfigurationReason, LockReason, Reason, StateReason};

/// Where the reasons are explained.
const SOURCE: &str = include_str!("../blocks/error.rs");

const ALL: &[Reason] = &[
    Reason::NotReady,
    Reason::OutboundNotReady,
    Reason::AppIdMismatch,
    Reason::MetadataFull,
    Reason::MalformedRequest,
    Reason::BodyRead,
    Reason::BodyTooLarge,
    Reason::MiddlewareUnavailable,
    Reason::SecretStoresNotConfigured,
    Reason::SecretStoreNotFound,
    Reason::SecretDenied,
    Reason::SecretNotFound,
    Reason::SecretFetch,
    Reason::InvokeTargetMissing,
    Reason::InvokeTargetUnknown,
    Reason::InvokeMethodInvalid,
    Reason::AppChannelMissing,
    Reason::AppUnhealthy,
    Reason::InvokeFailed,
    Reason::InvokeDenied,
    Reason::DeadlineExceeded,
    Reason::ProxyRefused,
    Reason::AppSpeaksHttp,
    Reason::PubSubNameEmpty,
    Reason::PubSubNotFound,
    Reason::TopicNameEmpty,
    Reason::TopicForbidden,
    Reason::PublishMetadataInvalid,
    Reason::CloudEventInvalid,
    Reason::BulkUnreadable,
    Reason::BulkEventMismatch,
    Reason::PublishFailed,
    Reason::TooManyStreams,
    Reason::SubscribeFailed,
    Reason::BindingFailed,
    Reason::State(StateReason::StoresNotConfigured),
    Reason::State(StateReason::StoreNotFound),
    Reason::State(StateReason::KeyIllegal),
    Reason::State(StateReason::Get),
    Reason::State(StateReason::BulkGet),
    Reason::State(StateReason::Save),
    Reason::State(StateReason::SaveMismatch),
    Reason::State(StateReason::SaveETagInvalid),
    Reason::State(StateReason::Delete),
    Reason::State(StateReason::DeleteMismatch),
    Reason::State(StateReason::DeleteETagInvalid),
    Reason::State(StateReason::Transaction),
    Reason::State(StateReason::TransactionMismatch),
    Reason::State(StateReason::TransactionETagInvalid),
    Reason::State(StateReason::TransactionsUnsupported),
    Reason::State(StateReason::OperationUnknown),
    Reason::State(StateReason::TooManyOperations),
    Reason::State(StateReason::QueryUnsupported),
    Reason::Configuration(ConfigurationReason::StoresNotConfigured),
    Reason::Configuration(ConfigurationReason::StoreNotFound),
    Reason::Configuration(ConfigurationReason::Get),
    Reason::Configuration(ConfigurationReason::AppMissing),
    Reason::Configuration(ConfigurationReason::SubscriptionsFull),
    Reason::Configuration(ConfigurationReason::Subscribe),
    Reason::Configuration(ConfigurationReason::Unsubscribe),
    Reason::Lock(LockReason::StoresNotConfigured),
    Reason::Lock(LockReason::RequestInvalid),
    Reason::Lock(LockReason::StoreNotFound),
    Reason::Lock(LockReason::Try),
    Reason::Lock(LockReason::Unlock),
];

const INTRODUCTION: &str = "\
# Errors of the API

<!-- Made from src/blocks/error.rs and src/api/status.rs: `make docs` writes it anew. -->

Over HTTP a failure has a JSON body with a stable `errorCode` and a `message` for people. Over gRPC
it is a status with the same message. An answer of the app to an invocation is passed on as it is.

| errorCode | HTTP | gRPC | when |
|---|---|---|---|
";

const OTHERS: &str = "
Besides these:

| answer | when |
|---|---|
| 401, text `invalid api token`; gRPC `Unauthenticated`, message `Unauthorized`, with an \
ErrorInfo | The token is missing or wrong. |
| 401, text `Unauthorized`, header `WWW-Authenticate: Bearer` | The pipeline wants a bearer \
token, and there is none that counts. |
| 404 `ERR_DIRECT_INVOKE`; gRPC `Unimplemented` or `Unknown` | This build or its configuration \
does not serve the API, or there is none of that name. |
| 429, text, header `Retry-After` | The pipeline limits the rate of requests of one caller. |
| 431 | The headers are larger than `--read-buffer-size`. |
";

fn text() -> String {
    let mut page = String::from(INTRODUCTION);
    let explained = explained();
    for &reason in ALL {
        let row = status::of(reason);
        let name = format!("{reason:?}");
        let (_, when) = explained.iter().find(|(own, _)| *own == name).unwrap();
        let http = match row.http.as_u16() {
            204 => "204, no body".to_owned(),
            other => other.to_string(),
        };
        let _ = writeln!(
            page,
            "| `{}` | {http} | {:?} | {when} |",
            row.code, row.grpc
        );
    }
    page.push_str(OTHERS);
    page
}

/// Kinds of reasons that have an enumeration of their own.
const KINDS: [&str; 3] = ["Configuration", "Lock", "State"];

/// The names of the reasons with their one line of documentation.
fn explained() -> Vec<(String, &'static str)> {
    let own = explained_in("Reason").filter(|(name, _)| !name.contains('('));
    let mut all: Vec<_> = own.map(|(name, when)| (name.to_owned(), when)).collect();
    for kind in KINDS {
        let of_kind = explained_in(&format!("{kind}Reason"));
        all.extend(of_kind.map(|(name, when)| (format!("{kind}({name})"), when)));
    }
    all
}

fn explained_in(reasons: &str) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
    let begin = format!("pub enum {reasons} {{\n");
    let (_, rest) = SOURCE.split_once(&begin).unwrap();
    let (body, _) = rest.split_once("\n}").unwrap();
    let mut lines = body.lines().map(str::trim);
    std::iter::from_fn(move || {
        let when = lines.next()?.strip_prefix("/// ").unwrap();
        let name = lines.next().unwrap().trim_end_matches(',');
        Some((name, when))
    })
}

#[test]
fn docs_show_every_reason() {
    assert_eq!(explained().len(), ALL.len(), "a reason is missing in ALL");
    crate::testing::page::expect_fresh("docs/errors.md", &text());
}
