//! Events in binary mode: the data as it is, and the attributes beside it in the metadata
//! (CloudEvents 1.0, protocol bindings).

use super::content_type::{BINARY, Kind};
use super::fields::Fields;
use super::{EVENT_TYPE, Received, SPEC_VERSION, UNNAMED_SOURCE};
use crate::base::uuid;

/// What stands before the name of an attribute: over Kafka, HTTP, and AMQP in two spellings.
const PREFIXES: [&str; 4] = ["ce_", "ce-", "cloudevents:", "cloudevents_"];

/// The attributes that every event has, with what counts where one is left out.
const REQUIRED: [(&str, &str); 3] = [
    ("source", UNNAMED_SOURCE),
    ("specversion", SPEC_VERSION),
    ("type", EVENT_TYPE),
];

/// The envelope of a message in binary mode; `None` for any other.
pub(super) fn read<'a>(received: &Received<'a>) -> Option<Fields<'a>> {
    let is_binary = |text: &str| Kind::of(text) == Kind::Binary;
    if !content_type(received).is_some_and(is_binary) {
        return None;
    }
    let mut fields = Fields::default();
    let mut has_version = false;
    for (key, value) in received.metadata {
        let Some(name) = attribute(key) else {
            continue;
        };
        has_version |= name.eq_ignore_ascii_case("specversion");
        fields.set_owned(name.to_ascii_lowercase(), value);
    }
    if !has_version {
        return None;
    }
    fields.fill("id", uuid::random);
    for (name, text) in REQUIRED {
        fields.fill(name, || text);
    }
    fields.set("datacontenttype", BINARY);
    fields.set_binary_data(received.data);
    Some(fields)
}

fn content_type<'a>(received: &Received<'a>) -> Option<&'a str> {
    received.content_type.or_else(|| {
        let mut metadata = received.metadata.iter();
        let found = metadata.find(|(key, _)| {
            ["content-type", "datacontenttype", "contenttype"]
                .iter()
                .any(|name| key.eq_ignore_ascii_case(name))
        });
        found.map(|(_, value)| value.as_str())
    })
}

/// The attribute that a key of the metadata names. What holds the data cannot be one.
fn attribute(key: &str) -> Option<&str> {
    let name = PREFIXES.iter().find_map(|prefix| {
        let (head, name) = key.split_at_checked(prefix.len())?;
        head.eq_ignore_ascii_case(prefix).then_some(name)
    })?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_name && !name.eq_ignore_ascii_case("data")).then_some(name)
}
