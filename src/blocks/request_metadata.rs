//! What the metadata of a request asks of the sidecar itself.

use crate::components::message::Metadata;

/// The value of a key in any case of its letters, without spaces around it. An empty value is none.
pub(super) fn value<'a>(metadata: &'a Metadata, key: &str) -> Option<&'a str> {
    let mut entries = metadata.iter();
    let found = entries.find(|(own, _)| own.eq_ignore_ascii_case(key));
    let text = found.map(|(_, text)| text.trim());
    text.filter(|text| !text.is_empty())
}
