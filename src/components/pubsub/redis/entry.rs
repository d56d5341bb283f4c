//! Entries of a stream as the server hands them out.

use bytes::Bytes;
use redis::Value;

use super::text;
use crate::components::message::Metadata;

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its id, such as `1526919030474-55`.
    pub(super) id: String,
    /// What is in it. `None` where the stream was trimmed since.
    pub(super) content: Option<Content>,
}

/// What is in an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) data: Bytes,
    pub(super) metadata: Metadata,
}

/// The entries in an answer to `XREADGROUP` of one stream.
pub(super) fn read(answer: Value) -> Vec<Entry> {
    let Value::Array(mut streams) = answer else {
        return Vec::new();
    };
    match streams.pop() {
        Some(Value::Array(mut stream)) => stream.pop().map(entries).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// The next place to look from, and the entries, in an answer to `XAUTOCLAIM`.
pub(super) fn claimed(answer: Value) -> (String, Vec<Entry>) {
    let Value::Array(parts) = answer else {
        return (START.to_owned(), Vec::new());
    };
    let mut parts = parts.into_iter();
    let next = parts.next().as_ref().and_then(text);
    let entries = parts.next().map(entries).unwrap_or_default();
    (next.unwrap_or_else(|| START.to_owned()), entries)
}

/// Before every id.
pub(super) const START: &str = "0-0";

fn entries(value: Value) -> Vec<Entry> {
    match value {
        Value::Array(entries) => entries.into_iter().filter_map(entry).collect(),
        _ => Vec::new(),
    }
}

/// Servers before version 7 claim what was trimmed as nothing at all.
fn entry(value: Value) -> Option<Entry> {
    let Value::Array(mut parts) = value else {
        return None;
    };
    let content = match parts.pop()? {
        Value::Array(fields) => Some(content(fields)),
        _ => None,
    };
    let id = text(parts.first()?)?;
    Some(Entry { id, content })
}

fn content(fields: Vec<Value>) -> Content {
    let mut content = Content::default();
    let mut fields = fields.into_iter();
    while let (Some(Value::BulkString(name)), Some(Value::BulkString(value))) =
        (fields.next(), fields.next())
    {
        match name.as_slice() {
            b"data" => content.data = value.into(),
            // One that others wrote and that is no map of texts takes no message with it.
            b"metadata" => content.metadata = serde_json::from_slice(&value).unwrap_or_default(),
            _ => {}
        }
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn list(texts: &[&str]) -> Value {
        Value::Array(texts.iter().map(|text| bulk(text)).collect())
    }

    #[test]
    fn reads_what_dapr_writes_and_what_others_write() {
        let written = list(&["data", "1", "metadata", "{\"a\":\"b\"}", "more", "x"]);
        let others = list(&["metadata", "[]", "data", "2"]);
        let answer = Value::Array(vec![Value::Array(vec![
            bulk("orders"),
            Value::Array(vec![
                Value::Array(vec![bulk("1-0"), written]),
                Value::Array(vec![bulk("2-0"), others]),
                Value::Array(vec![bulk("3-0"), Value::Nil]),
            ]),
        ])]);
        let entries = read(answer);
        let ids: Vec<_> = entries.iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(ids, ["1-0", "2-0", "3-0"]);
        let content = entries[0].content.as_ref().unwrap();
        assert_eq!((&*content.data, &*content.metadata["a"]), (&b"1"[..], "b"));
        let content = entries[1].content.as_ref().unwrap();
        assert_eq!((&*content.data, content.metadata.len()), (&b"2"[..], 0));
        assert_eq!(entries[2].content, None);
        assert_eq!(read(Value::Nil), []);
    }

    #[test]
    fn reads_claims_with_and_without_what_was_trimmed() {
        let one = Value::Array(vec![bulk("1-0"), list(&["data", "1"])]);
        let answer = Value::Array(vec![
            bulk("5-0"),
            Value::Array(vec![one, Value::Nil]),
            Value::Array(Vec::new()),
        ]);
        let (next, entries) = claimed(answer);
        assert_eq!((next.as_str(), entries.len()), ("5-0", 1));
        assert_eq!(claimed(Value::Nil), (START.to_owned(), Vec::new()));
    }
}
