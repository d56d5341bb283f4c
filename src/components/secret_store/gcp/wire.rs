//! What of Secret Manager's answers counts here. Pure.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::base::secret::Secret;

/// The checksum that the API sends beside a value.
const CRC32C: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);
/// The longest name of a secret, of a version's alias too.
const MAX_NAME: usize = 255;
const MAX_ALIAS: usize = 63;
/// The longest word such as `PERMISSION_DENIED` that is taken over from an error.
const MAX_WORD: usize = 63;

/// Whether a secret can have this name. The characters need no escaping in a URL.
pub(super) fn is_secret_id(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_id_byte)
}

/// Whether a version can be called this: by its number or an alias, of which `latest` is one.
pub(super) fn is_version(version: &str) -> bool {
    match version.as_bytes() {
        [b'1'..=b'9', ..] => {
            version.len() <= MAX_ALIAS && version.bytes().all(|byte| byte.is_ascii_digit())
        }
        [first, ..] => {
            first.is_ascii_alphabetic()
                && version.len() <= MAX_ALIAS
                && version.bytes().all(is_id_byte)
        }
        [] => false,
    }
}

fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// The answer to `versions.access`.
#[derive(Deserialize)]
struct Accessed<'a> {
    #[serde(borrow)]
    payload: Payload<'a>,
}

#[derive(Deserialize)]
struct Payload<'a> {
    /// Absent where the value is empty, as in all JSON that is made of protocol buffers.
    #[serde(borrow, default)]
    data: Cow<'a, str>,
    #[serde(default, rename = "dataCrc32c")]
    checksum: Option<Value>,
}

/// What a version holds.
pub(super) enum Held {
    Text(Secret),
    /// Bytes that are no UTF-8 text.
    Binary,
    /// Other bytes than the server sent.
    Damaged,
}

/// The value in an answer to `versions.access`; `None` where it is no such answer.
pub(super) fn value(body: &[u8]) -> Option<Held> {
    let Accessed { payload } = serde_json::from_slice(body).ok()?;
    let bytes = Zeroizing::new(STANDARD.decode(payload.data.as_bytes()).ok()?);
    if let Some(checksum) = payload.checksum
        && CRC32C.checksum(&bytes) != number(&checksum)?
    {
        return Some(Held::Damaged);
    }
    Some(match std::str::from_utf8(&bytes) {
        Ok(text) => Held::Text(Secret::new(text)),
        Err(_) => Held::Binary,
    })
}

/// A number of 64 bits, which JSON of protocol buffers has as a text.
fn number(value: &Value) -> Option<u32> {
    match value {
        Value::String(text) => text.parse().ok(),
        value => u32::try_from(value.as_u64()?).ok(),
    }
}

/// One page of secrets. A page without any is `{}`, so that other members are what tells another
/// answer from it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed<'a> {
    #[serde(borrow, default)]
    secrets: Vec<Item<'a>>,
    #[serde(default, rename = "nextPageToken")]
    next: String,
    /// Not asked for, but sent by servers that do not know `fields`.
    #[serde(default, rename = "totalSize")]
    _total: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Item<'a> {
    /// `projects/NUMBER/secrets/NAME`.
    #[serde(borrow)]
    name: Cow<'a, str>,
}

/// The short names of one page, and where the next one begins.
pub(super) struct Page {
    pub(super) names: Vec<String>,
    pub(super) next: Option<String>,
}

/// One page of names; `None` where the answer is none.
pub(super) fn page(body: &[u8]) -> Option<Page> {
    // An empty array would be taken for the members in their order, all of them absent.
    body.trim_ascii_start().strip_prefix(b"{")?;
    let listed: Listed<'_> = serde_json::from_slice(body).ok()?;
    let short = |item: &Item<'_>| {
        let (_, name) = item.name.rsplit_once("/secrets/")?;
        is_secret_id(name).then(|| name.to_owned())
    };
    Some(Page {
        names: listed.secrets.iter().map(short).collect::<Option<_>>()?,
        next: Some(listed.next).filter(|next| !next.is_empty()),
    })
}

/// An answer that is no success.
#[derive(Deserialize)]
struct Failure {
    error: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    status: String,
    message: String,
    details: Vec<Detail>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Detail {
    reason: String,
}

/// Why the API refused.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Whether it was the API, and not something on the way to it.
    pub(super) is_of_api: bool,
    /// The words for it, such as `PERMISSION_DENIED` and `SERVICE_DISABLED`.
    pub(super) words: Vec<String>,
    /// The version that was asked for is disabled or destroyed.
    pub(super) is_not_enabled: bool,
}

/// Reads the error of an answer. Its message is not taken over, since it may hold anything.
pub(super) fn refusal(body: &[u8]) -> Refusal {
    let Ok(Failure { error }) = serde_json::from_slice(body) else {
        return Refusal::default();
    };
    // A key of Cloud KMS that is disabled is FAILED_PRECONDITION too, and only the message tells
    // the one from the other.
    let is_not_enabled = error.status == "FAILED_PRECONDITION"
        && ["DISABLED", "DESTROYED"].iter().any(|state| {
            let end = format!("is in {state} state");
            error.message.contains(&end)
        });
    let reasons = error.details.into_iter().map(|detail| detail.reason);
    let words = std::iter::once(error.status).chain(reasons);
    Refusal {
        is_of_api: true,
        words: words.filter(|word| is_word(word)).collect(),
        is_not_enabled,
    }
}

fn is_word(text: &str) -> bool {
    (1..=MAX_WORD).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<Result<String, &'static str>> {
        value(json.as_bytes()).map(|held| match held {
            Held::Text(secret) => Ok(secret.expose().to_owned()),
            Held::Binary => Err("binary"),
            Held::Damaged => Err("damaged"),
        })
    }

    #[test]
    fn knows_names_and_versions() {
        let longest = "x".repeat(255);
        for name in ["a", "A-b_9", "-", &longest] {
            assert!(is_secret_id(name), "{name}");
        }
        let too_long = "x".repeat(256);
        for name in ["", ".", "..", "a.b", "a/b", "a b", "ä", "a\u{0}", &too_long] {
            assert!(!is_secret_id(name), "{name:?}");
        }
        for version in ["latest", "1", "20", "my-alias_2"] {
            assert!(is_version(version), "{version}");
        }
        let too_long = "1".repeat(64);
        for version in [
            "", "0", "01", "-1", "1a", "_a", "..", "1/x", "1:access", "1?a=b", "a#", "a%2f", " 1",
            &too_long,
        ] {
            assert!(!is_version(version), "{version:?}");
        }
    }

    #[test]
    fn a_value_is_text_whose_checksum_is_right() {
        // "hunter2", of which another program made the checksum.
        let right = r#"{"name": "n", "payload": {"data": "aHVudGVyMg==", "dataCrc32c": "CRC"}}"#
            .replace("CRC", &CRC32C.checksum(b"hunter2").to_string());
        assert_eq!(CRC32C.checksum(b"123456789"), 0xe306_9283);
        assert_eq!(read(&right), Some(Ok("hunter2".to_owned())));
        for (json, expected) in [
            (r#"{"payload": {"data": "w6Q="}}"#, Some(Ok("ä".to_owned()))),
            (
                r#"{"payload": {"data": "YQ\u003d\u003d"}}"#,
                Some(Ok("a".to_owned())),
            ),
            (r#"{"payload": {}}"#, Some(Ok(String::new()))),
            (
                r#"{"payload": {"dataCrc32c": "0"}}"#,
                Some(Ok(String::new())),
            ),
            (r#"{"payload": {"data": "/w=="}}"#, Some(Err("binary"))),
            (
                r#"{"payload": {"data": "YQ==", "dataCrc32c": "1"}}"#,
                Some(Err("damaged")),
            ),
            (
                r#"{"payload": {"data": "YQ==", "dataCrc32c": 1}}"#,
                Some(Err("damaged")),
            ),
            (r#"{"payload": {"data": "YQ==", "dataCrc32c": "x"}}"#, None),
            (r#"{"payload": {"data": "YQ==", "dataCrc32c": "-1"}}"#, None),
            (r#"{"payload": {"data": "Y Q"}}"#, None),
            (r#"{"payload": {"data": 1}}"#, None),
            (r#"{"data": "YQ=="}"#, None),
            ("", None),
        ] {
            assert_eq!(read(json), expected, "{json}");
        }
    }

    #[test]
    fn a_page_has_short_names_and_maybe_a_next_one() {
        let read = |json: &str| page(json.as_bytes()).map(|page| (page.names, page.next));
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        for (json, expected) in [
            ("{}", Some((names(&[]), None))),
            (
                r#"{"secrets": [{"name": "projects/1/secrets/a", "etag": "e"}], "totalSize": 1}"#,
                Some((names(&["a"]), None)),
            ),
            (
                r#"{"secrets": [{"name": "projects/1/locations/l/secrets/b"}],
                    "nextPageToken": "t"}"#,
                Some((names(&["b"]), Some("t".to_owned()))),
            ),
            (
                r#"{"secrets": [{"name": "projects/1/secrets/../x"}]}"#,
                None,
            ),
            (r#"{"secrets": [{"name": "a"}]}"#, None),
            (r#"{"items": []}"#, None),
            ("[]", None),
            ("x", None),
        ] {
            assert_eq!(read(json), expected, "{json}");
        }
    }

    #[test]
    fn an_error_gives_its_words_and_nothing_else() {
        let read = |json: &str| refusal(json.as_bytes());
        let of = |words: &[&str], is_not_enabled| Refusal {
            is_of_api: true,
            words: words.iter().map(|&word| word.to_owned()).collect(),
            is_not_enabled,
        };
        for (json, expected) in [
            (
                r#"{"error": {"code": 403, "message": "hunter2", "status": "PERMISSION_DENIED",
                    "details": [{"@type": "t", "reason": "SERVICE_DISABLED"}, {"links": []}]}}"#,
                of(&["PERMISSION_DENIED", "SERVICE_DISABLED"], false),
            ),
            (
                r#"{"error": {"status": "FAILED_PRECONDITION",
                    "message": "Secret Version [v] is in DISABLED state."}}"#,
                of(&["FAILED_PRECONDITION"], true),
            ),
            (
                r#"{"error": {"status": "FAILED_PRECONDITION",
                    "message": "The Cloud KMS key is disabled."}}"#,
                of(&["FAILED_PRECONDITION"], false),
            ),
            (r#"{"error": {"status": "my secret"}}"#, of(&[], false)),
            (r#"{"error": "invalid_grant"}"#, Refusal::default()),
            ("<html>", Refusal::default()),
        ] {
            assert_eq!(read(json), expected, "{json}");
        }
    }
}
