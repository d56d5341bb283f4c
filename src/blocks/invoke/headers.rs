//! Which headers pass between a caller and the app, and under which names (Dapr 1.18).

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap};
use http::{HeaderName, HeaderValue};

use crate::base::hop_by_hop;
use crate::base::token::TOKEN_HEADER;

/// The header that names the target of a call.
pub const APP_ID: HeaderName = HeaderName::from_static("dapr-app-id");

const CALLER_APP_ID: HeaderName = HeaderName::from_static("dapr-caller-app-id");
const CALLER_NAMESPACE: HeaderName = HeaderName::from_static("dapr-caller-namespace");
const CALLEE_APP_ID: HeaderName = HeaderName::from_static("dapr-callee-app-id");

/// The names of HTTP's own headers, which get a prefix as gRPC metadata, so that they cannot be
/// taken for those of the gRPC call itself (Dapr 1.18; apps look for `authorization` under its
/// own name).
const HTTP_OWN: [&str; 24] = [
    "accept",
    "accept-charset",
    "accept-language",
    "accept-ranges",
    "cache-control",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-schedule-tag-match",
    "if-unmodified-since",
    "max-forwards",
    "origin",
    "pragma",
    "referer",
    "user-agent",
    "via",
    "warning",
];

/// Who calls whom, as the app sees it in headers.
#[derive(Debug)]
pub(super) struct Identity {
    caller: Option<HeaderValue>,
    namespace: Option<HeaderValue>,
    callee: Option<HeaderValue>,
}

impl Identity {
    /// Of the caller's sidecar. A text that cannot stand in a header is left out.
    pub(super) fn new(caller: &str, namespace: &str, callee: &str) -> Self {
        let value = |text: &str| HeaderValue::from_str(text).ok().filter(|v| !v.is_empty());
        Self {
            caller: value(caller),
            namespace: value(namespace),
            callee: value(callee),
        }
    }

    /// As the sidecar of the caller says, in the app's sidecar. Where it says several things,
    /// something else than a sidecar has spoken, and none counts.
    pub(super) fn of_peer(headers: &HeaderMap, callee: &str) -> Self {
        let said = |name| {
            let mut values = headers.get_all(name).iter();
            let first = values.next().cloned();
            first.filter(|value| !value.is_empty() && values.next().is_none())
        };
        Self {
            caller: said(CALLER_APP_ID),
            namespace: said(CALLER_NAMESPACE),
            callee: HeaderValue::from_str(callee).ok(),
        }
    }

    fn stamp(&self, headers: &mut HeaderMap) {
        for (name, value) in [
            (CALLER_APP_ID, &self.caller),
            (CALLER_NAMESPACE, &self.namespace),
            (CALLEE_APP_ID, &self.callee),
        ] {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
    }
}

/// The headers of a request as an HTTP app gets them.
pub(super) fn request_to_http(headers: &mut HeaderMap, identity: &Identity) {
    hop_by_hop::strip(headers);
    strip_reserved(headers);
    rename(headers, http_name);
    // Both are made anew: the length from the body, the host from the app's address.
    headers.remove(CONTENT_LENGTH);
    headers.remove(HOST);
    identity.stamp(headers);
}

/// The headers of a request as a gRPC app gets them, as metadata. Metadata keeps its names.
pub(super) fn request_to_grpc(headers: &mut HeaderMap, identity: &Identity, over_http: bool) {
    hop_by_hop::strip(headers);
    strip_reserved(headers);
    headers.remove(HOST);
    if over_http {
        rename(headers, grpc_name);
    } else {
        // Both are in the message.
        headers.remove(CONTENT_LENGTH);
        headers.remove(CONTENT_TYPE);
        rename(headers, metadata_name);
    }
    identity.stamp(headers);
}

/// The headers of a request as the sidecar of the app gets them, which gives them the names that
/// its app wants.
pub(super) fn request_to_peer(headers: &mut HeaderMap, identity: &Identity) {
    hop_by_hop::strip(headers);
    strip_reserved(headers);
    headers.remove(CONTENT_LENGTH);
    headers.remove(HOST);
    identity.stamp(headers);
}

/// The metadata of a gRPC call that passes through: the call's own names stay.
pub(super) fn proxied_request(headers: &mut HeaderMap, identity: &Identity) {
    hop_by_hop::strip(headers);
    strip_reserved(headers);
    headers.remove(HOST);
    identity.stamp(headers);
}

/// The metadata before the answer to a gRPC call that passes through.
pub(super) fn proxied_response(headers: &mut HeaderMap) {
    hop_by_hop::strip(headers);
    strip_reserved(headers);
}

/// The headers of an HTTP app's answer, for an HTTP caller.
pub(super) fn response_from_http(headers: &mut HeaderMap) {
    hop_by_hop::strip(headers);
    strip_reserved(headers);
    rename(headers, http_name);
}

/// The metadata of a gRPC app's answer, for any caller.
pub(super) fn response_from_grpc(headers: &mut HeaderMap) {
    hop_by_hop::strip(headers);
    strip_reserved(headers);
    for name in [
        "content-type",
        "grpc-status",
        "grpc-message",
        "grpc-status-details-bin",
    ] {
        headers.remove(name);
    }
}

/// The headers of an answer, as metadata for a gRPC caller.
pub fn to_metadata(headers: &mut HeaderMap) {
    rename(headers, grpc_name);
}

/// Metadata as headers for an HTTP caller.
pub fn to_http(headers: &mut HeaderMap) {
    rename(headers, http_name);
}

/// Removes what only a sidecar may say, and the token of either side.
fn strip_reserved(headers: &mut HeaderMap) {
    let reserved = |name: &str| {
        name.starts_with("dapr-c") && is_identity(name)
            || matches!(name, TOKEN_HEADER | "dapr-app-id" | "destination-app-id")
    };
    remove_matching(headers, reserved);
}

fn is_identity(name: &str) -> bool {
    name.starts_with("dapr-caller-") || name.starts_with("dapr-callee-")
}

fn remove_matching(headers: &mut HeaderMap, matches: impl Fn(&str) -> bool) {
    let found: Vec<HeaderName> = headers
        .keys()
        .filter(|name| matches(name.as_str()))
        .cloned()
        .collect();
    for name in found {
        headers.remove(name);
    }
}

/// What becomes of a name.
enum Name {
    Kept,
    Dropped,
    Prefixed,
}

/// Metadata or a header as an HTTP header: binary metadata has no form there.
fn http_name(name: &str) -> Name {
    if name.ends_with("-bin") {
        Name::Dropped
    } else if name.starts_with("grpc-") {
        Name::Prefixed
    } else {
        Name::Kept
    }
}

/// Metadata as metadata of another call: only what belongs to the call itself has another name.
fn metadata_name(name: &str) -> Name {
    if name.starts_with("grpc-") {
        Name::Prefixed
    } else {
        Name::Kept
    }
}

/// A header as metadata.
fn grpc_name(name: &str) -> Name {
    if name.starts_with("grpc-") || HTTP_OWN.binary_search(&name).is_ok() {
        Name::Prefixed
    } else {
        Name::Kept
    }
}

fn rename(headers: &mut HeaderMap, rule: fn(&str) -> Name) {
    let affected: Vec<(HeaderName, Name)> = headers
        .keys()
        .map(|name| (name, rule(name.as_str())))
        .filter(|(_, fate)| !matches!(fate, Name::Kept))
        .map(|(name, fate)| (name.clone(), fate))
        .collect();
    for (name, fate) in affected {
        let values: Vec<HeaderValue> = headers.get_all(&name).iter().cloned().collect();
        headers.remove(&name);
        if matches!(fate, Name::Prefixed)
            && let Ok(prefixed) = HeaderName::try_from(format!("dapr-{name}"))
        {
            // One that the sender gave the prefixed name itself would be taken for ours.
            headers.remove(&prefixed);
            for value in values {
                headers.append(&prefixed, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |&(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        lines.iter().map(pair).collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    const STAMPS: [&str; 3] = [
        "dapr-callee-app-id",
        "dapr-caller-app-id",
        "dapr-caller-namespace",
    ];

    #[test]
    fn the_names_of_http_are_sorted() {
        assert!(HTTP_OWN.is_sorted());
    }

    #[test]
    fn a_request_loses_what_is_not_for_the_app() {
        let mut headers = map(&[
            ("connection", "keep-alive, x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "1"),
            ("proxy-connection", "1"),
            ("proxy-authenticate", "1"),
            ("proxy-authorization", "1"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("http2-settings", "1"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("some-bin", "1"),
            ("dapr-app-id", "app"),
            ("destination-app-id", "app"),
            ("dapr-api-token", "spoof"),
            ("dapr-caller-foo", "spoof"),
            ("content-length", "3"),
            ("host", "sidecar"),
            ("x-kept", "1"),
        ]);
        request_to_http(&mut headers, &Identity::new("app", "ns", "app"));
        assert_eq!(names(&headers), [&STAMPS[..], &["x-kept"]].concat());
    }

    #[test]
    fn an_identity_that_a_client_sent_gives_way_to_the_own() {
        for to_grpc in [false, true] {
            let mut headers = map(&[
                ("dapr-caller-app-id", "spoof"),
                ("dapr-caller-app-id", "spoof"),
                ("dapr-caller-namespace", "spoof"),
                ("dapr-callee-app-id", "spoof"),
            ]);
            let identity = Identity::new("app", "ns", "app");
            if to_grpc {
                request_to_grpc(&mut headers, &identity, true);
            } else {
                request_to_http(&mut headers, &identity);
            }
            let seen: Vec<Vec<_>> = STAMPS
                .iter()
                .map(|name| headers.get_all(*name).iter().collect())
                .collect();
            assert_eq!(seen, [vec!["app"], vec!["app"], vec!["ns"]]);
        }
    }

    #[test]
    fn headers_of_http_get_a_prefix_as_metadata() {
        let mut headers = map(&[
            ("accept", "a"),
            ("content-type", "b"),
            ("user-agent", "c"),
            ("grpc-timeout", "d"),
            ("x-own", "e"),
            ("traceparent", "f"),
        ]);
        to_metadata(&mut headers);
        let expected = [
            "dapr-accept",
            "dapr-content-type",
            "dapr-grpc-timeout",
            "dapr-user-agent",
            "traceparent",
            "x-own",
        ];
        assert_eq!(names(&headers), expected);
    }

    #[test]
    fn an_answer_loses_hop_by_hop_headers_binary_ones_and_the_token() {
        let mut headers = map(&[
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "1"),
            ("some-bin", "1"),
            ("dapr-api-token", "echo"),
            ("grpc-accept-encoding", "gzip"),
            ("content-length", "3"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
        ]);
        response_from_http(&mut headers);
        let expected = ["content-length", "dapr-grpc-accept-encoding", "set-cookie"];
        assert_eq!(names(&headers), expected);
        assert_eq!(headers.get_all("set-cookie").iter().count(), 2);
    }
}
