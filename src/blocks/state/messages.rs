//! State as apps write it in the messages of gRPC: in calls, and in their answers to events of
//! bindings.

use dapr::dapr::proto::common::v1 as proto;
use dapr::dapr::proto::common::v1::state_options::{StateConcurrency, StateConsistency};
use serde_json::value::RawValue;

use super::request::{Concurrency, Options, Removal, Save};
use super::{Change, Consistency, Metadata, Store};
use crate::blocks::error::{Error, Reason};
use crate::blocks::request_metadata;

/// The type of a value that has to be JSON.
const JSON: &str = "application/json";

/// A value to save: any bytes, or JSON where the metadata says so.
pub fn save(item: proto::StateItem) -> Result<Save, Error> {
    let metadata = item.metadata.into_iter().collect();
    let is_json = request_metadata::value(&metadata, "contentType") == Some(JSON);
    if is_json && serde_json::from_slice::<&RawValue>(&item.value).is_err() {
        let text = format!(
            "the value of key {:?} is not JSON, as its type says",
            item.key
        );
        return Err(Error::new(Reason::MalformedRequest, text));
    }
    Ok(Save {
        key: item.key,
        value: item.value.into(),
        etag: item.etag.map(|etag| etag.value),
        content_type: None,
        options: options(item.options)?,
        metadata,
    })
}

/// A key to delete.
pub fn removal(item: proto::StateItem) -> Result<Removal, Error> {
    Ok(Removal {
        key: item.key,
        etag: item.etag.map(|etag| etag.value),
        options: options(item.options)?,
        metadata: item.metadata.into_iter().collect(),
    })
}

/// An operation of a transaction. What is said of it goes before what is said of all.
pub fn change(
    store: &Store<'_>,
    operation: &str,
    item: proto::StateItem,
    of_all: &Metadata,
) -> Result<Change, Error> {
    let mut item = item;
    for (key, value) in of_all {
        let entry = item.metadata.entry(key.clone());
        entry.or_insert_with(|| value.clone());
    }
    match operation {
        "upsert" => save(item).map(Change::Save),
        "delete" => removal(item).map(Change::Removal),
        other => Err(store.unknown_operation(other)),
    }
}

/// What options say; none are the default.
pub fn options(options: Option<proto::StateOptions>) -> Result<Options, Error> {
    let Some(options) = options else {
        return Ok(Options::default());
    };
    let concurrency = match StateConcurrency::try_from(options.concurrency) {
        Ok(StateConcurrency::ConcurrencyFirstWrite) => Concurrency::FirstWrite,
        Ok(_) => Concurrency::LastWrite,
        Err(_) => return Err(unknown("concurrency", options.concurrency)),
    };
    Ok(Options {
        concurrency,
        consistency: consistency(options.consistency)?,
    })
}

/// What the number of a consistency says.
pub fn consistency(number: i32) -> Result<Consistency, Error> {
    match StateConsistency::try_from(number) {
        Ok(StateConsistency::ConsistencyStrong) => Ok(Consistency::Strong),
        Ok(_) => Ok(Consistency::Eventual),
        Err(_) => Err(unknown("consistency", number)),
    }
}

fn unknown(which: &str, number: i32) -> Error {
    let text = format!("unrecognized {which} model '{number}': accepted are 0, 1 and 2");
    Error::new(Reason::MalformedRequest, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(value: &[u8], content_type: &str) -> proto::StateItem {
        proto::StateItem {
            key: "k".to_owned(),
            value: value.to_vec(),
            metadata: [("contentType".to_owned(), content_type.to_owned())].into(),
            ..proto::StateItem::default()
        }
    }

    #[test]
    fn a_value_that_says_it_is_json_has_to_be() {
        assert_eq!(
            save(item(b"{\"a\": 1.0}", JSON)).unwrap().value,
            "{\"a\": 1.0}"
        );
        assert_eq!(save(item(b"\xff\0", "a/b")).unwrap().value, &b"\xff\0"[..]);
        for value in [&b""[..], b"text", b"\"\xff\"", b"1 2"] {
            let error = save(item(value, JSON)).unwrap_err();
            assert_eq!(error.reason(), Reason::MalformedRequest);
            let expected = "the value of key \"k\" is not JSON, as its type says";
            assert_eq!(error.message(), expected);
        }
    }

    #[test]
    fn options_are_numbers() {
        let read = |concurrency, consistency| {
            options(Some(proto::StateOptions {
                concurrency,
                consistency,
            }))
        };
        assert_eq!(options(None).unwrap(), Options::default());
        assert_eq!(read(0, 0).unwrap(), Options::default());
        assert_eq!(read(2, 1).unwrap(), Options::default());
        let first = Options {
            concurrency: Concurrency::FirstWrite,
            consistency: Consistency::Strong,
        };
        assert_eq!(read(1, 2).unwrap(), first);
        for numbers in [(3, 0), (0, 3), (-1, 0)] {
            let error = read(numbers.0, numbers.1).unwrap_err();
            assert_eq!(error.reason(), Reason::MalformedRequest);
        }
    }
}
