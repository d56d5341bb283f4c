//! The fields of an envelope while it is made. What is JSON already stays as it is written, so
//! that no number loses a digit.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// Fields by name, in the order of their names.
#[derive(Debug, Default)]
pub(super) struct Fields<'a>(BTreeMap<Cow<'a, str>, Field<'a>>);

#[derive(Debug)]
enum Field<'a> {
    Text(Cow<'a, str>),
    Json(&'a RawValue),
}

impl Serialize for Field<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Json(json) => json.serialize(serializer),
        }
    }
}

impl<'a> Fields<'a> {
    /// Reads a JSON object. Of two fields with one name the last one counts.
    pub(super) fn read(json: &'a [u8]) -> Result<Self, serde_json::Error> {
        let fields = super::read(json)?.into_iter();
        let fields = fields.map(|(name, json)| (Cow::Owned(name), Field::Json(json)));
        Ok(Self(fields.collect()))
    }

    /// Sets a field to a text.
    pub(super) fn set(&mut self, name: &'a str, text: impl Into<Cow<'a, str>>) {
        self.0.insert(name.into(), Field::Text(text.into()));
    }

    /// The same with a name that was made.
    pub(super) fn set_owned(&mut self, name: String, text: &'a str) {
        self.0.insert(name.into(), Field::Text(text.into()));
    }

    /// Sets a field to a text where it is missing or `null`.
    pub(super) fn fill<T: Into<Cow<'a, str>>>(&mut self, name: &'a str, text: impl FnOnce() -> T) {
        let is_there = self.0.get(name).is_some_and(|field| match field {
            Field::Text(_) => true,
            Field::Json(json) => json.get() != "null",
        });
        if !is_there {
            self.set(name, text());
        }
    }

    /// Sets `data` to what is JSON already.
    pub(super) fn set_data(&mut self, json: &'a RawValue) {
        self.0.insert("data".into(), Field::Json(json));
    }

    /// Sets `data` to a text, or `data_base64` where the bytes are none.
    pub(super) fn set_text_data(&mut self, data: &'a [u8]) {
        match std::str::from_utf8(data) {
            Ok(text) => self.set("data", text),
            Err(_) => self.set_binary_data(data),
        }
    }

    /// Sets `data_base64`.
    pub(super) fn set_binary_data(&mut self, data: &[u8]) {
        self.set("data_base64", BASE64.encode(data));
    }

    /// The envelope.
    pub(super) fn to_json(&self) -> Bytes {
        // Fails for maps whose keys are no texts only.
        serde_json::to_vec(&self.0).unwrap_or_default().into()
    }
}
