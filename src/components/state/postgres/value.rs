//! Values as JSON in the first version of the layout, as Dapr 1.18 keeps them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// A value as its column takes it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// JSON.
    pub(super) text: String,
    /// Whether it is a text that stands for bytes.
    pub(super) is_binary: bool,
}

impl Stored {
    /// JSON stays JSON, so that others can ask for what is in it, though the database writes it in
    /// a form of its own. Everything else becomes base64, and so does JSON that it cannot hold.
    pub(super) fn of(value: &[u8], content_type: Option<&str>) -> Self {
        if content_type.is_some_and(is_json)
            && let Some(text) = held(value)
        {
            return Self {
                text: text.to_owned(),
                is_binary: false,
            };
        }
        Self {
            text: format!("\"{}\"", STANDARD.encode(value)),
            is_binary: true,
        }
    }
}

/// `application/json` and `…+json`, with or without parameters.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

/// The text, where the database can hold it: no NUL, no half of a pair, no endless number.
fn held(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    let is_held = !text.contains("\\u0000") && serde_json::from_str::<Value>(text).is_ok();
    is_held.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_json_and_turns_the_rest_into_base64() {
        let json = Some("application/json; charset=utf-8");
        for text in ["{\"a\": [1, 2.50]}", "\"\\ud83d\\ude00\"", "null", " 1 "] {
            let expected = Stored {
                text: text.to_owned(),
                is_binary: false,
            };
            assert_eq!(Stored::of(text.as_bytes(), json), expected);
        }
        let lone = &b"\"\\ud83d\""[..];
        for (value, content_type) in [
            (&b"{}"[..], None),
            (b"{}", Some("text/plain")),
            (b"{", json),
            (b"", json),
            (b"\xff", json),
            (b"\"\\u0000\"", json),
            (lone, json),
            (b"1e9999", Some("application/cloudevents+json")),
        ] {
            let stored = Stored::of(value, content_type);
            assert!(stored.is_binary, "{value:?}");
            let text: String = serde_json::from_str(&stored.text).unwrap();
            assert_eq!(STANDARD.decode(text).unwrap(), value);
        }
    }
}
