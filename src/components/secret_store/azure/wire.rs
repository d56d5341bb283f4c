//! What of a vault's answers counts here. Pure.
//!
//! Fewer fields than the SDK's own types are read, so that no copy of a secret is left where nobody
//! wipes it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::config::is_name;
use crate::base::secret::Secret;
use crate::components::secret_store::StoreError;

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The value of a secret; `None` where the answer has none.
pub(super) fn value(answer: &[u8]) -> Option<Secret> {
    // A map and no struct, which an array would do for.
    let fields: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(answer).ok()?;
    let Text(value) = serde_json::from_str(fields.get("value")?.get()).ok()?;
    Some(Secret::new(value))
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    value: Vec<Item<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    /// `https://VAULT/secrets/NAME`.
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(default)]
    attributes: Attributes,
}

#[derive(Default, Deserialize)]
struct Attributes {
    enabled: Option<bool>,
}

/// The names on a page of the list whose secrets are enabled; `None` where it is no such page.
pub(super) fn enabled(page: &[u8]) -> Option<Vec<String>> {
    let page: Page<'_> = serde_json::from_slice(page).ok()?;
    let enabled = |item: &&Item<'_>| item.attributes.enabled != Some(false);
    let names = page.value.iter().filter(enabled).map(|item| {
        let (_, name) = item.id.rsplit_once("/secrets/")?;
        is_name(name).then(|| name.to_owned())
    });
    names.collect()
}

/// An answer of a vault that is no success.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    status: u16,
    /// The innermost code, such as `ForbiddenByRbac`; where the text begins with one, such as
    /// `AKV10032`, that.
    code: Option<String>,
}

#[derive(Deserialize)]
struct Failure {
    error: Detail,
}

#[derive(Deserialize)]
struct Detail {
    code: Option<String>,
    message: Option<String>,
    innererror: Option<Box<Detail>>,
}

impl Refusal {
    pub(super) fn new(status: u16, body: &[u8]) -> Self {
        let failure: Option<Failure> = serde_json::from_slice(body).ok();
        let mut detail = failure.map(|failure| failure.error);
        let mut code = None;
        while let Some(outer) = detail {
            let told = outer.message.as_deref().and_then(code_of_text);
            code = told.or(outer.code).or(code);
            detail = outer.innererror.map(|inner| *inner);
        }
        let is_code = |code: &String| {
            (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        Self {
            status,
            code: code.filter(is_code),
        }
    }

    /// Whether the vault has no such secret, or no such version of it.
    pub(super) fn is_not_found(&self) -> bool {
        self.status == 404 && self.has_code("SecretNotFound")
    }

    /// Whether the secret is switched off, so that it is in no list either.
    pub(super) fn is_disabled(&self) -> bool {
        self.status == 403 && self.has_code("SecretDisabled")
    }

    /// Whether a right is missing. A firewall lets nothing through at all.
    pub(super) fn is_forbidden(&self) -> bool {
        self.status == 403 && !self.is_shut_out()
    }

    fn is_shut_out(&self) -> bool {
        self.has_code("ForbiddenByFirewall") || self.has_code("ForbiddenByConnection")
    }

    fn has_code(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// What it means that the vault did not do what `right` is for.
    pub(super) fn error(&self, cannot: &str, right: &str) -> StoreError {
        let code = self.code.as_deref().unwrap_or("no code");
        let text = format!("{cannot}: {} {code}", self.status);
        if self.status == 401 {
            StoreError::Unauthenticated(text)
        } else if self.is_forbidden() {
            StoreError::Failed(format!(
                "{text}; the identity needs the role \"Key Vault Secrets User\", or the secret \
                 permission \"{right}\" in the vault's access policy"
            ))
        } else if self.is_shut_out() {
            StoreError::Failed(format!("{text}; its firewall does not let this address in"))
        } else {
            StoreError::Failed(text)
        }
    }
}

/// The code with which a text begins, as those about tokens do: `AKV10032: Invalid issuer. …`.
fn code_of_text(text: &str) -> Option<String> {
    let (code, _) = text.split_once(':')?;
    let number = code.strip_prefix("AKV")?;
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_values_that_are_texts() {
        for (answer, expected) in [
            (
                r#"{"id": "x", "value": "v", "tags": {"value": "t"}}"#,
                Some("v"),
            ),
            (r#"{"value": "a\u00fc\n\"b"}"#, Some("aü\n\"b")),
            (r#"{"value": ""}"#, Some("")),
            (r#"{"value": null}"#, None),
            (r#"{"value": 1}"#, None),
            (r#"{"tags": {"value": "t"}}"#, None),
            (r#"["v"]"#, None),
            ("", None),
        ] {
            let value = value(answer.as_bytes());
            assert_eq!(value.as_ref().map(Secret::expose), expected, "{answer}");
        }
    }

    #[test]
    fn reads_the_names_that_are_enabled() {
        let page = br#"{"value": [
            {"id": "https://v/secrets/a", "attributes": {"enabled": true, "created": 1}},
            {"id": "https://v/secrets/off", "attributes": {"enabled": false}},
            {"id": "https:\/\/v\/secrets\/B-1", "managed": true}
        ], "nextLink": null}"#;
        assert_eq!(enabled(page), Some(vec!["a".to_owned(), "B-1".to_owned()]));
        assert_eq!(enabled(br#"{"value": []}"#), Some(Vec::new()));
        for wrong in [
            "",
            "{}",
            r#"{"value": null}"#,
            r#"{"value": [{}]}"#,
            r#"{"value": [{"id": "https://v/keys/a"}]}"#,
            r#"{"value": [{"id": "https://v/secrets/a/0123"}]}"#,
            r#"{"value": [{"id": "https://v/secrets/.."}]}"#,
        ] {
            assert_eq!(enabled(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn finds_the_code_that_says_most() {
        for (body, code) in [
            ("", None),
            ("hunter2", None),
            (r#"{"error": {"code": "Forbidden"}}"#, Some("Forbidden")),
            (
                r#"{"error": {"code": "Forbidden", "message": "m", "innererror":
                    {"code": "AccessDenied", "innererror": null}}}"#,
                Some("AccessDenied"),
            ),
            (
                r#"{"error": {"code": "Unauthorized", "message": "AKV10032: Invalid issuer."}}"#,
                Some("AKV10032"),
            ),
            (r#"{"error": {"code": "a code of many words"}}"#, None),
            (r#"{"error": {"message": "AKVhunter2: x"}}"#, None),
        ] {
            let refusal = Refusal::new(403, body.as_bytes());
            assert_eq!(refusal.code.as_deref(), code, "{body}");
        }
    }

    #[test]
    fn tells_errors_apart() {
        let error = |status, code: &str| {
            let body = format!("{{\"error\": {{\"code\": \"{code}\"}}}}");
            Refusal::new(status, body.as_bytes()).error("no", "get")
        };
        let text = |status, code| error(status, code).to_string();
        assert_eq!(text(400, "BadParameter"), "no: 400 BadParameter");
        assert_eq!(text(404, ""), "no: 404 no code");
        assert_eq!(
            text(403, "ForbiddenByFirewall"),
            "no: 403 ForbiddenByFirewall; its firewall does not let this address in"
        );
        assert!(matches!(error(401, "x"), StoreError::Unauthenticated(_)));
        assert!(matches!(error(403, "x"), StoreError::Failed(_)));
    }
}
