//! What of an event goes to an HTTP app as headers.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

use crate::blocks::metadata_headers;
use crate::components::message::Metadata;
use crate::process::trace::context::{TRACEPARENT, TraceContext};

/// The headers of the call that delivers an event.
pub(super) fn of(metadata: &Metadata) -> HeaderMap {
    let mut headers = metadata_headers::of(metadata, |_, _| true);
    headers.extend(trace(metadata));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers
}

/// The trace that the sender of an event stands in, where it says so in a valid form.
pub(super) fn trace(metadata: &Metadata) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let parent = metadata.get(TRACEPARENT.as_str());
    if let Some(context) = parent.and_then(|text| TraceContext::parse(text.as_bytes())) {
        headers.insert(TRACEPARENT, context.to_header());
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::metadata_headers::{MAX_BYTES, MAX_HEADERS};

    fn metadata(entries: &[(&str, &str)]) -> Metadata {
        let entry = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        entries.iter().map(entry).collect()
    }

    #[test]
    fn metadata_is_told() {
        let headers = of(&metadata(&[("readTimeUTC", "now"), ("X-Key", "ü k")]));
        assert_eq!(headers["readtimeutc"], "now");
        assert_eq!(headers["x-key"].as_bytes(), "ü k".as_bytes());
        assert_eq!(headers[CONTENT_TYPE], "application/json");
        assert_eq!(headers.len(), 3);
    }

    #[test]
    fn senders_cannot_pass_for_a_sidecar_a_proxy_or_a_client_with_credentials() {
        for name in [
            "dapr-api-token",
            "Dapr-App-Id",
            "dapr-caller-app-id",
            "Authorization",
            "Cookie",
            "Host",
            "Content-Length",
            "content-type",
            "Content-Encoding",
            "Transfer-Encoding",
            "Connection",
            "Upgrade",
            "TE",
            "Expect",
            "X-Forwarded-For",
            "Forwarded",
            "X-Real-IP",
            "grpc-timeout",
            "tracestate",
            "not a name",
            "",
        ] {
            let headers = of(&metadata(&[(name, "spoof")]));
            assert_eq!(headers.len(), 1, "{name}: {headers:?}");
            assert_eq!(headers[CONTENT_TYPE], "application/json");
        }
        for value in ["a\r\nb: c", "a\0"] {
            assert_eq!(of(&metadata(&[("k", value)])).len(), 1, "{value:?}");
        }
    }

    #[test]
    fn a_trace_is_valid_or_left_out() {
        let valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let zero = "00-00000000000000000000000000000000-0000000000000000-00";
        assert_eq!(
            of(&metadata(&[("traceparent", valid)]))["traceparent"],
            valid
        );
        for invalid in ["", zero, "spoof"] {
            assert!(trace(&metadata(&[("traceparent", invalid)])).is_empty());
        }
    }

    #[test]
    fn headers_stay_small_enough_for_every_app() {
        let many: Metadata = (0..1000)
            .map(|n| (format!("k{n}"), "v".repeat(100)))
            .chain([("large".to_owned(), "v".repeat(MAX_BYTES + 1))])
            .collect();
        let headers = of(&many);
        assert_eq!(headers.len(), MAX_HEADERS + 1);
        assert!(!headers.contains_key("large"));
    }
}
