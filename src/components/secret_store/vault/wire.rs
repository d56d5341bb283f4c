//! What of the server's answers counts here. Pure.
//!
//! Values are taken from the text of the answer as it is, so that numbers keep their digits and no
//! copy of a secret is left where nobody wipes it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::paths::Version;
use crate::base::secret::Secret;
use crate::components::secret_store::SecretMap;

/// An answer of another form. It holds nothing of it, which may be a secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotUnderstood;

impl From<serde_json::Error> for NotUnderstood {
    fn from(_: serde_json::Error) -> Self {
        Self
    }
}

/// What a secret becomes (`vaultValueType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueType {
    /// Its keys, each with its value.
    Map,
    /// One key, the name of the secret, with all of it as JSON.
    Text,
}

#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

/// The secret of an answer; `None` where its version was deleted.
pub(super) fn secret(
    body: &[u8],
    version: Version,
    value_type: ValueType,
    name: &str,
) -> Result<Option<SecretMap>, NotUnderstood> {
    let data = match version {
        Version::One => serde_json::from_slice::<Answer<&RawValue>>(body)?.data,
        Version::Two => {
            let answer: Answer<Answer<&RawValue>> = serde_json::from_slice(body)?;
            answer.data.data
        }
    };
    if data.get() == "null" {
        return Ok(None);
    }
    if !data.get().starts_with('{') {
        return Err(NotUnderstood);
    }
    let secret = match value_type {
        ValueType::Text => SecretMap::from([(name.to_owned(), Secret::new(compact(data.get())))]),
        ValueType::Map => {
            let values: BTreeMap<String, &RawValue> = serde_json::from_str(data.get())?;
            let values = values
                .into_iter()
                .map(|(key, value)| Ok((key, text(value)?)));
            values.collect::<Result<_, NotUnderstood>>()?
        }
    };
    Ok(Some(secret))
}

/// A string as it is meant, and every other value as it is written.
fn text(value: &RawValue) -> Result<Secret, NotUnderstood> {
    let json = value.get();
    if json.starts_with('"') {
        Ok(Secret::new(serde_json::from_str::<String>(json)?))
    } else {
        Ok(Secret::new(compact(json)))
    }
}

/// JSON without the spaces between its parts.
fn compact(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let (mut is_string, mut is_escaped) = (false, false);
    for character in json.chars() {
        if is_string || !character.is_ascii_whitespace() {
            text.push(character);
        }
        if character == '"' && !is_escaped {
            is_string = !is_string;
        }
        is_escaped = character == '\\' && !is_escaped;
    }
    text
}

/// The keys of a list; those of folders have a slash at their end.
pub(super) fn keys(body: &[u8]) -> Result<Vec<String>, NotUnderstood> {
    #[derive(Deserialize)]
    struct Keys {
        keys: Vec<String>,
    }
    let answer: Answer<Keys> = serde_json::from_slice(body)?;
    Ok(answer.data.keys)
}

/// The version of the engine of an answer about a mount; `None` for an engine of another kind.
pub(super) fn engine_version(body: &[u8]) -> Result<Option<Version>, NotUnderstood> {
    #[derive(Deserialize)]
    struct Mount<'a> {
        #[serde(rename = "type")]
        engine: &'a str,
        options: Option<BTreeMap<&'a str, &'a str>>,
    }
    let answer: Answer<Mount<'_>> = serde_json::from_slice(body)?;
    let version = answer.data.options.unwrap_or_default();
    Ok(
        match (answer.data.engine, version.get("version").copied()) {
            // `generic` is the name that version 1 had at first.
            ("kv", None | Some("" | "1")) | ("generic", _) => Some(Version::One),
            ("kv", Some("2")) => Some(Version::Two),
            _ => None,
        },
    )
}

/// A token with what the server said of it when it handed it out or renewed it.
#[derive(Deserialize)]
pub(super) struct Granted {
    client_token: String,
    #[serde(default)]
    lease_duration: u64,
    #[serde(default)]
    pub(super) renewable: bool,
    #[serde(default)]
    token_policies: Option<Vec<String>>,
}

impl Granted {
    pub(super) fn read(body: &[u8]) -> Result<Self, NotUnderstood> {
        #[derive(Deserialize)]
        struct Login {
            auth: Granted,
        }
        let Login { auth } = serde_json::from_slice(body)?;
        Ok(auth)
    }

    /// For how long it is good; `None` for one without an end.
    pub(super) fn lease(&self) -> Option<Duration> {
        seconds(self.lease_duration)
    }

    /// Whether it has a policy that lets it look itself up.
    pub(super) fn can_look_up(&self) -> bool {
        let policies = self.token_policies.iter().flatten();
        let mut policies = policies.map(String::as_str);
        policies.any(|policy| matches!(policy, "default" | "root"))
    }

    pub(super) fn into_token(self) -> Secret {
        Secret::new(self.client_token)
    }
}

/// What a token says of itself.
#[derive(Deserialize)]
pub(super) struct LookedUp {
    #[serde(default)]
    ttl: u64,
    #[serde(default)]
    pub(super) renewable: bool,
}

impl LookedUp {
    pub(super) fn read(body: &[u8]) -> Result<Self, NotUnderstood> {
        let answer: Answer<Self> = serde_json::from_slice(body)?;
        Ok(answer.data)
    }

    /// For how long it is good; `None` for one without an end.
    pub(super) fn lease(&self) -> Option<Duration> {
        seconds(self.ttl)
    }
}

/// A longer lease than this counts as this long, so that its end is a time that a clock has.
const LONGEST: u64 = 10 * 366 * 24 * 60 * 60;

fn seconds(seconds: u64) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds.min(LONGEST)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, version: Version, value_type: ValueType) -> Vec<(String, String)> {
        let secret = secret(body.as_bytes(), version, value_type, "name").unwrap();
        let pair = |(key, value): (String, Secret)| (key, value.expose().to_owned());
        secret.unwrap().into_iter().map(pair).collect()
    }

    #[test]
    fn values_that_are_no_strings_come_as_they_are_written() {
        let values = r#"{"s": "a\u00e4 \"b", "n": 3, "big": 1.50e400, "t": true, "z": null,
            "o": {"a b": [1, "\\\" ", {}], "x": ""}, "": ""}"#;
        let expected = [
            ("", ""),
            ("big", "1.50e400"),
            ("n", "3"),
            ("o", r#"{"a b":[1,"\\\" ",{}],"x":""}"#),
            ("s", "aä \"b"),
            ("t", "true"),
            ("z", "null"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
        let one = format!("{{\"lease_id\": \"\", \"data\": {values}}}");
        assert_eq!(read(&one, Version::One, ValueType::Map), expected);
        let two = format!("{{\"data\": {{\"metadata\": {{}}, \"data\": {values}}}}}");
        assert_eq!(read(&two, Version::Two, ValueType::Map), expected);
        let body = r#"{"data": {"data": {"b": "x y", "a": 1}}}"#;
        let text = [("name".to_owned(), r#"{"b":"x y","a":1}"#.to_owned())];
        assert_eq!(read(body, Version::Two, ValueType::Text), text);
    }

    #[test]
    fn tells_deleted_secrets_from_answers_of_another_form() {
        let two = |body: &str| secret(body.as_bytes(), Version::Two, ValueType::Map, "n");
        assert!(two(r#"{"data": {"data": null}}"#).unwrap().is_none());
        for body in [
            "",
            "[]",
            r#"{"data": null}"#,
            r#"{"data": {"hunter2": "x"}}"#,
            r#"{"data": {"data": "hunter2"}}"#,
            r#"{"data": {"data": {"k": "hunter2"}"#,
        ] {
            assert!(two(body).is_err(), "{body}");
        }
        assert!(keys(br#"{"data": {"hunter2": []}}"#).is_err());
        let found = keys(br#"{"data": {"keys": ["a", "b/"]}}"#);
        assert_eq!(found.unwrap(), ["a", "b/"]);
    }

    #[test]
    fn a_lease_has_an_end_that_a_clock_has() {
        for (ttl, lease) in [(0, None), (60, Some(60)), (u64::MAX, Some(LONGEST))] {
            let body = format!("{{\"data\": {{\"ttl\": {ttl}}}}}");
            let found = LookedUp::read(body.as_bytes()).unwrap();
            assert_eq!(found.lease(), lease.map(Duration::from_secs));
        }
    }

    #[test]
    fn knows_the_version_of_an_engine() {
        for (mount, version) in [
            (
                r#""type": "kv", "options": {"version": "2"}"#,
                Some(Version::Two),
            ),
            (
                r#""type": "kv", "options": {"version": "1"}"#,
                Some(Version::One),
            ),
            (r#""type": "kv", "options": {}"#, Some(Version::One)),
            (r#""type": "kv", "options": null"#, Some(Version::One)),
            (r#""type": "generic""#, Some(Version::One)),
            (r#""type": "kv", "options": {"version": "3"}"#, None),
            (r#""type": "pki", "options": {"version": "2"}"#, None),
        ] {
            let body = format!("{{\"data\": {{{mount}}}}}");
            assert_eq!(engine_version(body.as_bytes()).unwrap(), version, "{mount}");
        }
    }
}
