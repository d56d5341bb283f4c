//! What of the API server's answers counts here. Pure.
//!
//! Fewer fields than the whole type are read, so that no copy of a secret is left where nobody
//! wipes it, and what nobody needs takes no memory.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::base::secret::Secret;
use crate::components::secret_store::SecretMap;

/// A Secret of the cluster.
#[derive(Deserialize)]
pub(super) struct Object<'a> {
    pub(super) metadata: ObjectMetadata,
    #[serde(borrow, default)]
    data: Option<BTreeMap<String, Text<'a>>>,
}

#[derive(Deserialize)]
pub(super) struct ObjectMetadata {
    pub(super) name: String,
}

/// One page of Secrets.
#[derive(Deserialize)]
pub(super) struct List<'a> {
    pub(super) metadata: ListMetadata,
    #[serde(borrow)]
    pub(super) items: Vec<Object<'a>>,
}

#[derive(Deserialize)]
pub(super) struct ListMetadata {
    /// Where the next page begins; empty or absent on the last one.
    #[serde(default, rename = "continue")]
    pub(super) next: Option<String>,
}

/// The body of an answer that is no success.
#[derive(Default, Deserialize)]
pub(super) struct Failure {
    #[serde(default)]
    pub(super) message: String,
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A Secret as the secrets API has it: texts.
pub(super) struct Decoded {
    pub(super) keys: SecretMap,
    /// Keys whose bytes are no text.
    pub(super) binary: Vec<String>,
}

impl Object<'_> {
    /// The values as texts. One that is none is left out, since every text in its place would be
    /// another value. The error names a key that is no base64, which no API server sends.
    pub(super) fn decoded(&self) -> Result<Decoded, String> {
        let mut decoded = Decoded {
            keys: SecretMap::new(),
            binary: Vec::new(),
        };
        for (key, text) in self.data.iter().flatten() {
            let bytes = STANDARD
                .decode(text.0.as_bytes())
                .map_err(|_| format!("key {key:?} of Secret {:?} is no base64", self.name()))?;
            match String::from_utf8(bytes) {
                Ok(value) => {
                    decoded.keys.insert(key.clone(), Secret::new(value));
                }
                Err(bytes) => {
                    drop(zeroize::Zeroizing::new(bytes.into_bytes()));
                    decoded.binary.push(key.clone());
                }
            }
        }
        Ok(decoded)
    }

    pub(super) fn name(&self) -> &str {
        &self.metadata.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(json: &str) -> Result<Decoded, String> {
        let object: Object<'_> = serde_json::from_str(json).unwrap();
        object.decoded()
    }

    #[test]
    fn values_become_texts_and_bytes_are_left_out_by_name() {
        let json = r#"{"metadata": {"name": "s", "uid": "u"}, "type": "Opaque", "data": {
            "text": "w6Q=", "empty": "", "escaped": "\u0059Q==", "bytes": "/w=="}}"#;
        let decoded = decoded(json).unwrap();
        let keys: Vec<_> = decoded
            .keys
            .iter()
            .map(|(key, value)| (key.as_str(), value.expose()))
            .collect();
        assert_eq!(keys, [("empty", ""), ("escaped", "a"), ("text", "ä")]);
        assert_eq!(decoded.binary, ["bytes"]);
    }

    #[test]
    fn a_secret_without_data_has_no_keys() {
        for json in [
            r#"{"metadata": {"name": "s"}}"#,
            r#"{"metadata": {"name": "s"}, "data": null}"#,
        ] {
            assert!(decoded(json).unwrap().keys.is_empty(), "{json}");
        }
    }

    #[test]
    fn names_a_key_that_is_no_base64_without_its_value() {
        let error = decoded(r#"{"metadata": {"name": "s"}, "data": {"k": "hunter 2"}}"#);
        let expected = "key \"k\" of Secret \"s\" is no base64";
        assert_eq!(error.err().as_deref(), Some(expected));
    }

    #[test]
    fn a_list_may_have_a_next_page() {
        for (metadata, next) in [
            (r#"{"continue": "c"}"#, Some("c")),
            (r#"{"resourceVersion": "1"}"#, None),
        ] {
            let json = format!(r#"{{"metadata": {metadata}, "items": []}}"#);
            let list: List<'_> = serde_json::from_str(&json).unwrap();
            assert_eq!(list.metadata.next.as_deref(), next);
        }
    }
}
