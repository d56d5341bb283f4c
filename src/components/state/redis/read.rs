//! Values from hashes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use redis::{Cmd, Value};

use super::super::{ETag, Get, Item, StateError, ends_at};
use crate::components::BackendError;
use crate::components::message::Metadata;
use crate::components::redis::{Client, Confirm, Repeat};

/// The code of the server where a key is no hash.
const OTHER_TYPE: &str = "WRONGTYPE";

/// How the server says when a key ends.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// It has no `PEXPIRETIME`, as before Redis 7.
    is_old: AtomicBool,
}

impl Ends {
    fn is_old(&self) -> bool {
        self.is_old.load(Ordering::Relaxed)
    }

    /// `PEXPIRETIME`, or `PTTL`.
    fn command(&self, key: &str) -> Cmd {
        let name = if self.is_old() { "PTTL" } else { "PEXPIRETIME" };
        let mut command = redis::cmd(name);
        command.arg(key);
        command
    }

    /// Whether an answer says for the first time that the server is old.
    fn learns(&self, answer: &Result<Value, BackendError>) -> bool {
        let is_unknown = matches!(
            answer,
            Err(BackendError::Refused(text)) if text.contains("unknown command")
        );
        is_unknown && !self.is_old.swap(true, Ordering::Relaxed)
    }

    /// What a number of milliseconds says: when it ends, or on an old server how long it stays.
    fn metadata(&self, answer: &Value) -> Metadata {
        let Value::Int(millis) = answer else {
            return Metadata::new();
        };
        // Less than zero where it does not end.
        let Ok(millis) = u64::try_from(*millis) else {
            return Metadata::new();
        };
        let from = if self.is_old() {
            SystemTime::now()
        } else {
            SystemTime::UNIX_EPOCH
        };
        ends_at(from + Duration::from_millis(millis))
    }
}

/// Reads values, all of one server in one exchange.
pub(super) async fn get_all(
    client: &Client,
    gets: &[Get],
    ends: &Ends,
) -> Vec<Result<Option<Item>, StateError>> {
    let mut answers = ask(client, gets, ends).await;
    if answers.iter().any(|answer| ends.learns(answer)) {
        answers = ask(client, gets, ends).await;
    }
    let mut answers = answers.into_iter();
    let mut items = Vec::with_capacity(gets.len());
    for Get { key, .. } in gets {
        let (Some(fields), Some(end)) = (answers.next(), answers.next()) else {
            items.push(Err(StateError::Unavailable("no answer".to_owned())));
            continue;
        };
        items.push(match (fields, end) {
            (Err(BackendError::Refused(text)), Ok(end)) if text.contains(OTHER_TYPE) => {
                text_of(client, key, ends.metadata(&end)).await
            }
            (Ok(fields), Ok(end)) => item(fields, ends.metadata(&end)),
            (Err(error), _) | (_, Err(error)) => Err(error.into()),
        });
    }
    items
}

async fn ask(client: &Client, gets: &[Get], ends: &Ends) -> Vec<Result<Value, BackendError>> {
    let commands = gets.iter().flat_map(|Get { key, .. }| {
        let mut fields = redis::cmd("HMGET");
        fields.arg(key).arg("data").arg("version");
        [
            (fields, Repeat::Allowed),
            (ends.command(key), Repeat::Allowed),
        ]
    });
    let commands: Vec<_> = commands.collect();
    client.ask_each(&commands, Confirm::Primary).await
}

/// A value that is no hash but text, as Dapr 1.18 reads them too. It has no ETag.
async fn text_of(
    client: &Client,
    key: &str,
    metadata: Metadata,
) -> Result<Option<Item>, StateError> {
    let mut command = redis::cmd("GET");
    command.arg(key);
    let text: Result<Option<Vec<u8>>, _> = client.ask(&command, Repeat::Allowed).await;
    match text {
        Ok(text) => Ok(text.map(|text| Item {
            value: Bytes::from(text),
            etag: None,
            content_type: None,
            metadata,
        })),
        Err(BackendError::Refused(text)) if text.contains(OTHER_TYPE) => {
            Err(StateError::Refused(format!(
                "{text}; the key is neither a hash nor text, such as what Dapr writes with the \
                 content type application/json (RedisJSON)"
            )))
        }
        Err(error) => Err(error.into()),
    }
}

fn item(fields: Value, metadata: Metadata) -> Result<Option<Item>, StateError> {
    let Value::Array(fields) = fields else {
        return Err(StateError::Refused("no fields of a hash".to_owned()));
    };
    let mut fields = fields.into_iter();
    let (Some(Value::BulkString(value)), version) = (fields.next(), fields.next()) else {
        return Ok(None);
    };
    Ok(Some(Item {
        value: Bytes::from(value),
        etag: version.and_then(etag),
        content_type: None,
        metadata,
    }))
}

fn etag(version: Value) -> Option<ETag> {
    let Value::BulkString(version) = version else {
        return None;
    };
    let etag = ETag::new(String::from_utf8(version).ok()?);
    etag.version().ok().map(ETag::of_version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: &str, version: Option<&str>) -> Item {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let fields = Value::Array(vec![text(data), version.map_or(Value::Nil, text)]);
        item(fields, Metadata::new()).unwrap().unwrap()
    }

    #[test]
    fn reads_what_dapr_writes() {
        let dapr = read("\"v\"", Some("1"));
        assert_eq!(dapr.value, "\"v\"");
        assert_eq!(dapr.etag, Some(ETag::of_version(1)));
        assert!(read("", Some("1790000000000000")).value.is_empty());
        for version in [None, Some("x"), Some("01"), Some("")] {
            assert_eq!(read("v", version).etag, None, "{version:?}");
        }
    }

    #[test]
    fn a_key_without_data_has_no_value() {
        let none = Value::Array(vec![Value::Nil, Value::Nil]);
        assert_eq!(item(none, Metadata::new()), Ok(None));
    }

    #[test]
    fn learns_once_that_a_server_is_old() {
        let ends = Ends::default();
        let end = |millis| ends.metadata(&Value::Int(millis)).remove("ttlExpireTime");
        assert_eq!(
            end(1_700_000_000_999).as_deref(),
            Some("2023-11-14T22:13:20Z")
        );
        assert_eq!(end(-1), None);
        let refused = |text: &str| Err(BackendError::Refused(text.to_owned()));
        assert!(!ends.learns(&refused("redis:6379: ERR no")));
        let unknown = refused("redis:6379: An error was signalled: unknown command 'PEXPIRETIME'");
        assert!(ends.learns(&unknown) && !ends.learns(&unknown));
        assert!(end(1000).is_some_and(|end| end.as_str() > "2024"));
        assert_eq!(end(-2), None);
    }
}
