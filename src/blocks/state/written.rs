//! State as apps write it in JSON: over HTTP, and in their answers to events of bindings.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::request::{self, Concurrency, Options, Removal, Save};
use super::{Change, Metadata, Store};
use crate::blocks::error::{Error, Reason};

/// The operations of a transaction.
const UPSERT: &str = "upsert";
const DELETE: &str = "delete";

/// One value.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    key: Option<String>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    etag: Option<String>,
    metadata: Option<Metadata>,
    options: Option<WrittenOptions>,
    content_type: Option<String>,
}

#[derive(Deserialize)]
struct WrittenOptions {
    concurrency: Option<String>,
    consistency: Option<String>,
}

/// The body of a read of several keys.
#[derive(Deserialize)]
struct WrittenKeys {
    keys: Option<Vec<String>>,
    parallelism: Option<i64>,
    metadata: Option<Metadata>,
}

/// The body of a transaction.
#[derive(Deserialize)]
struct Transaction<'a> {
    #[serde(borrow)]
    operations: Option<Vec<WrittenOperation<'a>>>,
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct WrittenOperation<'a> {
    operation: Option<String>,
    #[serde(borrow)]
    request: Option<&'a RawValue>,
}

/// The keys to read, how many at the same time, and what is said beside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The keys of the app.
    pub keys: Vec<String>,
    /// 0 and less is none.
    pub at_once: i64,
    /// What is said beside.
    pub metadata: Metadata,
}

/// The values of a list to save. What the call says of all of them goes before what is said of
/// one. A value is the JSON as it is written; where there is none, it is `null`.
pub fn values(body: &[u8], of_call: &Metadata) -> Result<Vec<Save>, Error> {
    let written: Vec<Written<'_>> = read(body)?;
    let values = written.into_iter().map(|value| value.save(of_call));
    values.collect()
}

/// One value to save.
pub fn value(json: &str) -> Result<Save, Error> {
    read::<Written<'_>>(json.as_bytes())?.save(&Metadata::new())
}

/// The keys of a body.
pub fn keys(body: &[u8], of_call: Metadata) -> Result<Keys, Error> {
    let written: WrittenKeys = read(body)?;
    Ok(Keys {
        keys: written.keys.unwrap_or_default(),
        at_once: written.parallelism.unwrap_or_default(),
        metadata: merged(written.metadata, &of_call),
    })
}

/// The operations of a body. What the call says in its query goes before what is said of one
/// operation, and this before what the body says of all.
pub fn transaction(
    store: &Store<'_>,
    body: &[u8],
    of_call: &Metadata,
) -> Result<Vec<Change>, Error> {
    let Transaction {
        operations,
        metadata,
    } = read(body)?;
    let of_all = metadata.unwrap_or_default();
    let operations = operations.unwrap_or_default().into_iter();
    let changes = operations.map(|WrittenOperation { operation, request }| {
        let operation = operation.unwrap_or_default();
        if operation != UPSERT && operation != DELETE {
            return Err(store.unknown_operation(&operation));
        }
        let request = request.map_or("{}", RawValue::get);
        let mut written: Written<'_> = read(request.as_bytes())?;
        written.metadata = Some(merged(
            Some(of_all.clone()),
            &written.metadata.unwrap_or_default(),
        ));
        Ok(if operation == UPSERT {
            Change::Save(written.save(of_call)?)
        } else {
            Change::Removal(written.removal(of_call)?)
        })
    });
    changes.collect()
}

impl Written<'_> {
    fn save(self, of_call: &Metadata) -> Result<Save, Error> {
        let value = self.value.map_or("null", RawValue::get);
        Ok(Save {
            key: self.key.unwrap_or_default(),
            value: Bytes::copy_from_slice(value.as_bytes()),
            etag: self.etag,
            content_type: self.content_type,
            options: options(self.options)?,
            metadata: merged(self.metadata, of_call),
        })
    }

    fn removal(self, of_call: &Metadata) -> Result<Removal, Error> {
        Ok(Removal {
            key: self.key.unwrap_or_default(),
            etag: self.etag,
            options: options(self.options)?,
            metadata: merged(self.metadata, of_call),
        })
    }
}

fn options(written: Option<WrittenOptions>) -> Result<Options, Error> {
    let Some(written) = written else {
        return Ok(Options::default());
    };
    Ok(Options {
        concurrency: Concurrency::parse(&written.concurrency.unwrap_or_default())?,
        consistency: request::consistency(&written.consistency.unwrap_or_default())?,
    })
}

/// Metadata with other metadata that goes before it.
fn merged(metadata: Option<Metadata>, first: &Metadata) -> Metadata {
    let mut merged = metadata.unwrap_or_default();
    let first = first.iter();
    merged.extend(first.map(|(key, value)| (key.clone(), value.clone())));
    merged
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| {
        let text = format!("failed deserializing HTTP body: {error}");
        Error::new(Reason::MalformedRequest, text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::state::Consistency;

    fn metadata(pairs: &[(&str, &str)]) -> Metadata {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_value_is_kept_as_it_is_written() {
        for json in [
            r#"{ "n": 1.0,  "big": 123456789012345678901234567890 }"#,
            r#""te\u0078t""#,
            "null",
            " [1, 2]",
        ] {
            let body = format!(r#"[{{"key": "k", "value":{json}}}]"#);
            let [save] = &values(body.as_bytes(), &Metadata::new()).unwrap()[..] else {
                panic!("one value")
            };
            assert_eq!(save.value, json.trim());
        }
        let save = value(r#"{"key": "k", "vae": 1}"#).unwrap();
        assert_eq!(save.value, "null");
    }

    #[test]
    fn everything_that_is_said_of_a_value_is_read() {
        let body = br#"[{"key": "k", "value": 1, "etag": "7", "contentType": "a/b",
            "metadata": {"a": "1", "b": "1"},
            "options": {"concurrency": "first-write", "consistency": "strong"}}]"#;
        let of_call = metadata(&[("b", "2"), ("c", "2")]);
        let expected = Save {
            key: "k".to_owned(),
            value: Bytes::from_static(b"1"),
            etag: Some("7".to_owned()),
            content_type: Some("a/b".to_owned()),
            options: Options {
                concurrency: Concurrency::FirstWrite,
                consistency: Consistency::Strong,
            },
            metadata: metadata(&[("a", "1"), ("b", "2"), ("c", "2")]),
        };
        assert_eq!(values(body, &of_call).unwrap(), [expected]);
    }

    #[test]
    fn rubbish_is_refused() {
        for body in [
            "",
            "{}",
            "foobar",
            "null",
            "[1]",
            r#"[{"key": "a", "value": 1},]"#,
            r#"[{"key": "a", "value": 1, "etag": 123}]"#,
            r#"[{"key": 1, "value": 1}]"#,
            r#"[{"key": "a", "metadata": {"ttlInSeconds": 60}}]"#,
            r#"[{"key": "a", "options": {"concurrency": "none"}}]"#,
            r#"[{"key": "a", "options": {"consistency": 1}}]"#,
            "[{\"key\": \"\u{0}\"}]",
        ] {
            let error = values(body.as_bytes(), &Metadata::new()).unwrap_err();
            assert_eq!(error.reason(), Reason::MalformedRequest, "{body}");
        }
        assert_eq!(values(b"[]", &Metadata::new()).unwrap(), []);
        assert!(values(b"[{\"key\": \"\xff\"}]", &Metadata::new()).is_err());
    }

    #[test]
    fn keys_to_read_are_listed() {
        let body = br#"{"keys": ["a", "b"], "parallelism": 3, "metadata": {"x": "1"}}"#;
        let read = keys(body, metadata(&[("x", "2")])).unwrap();
        let expected = Keys {
            keys: vec!["a".to_owned(), "b".to_owned()],
            at_once: 3,
            metadata: metadata(&[("x", "2")]),
        };
        assert_eq!(read, expected);
        assert_eq!(keys(b"{}", Metadata::new()).unwrap().keys, [""; 0]);
        assert!(keys(b"[]", Metadata::new()).is_err());
        assert!(keys(br#"{"keys": "a"}"#, Metadata::new()).is_err());
    }
}
