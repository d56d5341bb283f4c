//! `secretstores.gcp.secretmanager`: Secret Manager of Google Cloud, over its REST API.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tokio::sync::OnceCell;
use tracing::warn;

use super::settings::Settings;
use super::{RequestMetadata, SecretMap, SecretStore, Secrets, StoreError, bulk, single};
use crate::components::Error;
use crate::components::http_client::{HttpClient, refused};
use crate::components::metadata::Reader;
use crate::process::tasks::with_causes;
use crate::tls::client::Trust;

mod account;
mod tokens;
mod wire;

use account::Account;
use tokens::Tokens;
use wire::{Held, Refusal};

/// The parameter that names a version by number or alias.
const VERSION_ID: &str = "version_id";
/// The version that is read otherwise.
const LATEST: &str = "latest";
/// How many names one page has.
const PAGE_SIZE: u32 = 1000;
/// Only names are listed: labels and annotations of a secret can be larger than its value.
const LISTED_FIELDS: &str = "nextPageToken,secrets.name";
/// How many secrets are remembered of which something was told.
const MAX_TOLD: usize = 1000;

/// A store in one project.
///
/// Invariant: a name or a version that is put into a path has no character that would need
/// escaping, so that a request reaches the secret that it names or none.
pub struct SecretManager {
    component: String,
    settings: Settings,
    endpoint: String,
    parent: String,
    tokens: Tokens,
    client: OnceCell<HttpClient>,
    /// Secrets of which something was told, so that it is told once.
    told: Mutex<BTreeSet<String>>,
}

impl SecretManager {
    /// Reads the settings. Nothing is sent.
    pub fn start(
        component: &str,
        reader: &mut Reader<'_>,
        settings: Settings,
    ) -> Result<Self, Error> {
        let account = Account::read(component, reader)?;
        Ok(Self {
            component: component.to_owned(),
            settings,
            endpoint: account.endpoint,
            parent: account.parent,
            tokens: Tokens::new(account.credentials, settings.request_timeout),
            client: OnceCell::new(),
            told: Mutex::default(),
        })
    }

    /// The answer to a GET, whatever its status but 401.
    async fn ask(&self, path: &str) -> Result<Response<Bytes>, StoreError> {
        let client = self.client.get_or_try_init(async || {
            let client = HttpClient::new(&Trust::default());
            client.map_err(|error| StoreError::Failed(with_causes(&error)))
        });
        let client = client.await?;
        let mut was_renewed = false;
        loop {
            let authorization = self.tokens.authorization().await?;
            let uri = format!("{}/v1/{}/{path}", self.endpoint, self.parent);
            let mut request = Request::get(uri)
                .body(Bytes::new())
                .map_err(|error| StoreError::Failed(with_causes(&error)))?;
            request.headers_mut().extend(authorization.headers.clone());
            let answer = client.send(request, self.settings.max_answer_bytes).await?;
            if answer.status() != StatusCode::UNAUTHORIZED {
                return Ok(answer);
            }
            self.tokens.refused(&authorization);
            // A token can end before its time. One that was just made is no better when made anew.
            if authorization.is_new || was_renewed {
                let text = told(
                    "Secret Manager does not accept the credentials",
                    &answer,
                    &wire::refusal(answer.body()),
                );
                return Err(StoreError::Unauthenticated(text));
            }
            was_renewed = true;
        }
    }

    /// One version, unless there is none of it.
    async fn version(&self, name: &str, version: &str) -> Result<Option<Held>, StoreError> {
        let path = format!("secrets/{name}/versions/{version}:access");
        let answer = self.ask(&path).await?;
        if answer.status().is_success() {
            let held = wire::value(answer.body()).ok_or_else(not_understood)?;
            if matches!(held, Held::Damaged) {
                return Err(StoreError::Unavailable {
                    text: format!("secret {name:?} was damaged on its way: its checksum is wrong"),
                    retry_after: None,
                });
            }
            return Ok(Some(held));
        }
        let refusal = wire::refusal(answer.body());
        if refusal.is_not_enabled {
            self.tell(name, "Version of a secret is disabled or destroyed");
            return Ok(None);
        }
        if answer.status() == StatusCode::NOT_FOUND && refusal.is_of_api {
            return Ok(None);
        }
        let what = format!("cannot read version {version:?} of secret {name:?}");
        let mut text = told(&what, &answer, &refusal);
        if answer.status() == StatusCode::FORBIDDEN {
            text.push_str(
                "; grant roles/secretmanager.secretAccessor on it to the account of the component, \
                 if it is there at all",
            );
        }
        Err(refused(answer.status(), answer.headers(), text))
    }

    /// The names of all secrets.
    async fn names(&self) -> Result<Vec<String>, StoreError> {
        let mut names = Vec::new();
        let mut room = bulk::Room::of(&self.settings);
        let mut from: Option<String> = None;
        loop {
            let answer = self.ask(&page_path(from.as_deref())).await?;
            if !answer.status().is_success() {
                return Err(list_error(&answer));
            }
            room.take(answer.body().len())?;
            let page = wire::page(answer.body()).ok_or_else(not_understood)?;
            names.extend(page.names);
            from = page.next;
            if from.is_none() {
                return Ok(names);
            }
        }
    }

    /// The latest version as a member of a bulk answer. What is no text is left out there, since
    /// any text in its place would be another value.
    async fn member(&self, name: String) -> Result<Option<(String, Arc<SecretMap>)>, StoreError> {
        match self.version(&name, LATEST).await? {
            Some(Held::Text(value)) => {
                let secret = single(&name, value);
                Ok(Some((name, secret)))
            }
            Some(_) => {
                self.tell(&name, "Left out a secret whose value is no UTF-8 text");
                Ok(None)
            }
            None => Ok(None),
        }
    }

    fn tell(&self, secret: &str, fact: &'static str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < MAX_TOLD && told.insert(secret.to_owned()) {
            warn!(component = self.component, secret, "{fact}");
        }
    }
}

#[async_trait]
impl SecretStore for SecretManager {
    async fn get(
        &self,
        name: &str,
        metadata: &RequestMetadata,
    ) -> Result<Option<Arc<SecretMap>>, StoreError> {
        // No secret has another name, a path or a version with it for example.
        if !wire::is_secret_id(name) {
            return Ok(None);
        }
        let version = metadata.get(VERSION_ID).map(String::as_str);
        let version = version.filter(|version| !version.is_empty());
        let version = version.unwrap_or(LATEST);
        if !wire::is_version(version) {
            return Err(StoreError::Failed(format!(
                "{version:?} is not the number of a version, an alias, or \"latest\""
            )));
        }
        match self.version(name, version).await? {
            Some(Held::Text(value)) => Ok(Some(single(name, value))),
            Some(_) => Err(StoreError::Failed(format!(
                "the value of secret {name:?} is no UTF-8 text"
            ))),
            None => Ok(None),
        }
    }

    async fn bulk(&self, _metadata: &RequestMetadata) -> Result<Secrets, StoreError> {
        let names = self.names().await?;
        bulk::each(names, &self.settings, |name| self.member(name)).await
    }
}

fn page_path(from: Option<&str>) -> String {
    let path = "secrets?".to_owned();
    let start = path.len();
    let mut query = form_urlencoded::Serializer::for_suffix(path, start);
    query.append_pair("pageSize", &PAGE_SIZE.to_string());
    query.append_pair("fields", LISTED_FIELDS);
    if let Some(from) = from {
        query.append_pair("pageToken", from);
    }
    query.finish()
}

fn list_error(answer: &Response<Bytes>) -> StoreError {
    let refusal = wire::refusal(answer.body());
    let text = told("cannot list the secrets of the project", answer, &refusal);
    if answer.status() != StatusCode::FORBIDDEN {
        return refused(answer.status(), answer.headers(), text);
    }
    StoreError::ListForbidden(format!(
        "{text}; grant roles/secretmanager.viewer on the project to the account of the component; \
         or name what the app may read in allowedSecrets of the Configuration, so that each is \
         read by its name"
    ))
}

/// What failed, with the status of the answer and the words of the API for it.
fn told(what: &str, answer: &Response<Bytes>, refusal: &Refusal) -> String {
    let mut text = format!("{what}: the answer is {}", answer.status().as_u16());
    for word in &refusal.words {
        text.push(' ');
        text.push_str(word);
    }
    if !refusal.is_of_api {
        text.push_str(", not from Secret Manager as it seems");
    }
    text
}

/// Without the parser's own words, which may hold a piece of the text.
fn not_understood() -> StoreError {
    StoreError::Failed("the answer of Secret Manager is not understood".to_owned())
}

#[cfg(test)]
mod tests;
