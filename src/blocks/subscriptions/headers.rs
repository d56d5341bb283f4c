//! What of a message goes to the app as headers, or as metadata of gRPC.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::Message;
use crate::blocks::metadata_headers;

/// The header with the component of pub/sub.
const PUBSUB_NAME: HeaderName = HeaderName::from_static("pubsubname");

/// Names that mean something to HTTP, to gRPC or to a proxy, beside those that metadata never has.
const RESERVED: [&str; 14] = [
    "accept",
    "age",
    "cache-control",
    "date",
    "from",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "priority",
    "pubsubname",
    "range",
    "referer",
    "user-agent",
];

/// What such names begin with: whole families of them.
const RESERVED_FAMILIES: [&str; 11] = [
    "accept-",
    "access-control-",
    "if-",
    "x-amzn-",
    "x-b3-",
    "x-client-",
    "x-envoy-",
    "x-goog-",
    "x-http-method",
    "x-original-",
    "x-rewrite-",
];

/// The headers of the call that delivers a message.
pub(super) fn of(message: &Message) -> HeaderMap {
    let mut headers = of_component(&message.pubsub);
    headers.extend(metadata_headers::of(&message.metadata, admits));
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

/// Whether an entry of metadata may be a header, and metadata of gRPC.
fn admits(name: &str, value: &str) -> bool {
    let is_reserved = RESERVED.binary_search(&name).is_ok()
        || RESERVED_FAMILIES.iter().any(|family| name.starts_with(family))
        // The values of these are binary in gRPC.
        || name.ends_with("-bin");
    // Metadata of gRPC is ASCII.
    !is_reserved && value.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::metadata_headers::{MAX_BYTES, MAX_HEADERS};
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
