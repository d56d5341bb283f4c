//! Values from hashes.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use redis::{Cmd, Value};

use super::super::{ETag, Get, Item, StateError, ends_at};
use crate::components::message::{BrokerError, Metadata};
use crate::components::redis::{Client, Confirm, Repeat};

/// The code of the server where a key is no hash.
const OTHER_TYPE: &str = "WRONGTYPE";

/// Reads values, all of one server in one exchange.
pub(super) async fn get_all(
    client: &Client,
    gets: &[Get],
) -> Vec<Result<Option<Item>, StateError>> {
    let mut commands = Vec::with_capacity(2 * gets.len());
    for Get { key, .. } in gets {
        commands.push((fields(key), Repeat::Allowed));
        commands.push((rest(key), Repeat::Allowed));
    }
    let answers = client.ask_each(&commands, Confirm::Primary).await;
    let mut answers = answers.into_iter();
    let mut items = Vec::with_capacity(gets.len());
    for Get { key, .. } in gets {
        let (Some(fields), Some(rest)) = (answers.next(), answers.next()) else {
            items.push(Err(StateError::Unavailable("no answer".to_owned())));
            continue;
        };
        items.push(match (fields, rest) {
            (Err(BrokerError::Refused(text)), Ok(rest)) if text.contains(OTHER_TYPE) => {
                text_of(client, key, &rest).await
            }
            (fields, rest) => item(fields, rest),
        });
    }
    items
}

fn fields(key: &str) -> Cmd {
    let mut command = redis::cmd("HMGET");
    command.arg(key).arg("data").arg("version");
    command
}

fn rest(key: &str) -> Cmd {
    let mut command = redis::cmd("PTTL");
    command.arg(key);
    command
}

/// A value that is no hash but text, as Dapr 1.18 reads them too. It has no ETag.
async fn text_of(client: &Client, key: &str, rest: &Value) -> Result<Option<Item>, StateError> {
    let mut command = redis::cmd("GET");
    command.arg(key);
    let text: Result<Option<Vec<u8>>, _> = client.ask(&command, Repeat::Allowed).await;
    match text {
        Ok(text) => Ok(text.map(|text| Item {
            value: Bytes::from(text),
            etag: None,
            content_type: None,
            metadata: end(rest),
        })),
        Err(BrokerError::Refused(text)) if text.contains(OTHER_TYPE) => {
            Err(StateError::Refused(format!(
                "{text}; the key is neither a hash nor text, such as what Dapr writes with the \
                 content type application/json (RedisJSON)"
            )))
        }
        Err(error) => Err(error.into()),
    }
}

fn item(
    fields: Result<Value, BrokerError>,
    rest: Result<Value, BrokerError>,
) -> Result<Option<Item>, StateError> {
    let Value::Array(fields) = fields? else {
        return Err(StateError::Refused("no fields of a hash".to_owned()));
    };
    let rest = rest?;
    let mut fields = fields.into_iter();
    let (Some(Value::BulkString(value)), version) = (fields.next(), fields.next()) else {
        return Ok(None);
    };
    Ok(Some(Item {
        value: Bytes::from(value),
        etag: version.and_then(etag),
        content_type: None,
        metadata: end(&rest),
    }))
}

fn etag(version: Value) -> Option<ETag> {
    let Value::BulkString(version) = version else {
        return None;
    };
    let etag = ETag::new(String::from_utf8(version).ok()?);
    etag.version().ok().map(ETag::of_version)
}

/// When a value ends that has so many milliseconds left.
fn end(rest: &Value) -> Metadata {
    match rest {
        Value::Int(rest) => match u64::try_from(*rest) {
            Ok(rest) => ends_at(SystemTime::now() + Duration::from_millis(rest)),
            // It does not end.
            Err(_) => Metadata::new(),
        },
        _ => Metadata::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: &str, version: Option<&str>, rest: i64) -> Item {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let fields = vec![text(data), version.map_or(Value::Nil, text)];
        let read = item(Ok(Value::Array(fields)), Ok(Value::Int(rest)));
        read.unwrap().unwrap()
    }

    #[test]
    fn reads_what_dapr_writes() {
        let dapr = read("\"v\"", Some("1"), -1);
        assert_eq!(dapr.value, "\"v\"");
        assert_eq!(dapr.etag, Some(ETag::of_version(1)));
        assert!(dapr.metadata.is_empty());
        let ending = read("", Some("1790000000000000"), 1500);
        assert!(ending.value.is_empty());
        assert!(ending.metadata["ttlExpireTime"].ends_with('Z'));
        for version in [None, Some("x"), Some("01"), Some("")] {
            assert_eq!(read("v", version, -1).etag, None, "{version:?}");
        }
    }

    #[test]
    fn a_key_without_data_has_no_value() {
        let none = Value::Array(vec![Value::Nil, Value::Nil]);
        assert_eq!(item(Ok(none), Ok(Value::Int(-2))), Ok(None));
        let away = || BrokerError::Unavailable("away".to_owned());
        assert!(item(Err(away()), Ok(Value::Int(-2))).is_err());
        let none = Value::Array(vec![Value::Nil, Value::Nil]);
        assert!(item(Ok(none), Err(away())).is_err());
    }
}
