//! Which headers leave for a service, and which come back.

use http::header::{CONTENT_LENGTH, HOST, HeaderMap, USER_AGENT};
use http::{HeaderName, HeaderValue};

use crate::base::hop_by_hop;
use crate::base::token::TOKEN_HEADER;

/// Sent where the caller names no agent: some services refuse requests without one.
const AGENT: &str = concat!("sidegate/", env!("CARGO_PKG_VERSION"));

/// The headers of a request that leaves.
///
/// Invariant: `dapr-api-token` is among them only where the resource itself configures it, as one
/// that calls another Dapr API through a gateway does. No caller and no token of this sidecar can
/// put it there.
#[derive(Debug)]
pub(super) struct Outgoing(HeaderMap);

impl Outgoing {
    /// What may leave of a caller's headers, with those of the resource in place of its own.
    pub(super) fn new(mut callers: HeaderMap, resource: &HeaderMap) -> Self {
        strip(&mut callers);
        // Both are made anew: the length from the body, the host from the URL.
        callers.remove(CONTENT_LENGTH);
        callers.remove(HOST);
        for (name, value) in resource {
            callers.insert(name, value.clone());
        }
        callers
            .entry(USER_AGENT)
            .or_insert(HeaderValue::from_static(AGENT));
        Self(callers)
    }

    pub(super) fn into_inner(self) -> HeaderMap {
        self.0
    }
}

/// Removes from an answer's headers or trailers what no caller should see, or believe.
pub(super) fn strip(headers: &mut HeaderMap) {
    hop_by_hop::strip(headers);
    let found: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_reserved(name.as_str()))
        .cloned()
        .collect();
    for name in found {
        headers.remove(name);
    }
}

/// What sidecars say to each other and to their apps, and what means something to gRPC alone.
fn is_reserved(name: &str) -> bool {
    matches!(name, TOKEN_HEADER | "dapr-app-id" | "destination-app-id")
        || ["dapr-caller-", "dapr-callee-", "grpc-"]
            .iter()
            .any(|start| name.starts_with(start))
        || name.ends_with("-bin")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for &(name, value) in lines {
            let name = HeaderName::from_static(name);
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    const HOSTILE: [(&str, &str); 21] = [
        ("connection", "x-hop, keep-alive"),
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
        ("grpc-timeout", "1S"),
        ("dapr-app-id", "app"),
        ("destination-app-id", "app"),
        ("dapr-api-token", "one"),
        ("dapr-api-token", "two"),
        ("dapr-caller-app-id", "spoof"),
        ("dapr-caller-anything", "spoof"),
        ("dapr-callee-app-id", "spoof"),
        ("x-kept", "1"),
    ];

    #[test]
    fn nothing_of_a_sidecar_or_a_connection_leaves() {
        let mut lines = HOSTILE.to_vec();
        lines.extend([
            ("host", "sidecar"),
            ("content-length", "3"),
            ("user-agent", "c"),
        ]);
        let headers = Outgoing::new(map(&lines), &HeaderMap::new()).into_inner();
        assert_eq!(headers, map(&[("x-kept", "1"), ("user-agent", "c")]));
    }

    #[test]
    fn nothing_of_it_comes_back() {
        let mut lines = HOSTILE.to_vec();
        lines.extend([
            ("content-length", "3"),
            ("set-cookie", "a"),
            ("set-cookie", "b"),
        ]);
        let mut headers = map(&lines);
        strip(&mut headers);
        let expected = map(&[
            ("x-kept", "1"),
            ("content-length", "3"),
            ("set-cookie", "a"),
            ("set-cookie", "b"),
        ]);
        assert_eq!(headers, expected);
    }

    #[test]
    fn headers_of_the_resource_replace_every_one_of_the_caller() {
        let callers = map(&[("x-key", "mine"), ("x-key", "too"), ("x-other", "kept")]);
        let resource = map(&[("x-key", "theirs"), ("user-agent", "r")]);
        let headers = Outgoing::new(callers, &resource).into_inner();
        let expected = [
            ("x-key", "theirs"),
            ("x-other", "kept"),
            ("user-agent", "r"),
        ];
        assert_eq!(headers, map(&expected));
    }

    #[test]
    fn only_a_resource_can_send_the_token_header() {
        let callers = map(&[("dapr-api-token", "of the caller")]);
        let resource = map(&[("dapr-api-token", "of the gateway")]);
        let headers = Outgoing::new(callers, &resource).into_inner();
        let values: Vec<_> = headers.get_all(TOKEN_HEADER).iter().collect();
        assert_eq!(values, ["of the gateway"]);
    }

    #[test]
    fn a_caller_without_an_agent_gets_ours() {
        let headers = Outgoing::new(HeaderMap::new(), &HeaderMap::new()).into_inner();
        assert_eq!(headers, map(&[("user-agent", AGENT)]));
    }
}
