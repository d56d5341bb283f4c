//! What the protocol and the metadata of components say of a message.

use lapin::BasicProperties;
use lapin::types::AMQPValue;

use crate::components::BackendError;
use crate::components::message::Metadata;

/// What a publisher may say of a message, in any case (as in Dapr 1.18).
pub(in crate::components) fn property<'a>(metadata: &'a Metadata, name: &str) -> Option<&'a str> {
    let mut named = metadata
        .iter()
        .filter(|(given, value)| given.eq_ignore_ascii_case(name) && !value.is_empty());
    named.next().map(|(_, value)| value.as_str())
}

/// Adds how long a message lasts, and how important it is.
pub(in crate::components) fn lasting(
    mut properties: BasicProperties,
    metadata: &Metadata,
) -> Result<BasicProperties, BackendError> {
    if let Some(text) = property(metadata, "ttlInSeconds") {
        let seconds = text.parse::<u32>().ok().filter(|seconds| *seconds > 0);
        let seconds = seconds.ok_or_else(|| {
            let text = "\"ttlInSeconds\" is not a whole number above 0";
            BackendError::Refused(text.to_owned())
        })?;
        let milliseconds = u64::from(seconds) * 1000;
        properties = properties.with_expiration(milliseconds.to_string().into());
    }
    if let Some(text) = property(metadata, "priority") {
        let priority = text.parse::<u32>().map_err(|_| {
            BackendError::Refused("\"priority\" is not a whole number from 0 to 255".to_owned())
        })?;
        let priority = u8::try_from(priority).unwrap_or(u8::MAX);
        properties = properties.with_priority(priority);
    }
    Ok(properties)
}

/// The headers of a message whose values are texts, numbers or truth values.
pub(in crate::components) fn headers(
    properties: &BasicProperties,
) -> impl Iterator<Item = (&str, String)> {
    let table = properties.headers().as_ref();
    let headers = table.into_iter().flat_map(|table| table.inner());
    headers.filter_map(|(name, value)| Some((name.as_str(), text(value)?)))
}

fn text(value: &AMQPValue) -> Option<String> {
    Some(match value {
        AMQPValue::Boolean(value) => value.to_string(),
        AMQPValue::ShortShortInt(value) => value.to_string(),
        AMQPValue::ShortShortUInt(value) => value.to_string(),
        AMQPValue::ShortInt(value) => value.to_string(),
        AMQPValue::ShortUInt(value) => value.to_string(),
        AMQPValue::LongInt(value) => value.to_string(),
        AMQPValue::LongUInt(value) => value.to_string(),
        AMQPValue::LongLongInt(value) => value.to_string(),
        AMQPValue::Double(value) => value.to_string(),
        AMQPValue::Timestamp(value) => value.to_string(),
        AMQPValue::ShortString(value) => value.as_str().to_owned(),
        AMQPValue::LongString(value) => String::from_utf8_lossy(value.as_bytes()).into_owned(),
        AMQPValue::ByteArray(value) => String::from_utf8_lossy(value.as_slice()).into_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_that_is_none_is_refused() {
        for wrong in ["0", "-1", "soon", "1s"] {
            let metadata = Metadata::from([("ttlInSeconds".to_owned(), wrong.to_owned())]);
            let refused = lasting(BasicProperties::default(), &metadata);
            assert!(matches!(refused, Err(BackendError::Refused(_))), "{wrong}");
        }
    }
}
