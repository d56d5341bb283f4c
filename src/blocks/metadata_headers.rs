//! Metadata of messages as headers of the calls that deliver them.
//!
//! Metadata comes from whoever published a message. As a header it must not pass for something that
//! the sidecar, a proxy or a client with credentials says, and must not make the app refuse every
//! try.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::base::hop_by_hop;
use crate::components::message::Metadata;

/// The most headers that metadata becomes, and the most bytes of them: a request whose headers are
/// too large is refused by every app.
pub(super) const MAX_HEADERS: usize = 64;
pub(super) const MAX_BYTES: usize = 8 * 1024;

/// Names that metadata cannot have, whatever delivers it.
const RESERVED: [&str; 10] = [
    "authorization",
    "baggage",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "set-cookie",
    "traceparent",
    "tracestate",
    "via",
];

/// What such names begin with. `dapr-` has the tokens and the identities of callers.
const RESERVED_FAMILIES: [&str; 7] = [
    "content-",
    "dapr-",
    "grpc-",
    "proxy-",
    "sec-",
    "x-forwarded-",
    "x-real-",
];

/// The entries of metadata that may be headers, and that `admits` lets pass by its name and value.
pub(super) fn of(metadata: &Metadata, admits: impl Fn(&str, &str) -> bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut left = MAX_BYTES;
    for (name, value) in metadata {
        let Some(name) = header_name(name).filter(|name| admits(name.as_str(), value)) else {
            continue;
        };
        let Ok(value) = HeaderValue::from_str(value) else {
            continue;
        };
        let size = name.as_str().len() + value.len();
        if size > left || headers.len() == MAX_HEADERS {
            continue;
        }
        left -= size;
        headers.insert(name, value);
    }
    headers
}

fn header_name(name: &str) -> Option<HeaderName> {
    let name = HeaderName::try_from(name).ok()?;
    let text = name.as_str();
    let is_reserved = hop_by_hop::is(&name)
        || RESERVED.contains(&text)
        || RESERVED_FAMILIES
            .iter()
            .any(|family| text.starts_with(family));
    (!is_reserved).then_some(name)
}
