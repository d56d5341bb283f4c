//! What an app asks of a state store, and what it means to the store.

use bytes::Bytes;

use crate::blocks::error::{Error, Reason};
use crate::blocks::request_metadata;
use crate::components::message::Metadata;
use crate::components::state::{
    Condition, Consistency, Delete, ETag, Operation as Write, Set, Ttl,
};

/// The key of the time that a value stays, in seconds.
const TTL: &str = "ttlInSeconds";
/// The longest such time, in seconds: about 68 years, as in Dapr 1.18.
const MAX_TTL: i64 = i32::MAX as i64;
/// The key of the type of a value.
const CONTENT_TYPE: &str = "contentType";

/// Which write counts where several come together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Concurrency {
    /// The last one.
    #[default]
    LastWrite,
    /// The first one.
    FirstWrite,
}

/// How a write is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Which write counts.
    pub concurrency: Concurrency,
    /// When it is done.
    pub consistency: Consistency,
}

/// A value to save.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Save {
    /// The key of the app.
    pub key: String,
    /// Any bytes.
    pub value: Bytes,
    /// The value that it replaces; an empty text is none.
    pub etag: Option<String>,
    /// Its type, where the metadata does not name one.
    pub content_type: Option<String>,
    /// How.
    pub options: Options,
    /// What is said beside.
    pub metadata: Metadata,
}

/// A key to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// The key of the app.
    pub key: String,
    /// The value that is deleted; an empty text is none.
    pub etag: Option<String>,
    /// How.
    pub options: Options,
    /// What is said beside.
    pub metadata: Metadata,
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Saves a value.
    Save(Save),
    /// Deletes one.
    Removal(Removal),
}

impl Concurrency {
    /// Reads `first-write` or `last-write`; an empty text is none.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "" | "last-write" => Ok(Self::LastWrite),
            "first-write" => Ok(Self::FirstWrite),
            _ => Err(unknown("concurrency", text, "first-write and last-write")),
        }
    }
}

/// Reads `strong` or `eventual`; an empty text is none.
pub fn consistency(text: &str) -> Result<Consistency, Error> {
    match text {
        "" | "eventual" => Ok(Consistency::Eventual),
        "strong" => Ok(Consistency::Strong),
        _ => Err(unknown("consistency", text, "strong and eventual")),
    }
}

/// A model that there is not, in the words of Dapr.
fn unknown(which: &str, text: &str, accepted: &str) -> Error {
    let text = format!("unrecognized {which} model '{text}': accepted are {accepted}");
    Error::new(Reason::MalformedRequest, text)
}

impl Save {
    /// The write under a key of the store. An ETag counts whatever the concurrency is; without
    /// one, the first write is the one that finds no value.
    pub(super) fn write(self, stored_key: String) -> Result<Write, Error> {
        let content_type = request_metadata::value(&self.metadata, CONTENT_TYPE);
        let content_type = content_type.map(str::to_owned).or(self.content_type);
        Ok(Write::Set(Set {
            key: stored_key,
            value: self.value,
            content_type: content_type.filter(|name| !name.is_empty()),
            condition: match (etag(self.etag), self.options.concurrency) {
                (Some(etag), _) => Condition::Matches(etag),
                (None, Concurrency::FirstWrite) => Condition::Absent,
                (None, Concurrency::LastWrite) => Condition::Always,
            },
            ttl: ttl(&self.metadata)?,
            consistency: self.options.consistency,
            metadata: self.metadata,
        }))
    }
}

impl Removal {
    /// The write under a key of the store. Without an ETag, whatever is there is deleted.
    pub(super) fn write(self, stored_key: String) -> Write {
        Write::Delete(Delete {
            key: stored_key,
            condition: etag(self.etag).map_or(Condition::Always, Condition::Matches),
            consistency: self.options.consistency,
            metadata: self.metadata,
        })
    }
}

impl Change {
    /// The key of the app.
    pub(super) fn key(&self) -> &str {
        match self {
            Self::Save(save) => &save.key,
            Self::Removal(removal) => &removal.key,
        }
    }

    /// The write under a key of the store.
    pub(super) fn write(self, stored_key: String) -> Result<Write, Error> {
        match self {
            Self::Save(save) => save.write(stored_key),
            Self::Removal(removal) => Ok(removal.write(stored_key)),
        }
    }
}

fn etag(text: Option<String>) -> Option<ETag> {
    text.filter(|text| !text.is_empty()).map(ETag::new)
}

/// How long a value stays. 0 and -1 are for ever, also where the store has a time of its own (the
/// stores of Dapr 1.18).
fn ttl(metadata: &Metadata) -> Result<Ttl, Error> {
    let Some(text) = request_metadata::value(metadata, TTL) else {
        return Ok(Ttl::OfStore);
    };
    let seconds = text.parse::<i64>().ok();
    match seconds.filter(|seconds| (-1..=MAX_TTL).contains(seconds)) {
        Some(seconds @ 1..) => Ok(u32::try_from(seconds).map_or(Ttl::Forever, Ttl::Seconds)),
        Some(_) => Ok(Ttl::Forever),
        None => {
            let text = format!(
                "incorrect value for metadata '{TTL}': {text:?}; accepted are whole numbers from \
                 -1 to {MAX_TTL}"
            );
            Err(Error::new(Reason::MalformedRequest, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(key: &str, value: &str) -> Metadata {
        [(key.to_owned(), value.to_owned())].into()
    }

    fn condition(etag: &str, concurrency: Concurrency) -> (Condition, Condition) {
        let etag = Some(etag.to_owned());
        let options = Options {
            concurrency,
            ..Options::default()
        };
        let save = Save {
            etag: etag.clone(),
            options,
            ..Save::default()
        };
        let removal = Removal {
            etag,
            options,
            ..Removal::default()
        };
        match (save.write("k".into()).unwrap(), removal.write("k".into())) {
            (Write::Set(set), Write::Delete(delete)) => (set.condition, delete.condition),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_etag_counts_whatever_the_concurrency_is() {
        let matches = || Condition::Matches(ETag::new("7"));
        for concurrency in [Concurrency::FirstWrite, Concurrency::LastWrite] {
            assert_eq!(condition("7", concurrency), (matches(), matches()));
        }
        let always = Condition::Always;
        assert_eq!(
            condition("", Concurrency::FirstWrite),
            (Condition::Absent, always.clone())
        );
        assert_eq!(
            condition("", Concurrency::LastWrite),
            (always.clone(), always)
        );
    }

    #[test]
    fn a_time_to_live_is_read_as_daprs_stores_read_it() {
        assert_eq!(ttl(&Metadata::new()).unwrap(), Ttl::OfStore);
        for (text, expected) in [
            ("", Ttl::OfStore),
            ("-1", Ttl::Forever),
            ("0", Ttl::Forever),
            ("1", Ttl::Seconds(1)),
            (" 60 ", Ttl::Seconds(60)),
            ("2147483647", Ttl::Seconds(2_147_483_647)),
        ] {
            let read = ttl(&metadata("ttlInSeconds", text));
            assert_eq!(read.unwrap(), expected, "{text}");
        }
        let read = ttl(&metadata("TTLINSECONDS", "5"));
        assert_eq!(read.unwrap(), Ttl::Seconds(5));
        for text in [
            "-2",
            "1.5",
            "1s",
            "soon",
            "2147483648",
            "99999999999999999999",
        ] {
            let error = ttl(&metadata("ttlInSeconds", text)).unwrap_err();
            assert_eq!(error.reason(), Reason::MalformedRequest);
            let expected = format!(
                "incorrect value for metadata 'ttlInSeconds': {text:?}; accepted are whole \
                 numbers from -1 to 2147483647"
            );
            assert_eq!(error.message(), expected);
        }
    }

    #[test]
    fn options_are_words() {
        let concurrency = |text| Concurrency::parse(text).map_err(|error| error.to_string());
        assert_eq!(concurrency("first-write"), Ok(Concurrency::FirstWrite));
        assert_eq!(concurrency("last-write"), Ok(Concurrency::LastWrite));
        assert_eq!(concurrency(""), Ok(Concurrency::LastWrite));
        assert_eq!(
            concurrency("First-Write"),
            Err(
                "unrecognized concurrency model 'First-Write': accepted are first-write and \
                 last-write"
                    .to_owned()
            )
        );
        let consistency = |text| consistency(text).map_err(|error| error.to_string());
        assert_eq!(consistency("strong"), Ok(Consistency::Strong));
        assert_eq!(consistency(""), Ok(Consistency::Eventual));
        assert_eq!(
            consistency("weak"),
            Err("unrecognized consistency model 'weak': accepted are strong and eventual".into())
        );
    }

    #[test]
    fn the_type_of_a_value_is_where_it_is_named() {
        let written = |content_type: Option<&str>, metadata| {
            let save = Save {
                content_type: content_type.map(str::to_owned),
                metadata,
                ..Save::default()
            };
            match save.write("k".into()).unwrap() {
                Write::Set(set) => set.content_type,
                other => panic!("{other:?}"),
            }
        };
        let json = || metadata("contentType", "application/json");
        assert_eq!(written(None, Metadata::new()), None);
        assert_eq!(written(Some(""), Metadata::new()), None);
        assert_eq!(written(Some("a/b"), Metadata::new()).unwrap(), "a/b");
        assert_eq!(written(Some("a/b"), json()).unwrap(), "application/json");
    }
}
