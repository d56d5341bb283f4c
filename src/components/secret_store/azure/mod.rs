//! `secretstores.azure.keyvault`: the secrets of a vault of Azure Key Vault.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_security_keyvault_secrets::SecretClient;
use azure_security_keyvault_secrets::SecretClientOptions;
use azure_security_keyvault_secrets::models::{
    SecretClientGetSecretOptions, SecretClientListSecretPropertiesOptions,
};
use futures_util::StreamExt as _;
use tokio::sync::OnceCell;

use self::config::{Config, is_name};
use self::credential::Credentials;
use self::transport::{Destination, Road, cause};
use self::ways::Way;
use self::wire::Refusal;
use super::settings::Settings;
use super::{RequestMetadata, SecretMap, SecretStore, Secrets, StoreError, bulk, single};
use crate::base::environment::Environment;
use crate::components::Error;
use crate::components::catalog::Host;
use crate::components::http_client::HttpClient;
use crate::components::metadata::Reader;
use crate::process::tasks::with_causes;
use crate::tls::client::Trust;

mod certificate;
mod command_line;
mod config;
mod credential;
mod transport;
mod ways;
mod wire;

/// The parameter of a read that names a version.
const VERSION: &str = "version_id";
/// How long versions are, in hexadecimal digits.
const VERSION_DIGITS: usize = 32;
/// The parameter of a bulk read that says how many secrets a page of the list has.
const PAGE_SIZE: &str = "maxresults";
/// The most that a vault takes for it.
const MAX_PAGE: i32 = 25;

/// The secrets of a vault. Nothing is sent, and no client is made, before the first read.
pub struct KeyVault {
    settings: Settings,
    config: Config,
    environment: Environment,
    client: OnceCell<SecretClient>,
}

/// What a vault has to say of a secret.
enum Answer {
    Secret(Arc<SecretMap>),
    Missing,
    Forbidden(StoreError),
}

impl KeyVault {
    /// Reads the settings, and the certificate where there is one.
    pub async fn start(
        reader: &mut Reader<'_>,
        host: Host<'_>,
        settings: Settings,
    ) -> Result<Self, Error> {
        let config = Config::read(reader, host.environment)?;
        for way in &config.ways {
            if let Way::Certificate {
                source, password, ..
            } = way
            {
                let loaded = credential::load(source, password).await;
                loaded.map_err(|error| Error::Init(error.to_string()))?;
            }
        }
        Ok(Self {
            settings,
            config,
            environment: host.environment.clone(),
            client: OnceCell::new(),
        })
    }

    async fn client(&self) -> Result<&SecretClient, StoreError> {
        let made = self.client.get_or_try_init(async || {
            let client = HttpClient::new(&Trust::default());
            let client = client.map_err(|error| StoreError::Failed(with_causes(&error)))?;
            let road = Road {
                client: client.clone(),
                limit: self.settings.max_answer_bytes,
                to: Destination::Vault(self.config.vault.clone()),
            };
            let options = SecretClientOptions {
                client_options: road.options(),
                // The credentials look at what the vault asks for, and are stricter.
                verify_challenge_resource: Some(false),
                ..SecretClientOptions::default()
            };
            let (config, environment) = (self.config.clone(), self.environment.clone());
            let credentials = Arc::new(Credentials::new(config, environment, client));
            let endpoint = self.config.vault.for_sdk();
            SecretClient::new(endpoint.as_str(), credentials, Some(options))
                .map_err(|_| StoreError::Failed("no client can be made".to_owned()))
        });
        made.await
    }

    async fn read(&self, name: &str, version: Option<&str>) -> Result<Answer, StoreError> {
        let options = SecretClientGetSecretOptions {
            secret_version: version.map(str::to_owned),
            ..SecretClientGetSecretOptions::default()
        };
        let answer = self.client().await?.get_secret(name, Some(options)).await;
        let body = match answer {
            Ok(answer) => answer.into_body(),
            Err(error) => return self.no_secret(name, &error),
        };
        let value = wire::value(&body).ok_or_else(not_understood)?;
        Ok(Answer::Secret(single(name, value)))
    }

    fn no_secret(&self, name: &str, error: &azure_core::Error) -> Result<Answer, StoreError> {
        let refusal = refusal(error)?;
        if refusal.is_not_found() || refusal.is_disabled() {
            return Ok(Answer::Missing);
        }
        let vault = self.config.vault.host();
        let cannot = format!("the vault {vault:?} does not hand out the secret {name:?}");
        let error = refusal.error(&cannot, "get");
        if refusal.is_forbidden() {
            Ok(Answer::Forbidden(error))
        } else {
            Err(error)
        }
    }

    async fn names(&self, page_size: Option<i32>) -> Result<Vec<String>, StoreError> {
        let options = SecretClientListSecretPropertiesOptions {
            maxresults: page_size,
            ..SecretClientListSecretPropertiesOptions::default()
        };
        let pager = self.client().await?.list_secret_properties(Some(options));
        let mut pages = pager.map_err(|_| not_understood())?.into_pages();
        let mut names = Vec::new();
        let mut room = bulk::Room::of(&self.settings);
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.no_list(&error))?.into_body();
            for name in wire::enabled(&page).ok_or_else(not_understood)? {
                room.take(name.len())?;
                names.push(name);
            }
        }
        Ok(names)
    }

    fn no_list(&self, error: &azure_core::Error) -> StoreError {
        let vault = self.config.vault.host();
        let cannot = format!("the vault {vault:?} does not list its secrets");
        match refusal(error) {
            Err(error) => error,
            Ok(refusal) if refusal.is_forbidden() => {
                StoreError::ListForbidden(refusal.error(&cannot, "list").to_string())
            }
            Ok(refusal) => refusal.error(&cannot, "list"),
        }
    }
}

#[async_trait]
impl SecretStore for KeyVault {
    async fn get(
        &self,
        name: &str,
        metadata: &RequestMetadata,
    ) -> Result<Option<Arc<SecretMap>>, StoreError> {
        let version = version(metadata)?;
        // No secret has another name, and of these no other URL can be made.
        if !is_name(name) {
            return Ok(None);
        }
        match self.read(name, version).await? {
            Answer::Secret(secret) => Ok(Some(secret)),
            Answer::Missing => Ok(None),
            Answer::Forbidden(error) => Err(error),
        }
    }

    /// Secrets that may not be read are left out: with roles for single secrets, a list still has
    /// all names. Where none may be read, that is the error.
    async fn bulk(&self, metadata: &RequestMetadata) -> Result<Secrets, StoreError> {
        let names = self.names(page_size(metadata)?).await?;
        let forbidden = OnceLock::new();
        let secrets = bulk::each(names, &self.settings, async |name: String| {
            match self.read(&name, None).await? {
                Answer::Secret(secret) => Ok(Some((name, secret))),
                Answer::Missing => Ok(None),
                Answer::Forbidden(error) => {
                    forbidden.get_or_init(|| error);
                    Ok(None)
                }
            }
        });
        let secrets = secrets.await?;
        match forbidden.into_inner() {
            Some(error) if secrets.is_empty() => Err(error),
            _ => Ok(secrets),
        }
    }

    /// A vault does not look at the case of a name.
    fn canonical_name<'a>(&self, name: &'a str) -> Cow<'a, str> {
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        }
    }
}

fn version(metadata: &RequestMetadata) -> Result<Option<&str>, StoreError> {
    let version = metadata.get(VERSION).map(String::as_str);
    let Some(version) = version.filter(|version| !version.is_empty()) else {
        return Ok(None);
    };
    let is_version =
        version.len() == VERSION_DIGITS && version.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_version {
        return Err(StoreError::Failed(format!(
            "{version:?} is no {VERSION}, which has {VERSION_DIGITS} hexadecimal digits"
        )));
    }
    Ok(Some(version))
}

fn page_size(metadata: &RequestMetadata) -> Result<Option<i32>, StoreError> {
    let size = metadata.get(PAGE_SIZE).filter(|size| !size.is_empty());
    let Some(size) = size else {
        return Ok(None);
    };
    let number = size
        .parse()
        .ok()
        .filter(|size| (1..=MAX_PAGE).contains(size));
    number.map(Some).ok_or_else(|| {
        StoreError::Failed(format!(
            "{size:?} is no {PAGE_SIZE}, a number from 1 to {MAX_PAGE}"
        ))
    })
}

/// What the vault answered; an error where it did not, or not as a vault does.
fn refusal(error: &azure_core::Error) -> Result<Refusal, StoreError> {
    if let Some(own) = cause::<StoreError>(error) {
        return Err(own.clone());
    }
    match error.kind() {
        ErrorKind::HttpResponse {
            status,
            raw_response,
            ..
        } => {
            let body = raw_response.as_ref().map(|raw| raw.body().as_ref());
            Ok(Refusal::new(u16::from(*status), body.unwrap_or_default()))
        }
        _ => Err(not_understood()),
    }
}

/// Without the parser's own words, which may hold a piece of the text.
fn not_understood() -> StoreError {
    StoreError::Failed("the answer of the vault is no secret or list of secrets".to_owned())
}
