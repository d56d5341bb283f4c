//! What of a message goes to the app as headers, or as metadata of gRPC.
//!
//! What is said of a message comes from whoever published it. As a header of a request it must not
//! pass for something that the sidecar, a proxy or a client with credentials says, and must not
//! make the app refuse every try.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::Message;
use crate::base::hop_by_hop;

/// The header with the component of pub/sub.
const PUBSUB_NAME: HeaderName = HeaderName::from_static("pubsubname");

/// The most headers that metadata becomes, and the most bytes of them: a request whose headers are
/// too large is refused by every app.
const MAX_HEADERS: usize = 64;
const MAX_BYTES: usize = 8 * 1024;

/// Names that mean something to HTTP, to gRPC or to a proxy.
const RESERVED: [&str; 24] = [
    "accept",
    "age",
    "authorization",
    "baggage",
    "cache-control",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "from",
    "host",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "priority",
    "pubsubname",
    "range",
    "referer",
    "set-cookie",
    "traceparent",
    "tracestate",
    "user-agent",
    "via",
];

/// What such names begin with: whole families of them. `dapr-` has the tokens and the identities
/// of callers.
const RESERVED_FAMILIES: [&str; 18] = [
    "accept-",
    "access-control-",
    "content-",
    "dapr-",
    "grpc-",
    "if-",
    "proxy-",
    "sec-",
    "x-amzn-",
    "x-b3-",
    "x-client-",
    "x-envoy-",
    "x-forwarded-",
    "x-goog-",
    "x-http-method",
    "x-original-",
    "x-real-",
    "x-rewrite-",
];

/// The headers of the call that delivers a message.
pub(super) fn of(message: &Message) -> HeaderMap {
    let mut headers = of_component(&message.pubsub);
    let mut left = MAX_BYTES;
    for (name, value) in &message.metadata {
        let Some((name, value)) = admitted(name, value) else {
            continue;
        };
        let size = name.as_str().len() + value.len();
        if size > left || headers.len() > MAX_HEADERS {
            continue;
        }
        left -= size;
        headers.insert(name, value);
    }
    headers.extend(message.trace.clone());
    headers
}

/// The headers of a call that is about no one message.
pub(super) fn of_component(pubsub: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(pubsub) = HeaderValue::from_str(pubsub) {
        headers.insert(PUBSUB_NAME, pubsub);
    }
    headers
}

/// An entry of metadata as a header, where it may be one.
fn admitted(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::try_from(name).ok()?;
    let text = name.as_str();
    let is_reserved = hop_by_hop::is(&name)
        || RESERVED.binary_search(&text).is_ok()
        || RESERVED_FAMILIES.iter().any(|family| text.starts_with(family))
        // The values of these are binary in gRPC.
        || text.ends_with("-bin");
    // Metadata of gRPC is ASCII.
    if is_reserved || !value.is_ascii() {
        return None;
    }
    Some((name, HeaderValue::from_str(value).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::subscriptions::tests::message;

    fn names(metadata: &[(&str, &str)]) -> Vec<String> {
        let mut message = message("{}");
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        message.metadata = metadata.iter().map(owned).collect();
        let headers = of(&message);
        let mut names: Vec<_> = headers.keys().map(ToString::to_string).collect();
        names.retain(|name| name != "pubsubname");
        names.sort_unstable();
        names
    }

    #[test]
    fn the_tables_are_sorted() {
        assert!(RESERVED.is_sorted());
        assert!(RESERVED_FAMILIES.is_sorted());
    }

    #[test]
    fn what_publishers_say_is_passed_on() {
        let metadata = [
            ("cloudevent.id", "1"),
            ("foo", "x"),
            ("rawPayload", "true"),
            ("ttlInSeconds", "5"),
            ("__key", "k"),
        ];
        let expected = [
            "__key",
            "cloudevent.id",
            "foo",
            "rawpayload",
            "ttlinseconds",
        ];
        assert_eq!(names(&metadata), expected);
        let mut message = message("{}");
        message.metadata.insert("Foo".to_owned(), "y".to_owned());
        assert_eq!(of(&message)["foo"], "y");
        assert_eq!(of(&message)["pubsubName"], "pubsub");
    }

    #[test]
    fn publishers_cannot_pass_for_a_sidecar_a_proxy_or_a_client_with_credentials() {
        for name in [
            "dapr-api-token",
            "Dapr-Api-Token",
            "dapr-caller-app-id",
            "Authorization",
            "cookie",
            "Host",
            "Content-Length",
            "content-type",
            "content-encoding",
            "Transfer-Encoding",
            "Connection",
            "keep-alive",
            "te",
            "trailer",
            "upgrade",
            "proxy-authorization",
            "expect",
            "traceparent",
            "TraceState",
            "grpc-timeout",
            "grpc-trace-bin",
            "own-bin",
            "x-forwarded-for",
            "X-Real-IP",
            "forwarded",
            "x-http-method-override",
            "pubsubName",
            "no header",
            "line\nbreak",
            ":path",
            "",
        ] {
            assert_eq!(names(&[(name, "x")]), [""; 0], "{name:?}");
        }
        for value in ["a\r\nb: c", "a\nb", "\0", "Zürich"] {
            assert_eq!(names(&[("foo", value)]), [""; 0], "{value:?}");
        }
        // A header of the connection takes none of the others away.
        assert_eq!(names(&[("connection", "foo"), ("foo", "x")]), ["foo"]);
    }

    #[test]
    fn headers_stay_small_enough_for_every_app() {
        let large = "x".repeat(MAX_BYTES);
        assert_eq!(names(&[("a", &large), ("b", "x")]), ["b"]);
        let many: Vec<_> = (0..200).map(|number| format!("n{number}")).collect();
        let many: Vec<_> = many.iter().map(|name| (name.as_str(), "x")).collect();
        assert_eq!(names(&many).len(), MAX_HEADERS);
    }

    #[test]
    fn the_trace_is_that_of_the_delivery() {
        let mut message = message("{}");
        let own = HeaderValue::from_static("own");
        message.trace.insert("traceparent", own.clone());
        let spoof = ("traceparent".to_owned(), "spoof".to_owned());
        message.metadata.extend([spoof]);
        assert_eq!(
            of(&message)
                .get_all("traceparent")
                .iter()
                .collect::<Vec<_>>(),
            [&own]
        );
    }
}
