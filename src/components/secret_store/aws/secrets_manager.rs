//! `secretstores.aws.secretmanager`: AWS Secrets Manager.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use aws_sdk_secretsmanager::Client as SdkClient;
use aws_sdk_secretsmanager::config::Builder;
use aws_sdk_secretsmanager::primitives::Blob;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::value::RawValue;

use super::refusal::{Refusal, not_understood, of_answer};
use super::{Account, Client, LeftOut};
use crate::base::secret::Secret;
use crate::components::Error;
use crate::components::metadata::Reader;
use crate::components::secret_store::settings::Settings;
use crate::components::secret_store::{
    RequestMetadata, SecretMap, SecretStore, Secrets, StoreError, bulk, single,
};

const GET: &str = "secretsmanager:GetSecretValue";
const LIST: &str = "secretsmanager:ListSecrets";

/// How many secrets one page of a list has at most (the API's limit).
const PAGE: i32 = 100;
/// How many secrets one read takes at most (the API's limit).
const BATCH: usize = 20;

/// AWS Secrets Manager. Nothing is sent, and no client is made, before the first read.
pub struct SecretsManager {
    client: Client<SdkClient>,
    multi_valued: bool,
}

impl SecretsManager {
    /// Reads the settings of an account, and `multipleKeyValuesPerSecret`.
    pub fn start(
        component: &str,
        reader: &mut Reader<'_>,
        settings: Settings,
    ) -> Result<Self, Error> {
        let account = Account::read(reader, settings)?;
        let make = |config: &_, endpoint: Option<&str>| {
            let mut builder = Builder::from(config);
            if let Some(endpoint) = endpoint {
                builder = builder.endpoint_url(endpoint);
            }
            SdkClient::from_conf(builder.build())
        };
        Ok(Self {
            client: Client::new(component, account, make),
            multi_valued: reader.truthy(&["multipleKeyValuesPerSecret"])?,
        })
    }

    async fn read(
        &self,
        name: &str,
        version: &Version<'_>,
    ) -> Result<Option<Arc<SecretMap>>, Refusal> {
        if !is_name(name) {
            return Ok(None);
        }
        let client = self.client.get().await.map_err(Refusal::Other)?;
        let request = client
            .get_secret_value()
            .secret_id(name)
            .set_version_id(version.id.map(str::to_owned))
            .set_version_stage(version.stage.map(str::to_owned));
        let mut found = request.send().await?;
        let value = Value::of(&mut found.secret_string, &mut found.secret_binary);
        match (found.name, value) {
            (Some(found), Some(value)) if found == name => Ok(Some(self.decoded(name, value))),
            // Another spelling of the name of another secret.
            (Some(found), Some(_)) if found != name => Ok(None),
            _ => Err(not_understood()),
        }
    }

    fn decoded(&self, name: &str, value: Value) -> Arc<SecretMap> {
        let value = value.text();
        let members = self.multi_valued.then(|| members(value.expose())).flatten();
        members.map_or_else(|| single(name, value), Arc::new)
    }

    async fn names(&self) -> Result<Vec<String>, StoreError> {
        let client = self.client.get().await?;
        let mut room = bulk::Room::of(self.client.settings());
        let mut names = Vec::new();
        let mut from = None;
        loop {
            let page = client.list_secrets().max_results(PAGE).set_next_token(from);
            let page = page.send().await;
            let page = page.map_err(|error| Refusal::from(error).of_list(LIST))?;
            let entries = page
                .secret_list
                .ok_or_else(|| not_understood().of_list(LIST))?;
            for name in entries.into_iter().filter_map(|entry| entry.name) {
                room.take(name.len())?;
                names.push(name);
            }
            from = page.next_token.filter(|next| !next.is_empty());
            if from.is_none() {
                return Ok(names);
            }
        }
    }
}

#[async_trait]
impl SecretStore for SecretsManager {
    async fn get(
        &self,
        name: &str,
        metadata: &RequestMetadata,
    ) -> Result<Option<Arc<SecretMap>>, StoreError> {
        let version = Version::of(metadata)?;
        let answer = self.read(name, &version).await;
        self.client
            .told(answer.or_else(|refusal| refusal.into_answer(GET)))
    }

    async fn bulk(&self, _metadata: &RequestMetadata) -> Result<Secrets, StoreError> {
        self.client.told(Bulk::of(self).read().await)
    }

    fn has_multiple_keys(&self) -> bool {
        self.multi_valued
    }
}

/// One bulk read.
struct Bulk<'a> {
    store: &'a SecretsManager,
    left_out: LeftOut,
    /// Whether it was denied to read several secrets at once, which is a permission of its own.
    is_batch_denied: AtomicBool,
}

type Found = (String, Arc<SecretMap>);

impl<'a> Bulk<'a> {
    fn of(store: &'a SecretsManager) -> Self {
        Self {
            store,
            left_out: LeftOut::default(),
            is_batch_denied: AtomicBool::new(false),
        }
    }

    async fn read(&self) -> Result<Secrets, StoreError> {
        let names = self.store.names().await?;
        let batches = names.chunks(BATCH).map(|names| self.batch(names)).collect();
        let secrets = bulk::all(batches, self.store.client.settings()).await?;
        self.store.client.found(secrets, &self.left_out, GET)
    }

    /// Some secrets with one request; one by one those that it did not answer.
    async fn batch(&self, names: &[String]) -> Result<Vec<Found>, StoreError> {
        let mut left: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let mut secrets = Vec::new();
        if !self.is_batch_denied.load(Ordering::Relaxed) {
            match self.request(names).await {
                Ok(answers) => {
                    for (name, answer) in answers {
                        if left.remove(name.as_str()) {
                            let secret = self.left_out.readable(answer)?;
                            secrets.extend(secret.map(|secret| (name, secret)));
                        }
                    }
                }
                Err(Refusal::Denied) => self.is_batch_denied.store(true, Ordering::Relaxed),
                Err(Refusal::Missing) => {}
                Err(Refusal::Other(error)) => return Err(error),
            }
        }
        for name in left {
            let answer = self.store.read(name, &Version::default()).await;
            let secret = self.left_out.readable(answer)?;
            secrets.extend(secret.map(|secret| (name.to_owned(), secret)));
        }
        Ok(secrets)
    }

    async fn request(&self, names: &[String]) -> Result<Vec<(String, Answer)>, Refusal> {
        let client = self.store.client.get().await.map_err(Refusal::Other)?;
        let request = client
            .batch_get_secret_value()
            .set_secret_id_list(Some(names.to_vec()));
        let answer = request.send().await?;
        let mut answers = Vec::with_capacity(names.len());
        for mut entry in answer.secret_values.unwrap_or_default() {
            let value = Value::of(&mut entry.secret_string, &mut entry.secret_binary);
            if let (Some(name), Some(value)) = (entry.name, value) {
                let secret = self.store.decoded(&name, value);
                answers.push((name, Ok(Some(secret))));
            }
        }
        for error in answer.errors.unwrap_or_default() {
            let refusal = of_answer(error.error_code(), error.message(), 200);
            // Named as it was asked for.
            if let Some(name) = error.secret_id {
                answers.push((name, Err(refusal)));
            }
        }
        Ok(answers)
    }
}

type Answer = Result<Option<Arc<SecretMap>>, Refusal>;

/// Whether a secret can have this name. An ARN cannot: one secret would have several names, and
/// scopes judge one.
fn is_name(name: &str) -> bool {
    // The service's own secrets have a `!`.
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+=.@-!".contains(&byte);
    (1..=512).contains(&name.len()) && name.bytes().all(is_allowed)
}

/// Which version of a secret is read: the current one where none is named.
#[derive(Default)]
struct Version<'a> {
    id: Option<&'a str>,
    stage: Option<&'a str>,
}

impl<'a> Version<'a> {
    fn of(metadata: &'a RequestMetadata) -> Result<Self, StoreError> {
        let one = |name: &str, longest: usize| {
            let given = metadata.get(name).map(String::as_str);
            let given = given.filter(|text| !text.is_empty());
            let is_usable = |text: &str| {
                text.len() <= longest && text.bytes().all(|byte| byte.is_ascii_graphic())
            };
            match given {
                Some(text) if !is_usable(text) => Err(StoreError::Failed(format!(
                    "the parameter {name:?} is not 1 to {longest} characters of ASCII, none of \
                     them a space"
                ))),
                given => Ok(given),
            }
        };
        Ok(Self {
            id: one("version_id", 64)?,
            stage: one("version_stage", 256)?,
        })
    }
}

/// The value of a secret as the API has it.
enum Value {
    Text(Secret),
    Binary(Blob),
}

impl Value {
    fn of(text: &mut Option<String>, binary: &mut Option<Blob>) -> Option<Self> {
        let text = text.take().map(|text| Self::Text(Secret::new(text)));
        text.or_else(|| binary.take().map(Self::Binary))
    }

    /// Bytes that are no text come out in base64, since the API of the sidecar carries texts only.
    fn text(self) -> Secret {
        match self {
            Self::Text(text) => text,
            Self::Binary(bytes) => match String::from_utf8(bytes.into_inner()) {
                Ok(text) => Secret::new(text),
                Err(error) => Secret::new(BASE64_STANDARD.encode(error.as_bytes())),
            },
        }
    }
}

/// The members of a JSON object; `None` where the text is anything else. Texts come out as they
/// are, other values as JSON without spaces.
fn members(text: &str) -> Option<SecretMap> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
    let value = |raw: &RawValue| match serde_json::from_str::<String>(raw.get()) {
        Ok(text) => Secret::new(text),
        Err(_) => Secret::new(without_spaces(raw.get())),
    };
    let values = members.into_iter().map(|(key, raw)| (key, value(raw)));
    Some(values.collect())
}

/// JSON without the spaces between its parts. Numbers keep all their digits.
fn without_spaces(json: &str) -> String {
    let (mut is_in_text, mut is_escaped) = (false, false);
    let keep = |letter: &char| {
        let is_space = !is_in_text && letter.is_ascii_whitespace();
        is_in_text ^= *letter == '"' && !is_escaped;
        is_escaped = *letter == '\\' && !is_escaped;
        !is_space
    };
    json.chars().filter(keep).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_what_the_service_calls_a_name() {
        let longest = "x".repeat(512);
        for name in [
            "a",
            "/prod/db",
            "a_b+c=d.e@f-g",
            "rds!cluster-1",
            "..",
            &longest,
        ] {
            assert!(is_name(name), "{name}");
        }
        let too_long = "x".repeat(513);
        for name in [
            "", " ", "a b", "a:b", "ä", "a\0", "a%2fb", "a?b", "a#b", &too_long,
        ] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn only_objects_have_members() {
        let json =
            r#"{"t": "a b", "n": 12345678901234567890.10, "o": {"k": [1, " \" "]}, "z": null}"#;
        let members: Vec<_> = members(json).unwrap().into_iter().collect();
        let members = members
            .iter()
            .map(|(key, value)| (key.as_str(), value.expose()));
        let expected = [
            ("n", "12345678901234567890.10"),
            ("o", r#"{"k":[1," \" "]}"#),
            ("t", "a b"),
            ("z", "null"),
        ];
        assert_eq!(members.collect::<Vec<_>>(), expected);
        for other in ["", "text", "\"text\"", "[1]", "1", "null", "{", "{}x"] {
            assert!(super::members(other).is_none(), "{other}");
        }
        assert_eq!(super::members(" {} ").map(|members| members.len()), Some(0));
    }

    #[test]
    fn bytes_come_out_as_text_or_base64() {
        let text = |bytes: &[u8]| Value::Binary(Blob::new(bytes)).text().expose().to_owned();
        assert_eq!(text("ä".as_bytes()), "ä");
        assert_eq!(text(&[0xff, 0, 0xff]), "/wD/");
        assert_eq!(text(&[]), "");
    }

    proptest! {
        #[test]
        fn spaces_go_and_nothing_else(texts in proptest::collection::btree_map(".*", ".*", 0..5)) {
            let spaced = serde_json::to_string_pretty(&texts).unwrap();
            prop_assert_eq!(without_spaces(&spaced), serde_json::to_string(&texts).unwrap());
        }
    }
}
