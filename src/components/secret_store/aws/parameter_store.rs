//! `secretstores.aws.parameterstore`: the Parameter Store of AWS Systems Manager.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_ssm::Client as SdkClient;
use aws_sdk_ssm::config::Builder;
use aws_sdk_ssm::types::{Parameter, ParameterStringFilter};

use super::refusal::{Refusal, not_understood};
use super::{Account, Client, LeftOut};
use crate::base::secret::Secret;
use crate::components::Error;
use crate::components::metadata::{self, Reader};
use crate::components::secret_store::settings::Settings;
use crate::components::secret_store::{
    RequestMetadata, SecretMap, SecretStore, Secrets, StoreError, bulk, single,
};

const GET: &str = "ssm:GetParameter";
const GET_SEVERAL: &str = "ssm:GetParameters";
const GET_BY_PATH: &str = "ssm:GetParametersByPath";
const LIST: &str = "ssm:DescribeParameters";

/// How many parameters one page of a list has at most (the API's limit).
const PAGE: i32 = 50;
/// How many values one read takes at most (the API's limit).
const BATCH: usize = 10;

/// The Parameter Store. Nothing is sent, and no client is made, before the first read.
pub struct ParameterStore {
    client: Client<SdkClient>,
    /// What stands before the name of each secret.
    prefix: String,
}

type Found = (String, Arc<SecretMap>);

impl ParameterStore {
    /// Reads the settings of an account, and `prefix`.
    pub fn start(
        component: &str,
        reader: &mut Reader<'_>,
        settings: Settings,
    ) -> Result<Self, Error> {
        let account = Account::read(reader, settings)?;
        let prefix = reader.text(&["prefix"])?.unwrap_or_default();
        // With a letter behind it, it has to be a name.
        if !is_name(&format!("{prefix}x")) {
            return Err(Error::Metadata(metadata::Error::Invalid {
                name: "prefix",
                accepted: "the beginning of names, such as \"/shop/\" or \"shop-\"",
            }));
        }
        let make = |config: &_, endpoint: Option<&str>| {
            let mut builder = Builder::from(config);
            if let Some(endpoint) = endpoint {
                builder = builder.endpoint_url(endpoint);
            }
            SdkClient::from_conf(builder.build())
        };
        Ok(Self {
            client: Client::new(component, account, make),
            prefix: prefix.to_owned(),
        })
    }

    /// One parameter, by its whole name.
    async fn read(&self, name: &str, version: Option<&str>) -> Result<Option<Secret>, Refusal> {
        let client = self.client.get().await.map_err(Refusal::Other)?;
        let selected = version.map_or_else(|| name.to_owned(), |one| format!("{name}:{one}"));
        let request = client.get_parameter().name(selected).with_decryption(true);
        let found = request.send().await?.parameter;
        match found.and_then(named) {
            Some((found, value)) if found == name => Ok(Some(value)),
            // Another spelling of the name of another parameter.
            Some(_) => Ok(None),
            None => Err(not_understood()),
        }
    }

    /// A parameter as a secret, whose name lacks the prefix. `None` for one that has no more name.
    fn secret(&self, name: &str, value: Secret) -> Option<Found> {
        let name = name.strip_prefix(&self.prefix)?;
        (!name.is_empty()).then(|| (name.to_owned(), single(name, value)))
    }

    /// Every parameter below a path, values with them.
    async fn below(&self, path: &str) -> Result<Secrets, StoreError> {
        let client = self.client.get().await?;
        let mut room = bulk::Room::of(self.client.settings());
        let mut secrets = Secrets::new();
        let mut from = None;
        loop {
            let page = client
                .get_parameters_by_path()
                .path(path)
                .recursive(true)
                .with_decryption(true)
                .set_next_token(from);
            let page = page.send().await;
            let page = page.map_err(|error| Refusal::from(error).of_list(GET_BY_PATH))?;
            let understood = || not_understood().of_list(GET_BY_PATH);
            for parameter in page.parameters.ok_or_else(understood)? {
                let (name, value) = named(parameter).ok_or_else(understood)?;
                if let Some((name, secret)) = self.secret(&name, value) {
                    room.take(name.len() + bulk::size(&secret))?;
                    secrets.insert(name, secret);
                }
            }
            from = page.next_token.filter(|next| !next.is_empty());
            if from.is_none() {
                return Ok(secrets);
            }
        }
    }

    /// The whole names of all parameters with the prefix.
    async fn names(&self) -> Result<Vec<String>, StoreError> {
        let client = self.client.get().await?;
        let filter = ParameterStringFilter::builder()
            .key("Name")
            .option("BeginsWith")
            .values(&self.prefix)
            .build()
            .expect("a filter with a key is complete");
        let filters = (!self.prefix.is_empty()).then(|| vec![filter]);
        let mut room = bulk::Room::of(self.client.settings());
        let mut names = Vec::new();
        let mut from = None;
        loop {
            let page = client
                .describe_parameters()
                .set_parameter_filters(filters.clone())
                .max_results(PAGE)
                .set_next_token(from);
            let page = page.send().await;
            let page = page.map_err(|error| Refusal::from(error).of_list(LIST))?;
            let entries = page.parameters;
            let entries = entries.ok_or_else(|| not_understood().of_list(LIST))?;
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

    /// Some parameters with one request; one by one where that is denied.
    async fn batch(&self, names: &[String], out: &LeftOut) -> Result<Vec<Found>, StoreError> {
        let client = self.client.get().await?;
        let request = client
            .get_parameters()
            .set_names(Some(names.to_vec()))
            .with_decryption(true);
        let mut secrets = Vec::new();
        match request.send().await.map_err(Refusal::from) {
            Ok(answer) => {
                // Those that are gone are in a list of their own.
                let mut left: BTreeSet<String> = names.iter().cloned().collect();
                for name in answer.invalid_parameters.unwrap_or_default() {
                    left.remove(&name);
                }
                for parameter in answer.parameters.unwrap_or_default() {
                    if let Some((name, value)) = named(parameter)
                        && left.remove(&name)
                    {
                        secrets.extend(self.secret(&name, value));
                    }
                }
                if !left.is_empty() {
                    return Err(not_understood().of_list(GET_SEVERAL));
                }
            }
            Err(Refusal::Denied) => {
                for name in names {
                    let value = out.readable(self.read(name, None).await)?;
                    secrets.extend(value.and_then(|value| self.secret(name, value)));
                }
            }
            Err(refusal) => return Err(refusal.of_list(GET_SEVERAL)),
        }
        Ok(secrets)
    }

    async fn all(&self) -> Result<Secrets, StoreError> {
        // Only a whole path can be asked for with its values.
        if self.prefix.ends_with('/') {
            let path = self.prefix.trim_end_matches('/');
            return self.below(if path.is_empty() { "/" } else { path }).await;
        }
        let names = self.names().await?;
        let out = LeftOut::default();
        let batches = names.chunks(BATCH).map(|names| self.batch(names, &out));
        let secrets = bulk::all(batches.collect(), self.client.settings()).await?;
        self.client.found(secrets, &out, GET)
    }
}

#[async_trait]
impl SecretStore for ParameterStore {
    async fn get(
        &self,
        name: &str,
        metadata: &RequestMetadata,
    ) -> Result<Option<Arc<SecretMap>>, StoreError> {
        let version = version(metadata)?;
        let whole = format!("{}{name}", self.prefix);
        if name.is_empty() || !is_name(&whole) {
            return Ok(None);
        }
        let answer = self.read(&whole, version).await;
        let answer = answer.or_else(|refusal| refusal.into_answer(GET));
        let value = self.client.told(answer)?;
        Ok(value.map(|value| single(name, value)))
    }

    async fn bulk(&self, _metadata: &RequestMetadata) -> Result<Secrets, StoreError> {
        self.client.told(self.all().await)
    }
}

/// The name and value of a parameter of an answer.
fn named(parameter: Parameter) -> Option<(String, Secret)> {
    Some((parameter.name?, Secret::new(parameter.value?)))
}

/// Whether a parameter can have this whole name. `name:version`, `name:label` and ARNs cannot be
/// names: one parameter would have several, and scopes judge one.
fn is_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/_.-".contains(&byte);
    // A name with levels begins at the first one (Systems Manager's rules for names).
    let (levels, has_form) = match name.strip_prefix('/') {
        Some(path) => (
            path.split('/').count(),
            path.split('/').all(|level| !level.is_empty()),
        ),
        None => (1, !name.is_empty() && !name.contains('/')),
    };
    has_form && levels <= 15 && name.len() <= 1011 && name.bytes().all(is_allowed)
}

/// The version or label of a request: the newest version where none is named.
fn version(metadata: &RequestMetadata) -> Result<Option<&str>, StoreError> {
    let given = metadata.get("version_id").map(String::as_str);
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    match given.filter(|text| !text.is_empty()) {
        Some(text) if text.len() > 100 || !text.bytes().all(is_allowed) => Err(StoreError::Failed(
            "the parameter \"version_id\" is not the number or label of a version".to_owned(),
        )),
        given => Ok(given),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_the_service_calls_a_name() {
        let deepest = "/x".repeat(15);
        for name in ["a", "/a", "/a/b.c_d-e", "a.b", &deepest] {
            assert!(is_name(name), "{name}");
        }
        let too_deep = "/x".repeat(16);
        let too_long = "x".repeat(1012);
        for name in [
            "",
            "/",
            "a/b",
            "/a/",
            "//a",
            "/a//b",
            "a:1",
            "a b",
            "ä",
            "a\0",
            "a%2fb",
            "a*",
            "arn:aws:ssm:eu-west-1:123456789012:parameter/a",
            &too_deep,
            &too_long,
        ] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn a_version_is_a_number_or_a_label() {
        let read = |text: &str| {
            let metadata = [("version_id".to_owned(), text.to_owned())].into();
            version(&metadata)
                .map(|found| found.map(str::to_owned))
                .ok()
        };
        for text in ["1", "prod-1.0_x"] {
            assert_eq!(read(text), Some(Some(text.to_owned())));
        }
        assert_eq!(read(""), Some(None));
        for text in [":1", "1:2", "a b", "a/b", "ä", &"x".repeat(101)] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
