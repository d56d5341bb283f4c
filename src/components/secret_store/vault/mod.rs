//! `secretstores.hashicorp.vault`: the KV engines of HashiCorp Vault and OpenBao, versions 1 and 2.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http::{Response, StatusCode};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tracing::warn;

use self::fields::Fields;
use self::paths::{Place, Version, escaped};
use self::server::{Call, Server};
use self::tokens::Tokens;
use self::trust::Roots;
use self::wire::{NotUnderstood, ValueType};
use super::settings::Settings;
use super::{RequestMetadata, SecretMap, SecretStore, Secrets, StoreError, bulk};
use crate::components::Error;
use crate::components::metadata::Reader;
use crate::process::tasks::with_causes;
use crate::tls::client::client_config;

mod credentials;
mod fields;
mod paths;
mod server;
mod tokens;
mod trust;
mod wire;

/// The parameter of a request that names a version of a secret.
const VERSION_ID: &str = "version_id";
/// How many lists are read at once.
const LISTS_AT_ONCE: usize = 8;
/// How deep folders are listed.
const MAX_DEPTH: usize = 32;
/// How many names one bulk read may have.
const MAX_NAMES: usize = 100_000;

/// The secrets of a KV engine. Nothing is sent, and no client is made, before the first read.
pub struct Vault {
    server: Arc<Server>,
    tokens: Arc<Tokens>,
    place: Place,
    version: OnceLock<Version>,
    value_type: ValueType,
    settings: Settings,
    // Ends with the store.
    _renewal: JoinSet<()>,
}

impl Vault {
    /// Reads the settings of a component of this name.
    pub async fn start(
        component: &str,
        reader: &mut Reader<'_>,
        settings: Settings,
    ) -> Result<Self, Error> {
        let fields = Fields::read(reader)?;
        if fields.trust.skip_verification {
            warn!(
                component,
                "\"skipVerify\" is on: whoever can take over the address gets token and secrets"
            );
        }
        let trust = fields.trust.read().await.map_err(Error::Init)?;
        if fields.trust.roots != Roots::System || trust.server_name.is_some() {
            client_config(&trust).map_err(|error| Error::Init(with_causes(&error)))?;
        }
        let server = Arc::new(Server {
            address: fields.address,
            namespace: fields.namespace,
            trust: fields.trust,
            max_answer_bytes: settings.max_answer_bytes,
            client: OnceCell::new(),
        });
        let tokens = Tokens::new(Arc::clone(&server), fields.credentials, component);
        let tokens = Arc::new(tokens);
        let mut renewal = JoinSet::new();
        renewal.spawn(Arc::clone(&tokens).keep());
        Ok(Self {
            server,
            tokens,
            place: fields.place,
            version: fields.version.map(OnceLock::from).unwrap_or_default(),
            value_type: fields.value_type,
            settings,
            _renewal: renewal,
        })
    }

    /// The answer to a read, with a token that is alive. 403 then means that a policy denies it.
    async fn answer(&self, path: &str) -> Result<Response<Bytes>, StoreError> {
        let mut session = self.tokens.session().await?;
        let mut answer = self.server.send(&Call::get(path, &session.token)).await?;
        if answer.status() == StatusCode::FORBIDDEN
            && let Some(other) = self.tokens.after_refusal(&session).await?
        {
            session = other;
            answer = self.server.send(&Call::get(path, &session.token)).await?;
        }
        if answer.status() != StatusCode::FORBIDDEN {
            session.accepted();
        }
        Ok(answer)
    }

    /// The version of the engine. One that may not be known is taken for 2, and asked for again
    /// with the next read.
    async fn version(&self) -> Result<Version, StoreError> {
        if let Some(version) = self.version.get() {
            return Ok(*version);
        }
        let engine = &self.place.engine;
        let path = format!("sys/internal/ui/mounts/{engine}");
        let answer = self.answer(&path).await?;
        match answer.status() {
            StatusCode::OK => {
                let version = wire::engine_version(answer.body()).map_err(not_understood)?;
                let version = version.ok_or_else(|| {
                    let text = format!("the engine at {engine:?} (\"enginePath\") is no KV engine");
                    StoreError::Failed(text)
                })?;
                Ok(*self.version.get_or_init(|| version))
            }
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Ok(Version::Two),
            status => Err(StoreError::Failed(format!(
                "the server answered {status} when it was asked for the version of the engine \
                 at {engine:?}; give it with \"engineVersion\""
            ))),
        }
    }

    /// The secret of a name.
    async fn secret(
        &self,
        name: &str,
        version_id: Option<u32>,
    ) -> Result<Option<Arc<SecretMap>>, StoreError> {
        let Some(escaped) = escaped(name) else {
            return Ok(None);
        };
        let version = self.version().await?;
        let mut path = self.place.secret(version, &escaped);
        match (version, version_id) {
            (Version::Two, Some(number)) => path.push_str(&format!("?version={number}")),
            (Version::One, Some(_)) => {
                return Err(StoreError::Failed(format!(
                    "{VERSION_ID:?} cannot be given: a KV engine of version 1 keeps one version"
                )));
            }
            (_, None) => {}
        }
        let answer = self.answer(&path).await?;
        match answer.status() {
            StatusCode::OK => {
                let secret = wire::secret(answer.body(), version, self.value_type, name);
                Ok(secret.map_err(not_understood)?.map(Arc::new))
            }
            StatusCode::NOT_FOUND => self.nothing_there(&answer).map(|()| None),
            StatusCode::FORBIDDEN => Err(StoreError::Failed(denied(&path, "read"))),
            status => Err(StoreError::Failed(format!(
                "cannot read {name:?}: the server answered {status}"
            ))),
        }
    }

    /// A 404 means that nothing is there, but where it is about the whole engine.
    fn nothing_there(&self, answer: &Response<Bytes>) -> Result<(), StoreError> {
        let no_route = b"no handler for route";
        let body = answer.body();
        if body
            .windows(no_route.len())
            .any(|window| window == no_route)
        {
            let engine = &self.place.engine;
            let text = format!("no engine is mounted at {engine:?} (\"enginePath\")");
            return Err(StoreError::Failed(text));
        }
        Ok(())
    }

    /// The names of all secrets below the prefix.
    async fn names(&self, version: Version) -> Result<Vec<String>, StoreError> {
        let mut names = Vec::new();
        let mut folders = vec![String::new()];
        for _ in 0..MAX_DEPTH {
            if folders.is_empty() {
                return Ok(names);
            }
            let lists = folders.into_iter().map(|folder| self.list(version, folder));
            let mut lists = stream::iter(lists).buffer_unordered(LISTS_AT_ONCE);
            let mut below = Vec::new();
            while let Some(found) = lists.next().await {
                for name in found? {
                    let folder = name.strip_suffix('/');
                    // No other name can be read.
                    if escaped(folder.unwrap_or(&name)).is_none() {
                        continue;
                    }
                    if names.len() + below.len() == MAX_NAMES {
                        let text = format!("there are more than {MAX_NAMES} secrets and folders");
                        return Err(StoreError::Failed(text));
                    }
                    if folder.is_some() {
                        &mut below
                    } else {
                        &mut names
                    }
                    .push(name);
                }
            }
            folders = below;
        }
        Err(StoreError::Failed(format!(
            "there are folders more than {MAX_DEPTH} deep"
        )))
    }

    /// The names directly in a folder, each with the folder before it.
    async fn list(&self, version: Version, folder: String) -> Result<Vec<String>, StoreError> {
        let path = folder.strip_suffix('/').and_then(escaped);
        let path = path.map(|path| format!("{path}/")).unwrap_or_default();
        let path = format!("{}?list=true", self.place.list(version, &path));
        let answer = self.answer(&path).await?;
        match answer.status() {
            StatusCode::OK => {
                let keys = wire::keys(answer.body()).map_err(not_understood)?;
                Ok(keys.iter().map(|key| format!("{folder}{key}")).collect())
            }
            StatusCode::NOT_FOUND => self.nothing_there(&answer).map(|()| Vec::new()),
            StatusCode::FORBIDDEN => Err(StoreError::ListForbidden(denied(&path, "list"))),
            status => Err(StoreError::Failed(format!(
                "cannot list the secrets: the server answered {status}"
            ))),
        }
    }
}

#[async_trait]
impl SecretStore for Vault {
    async fn get(
        &self,
        name: &str,
        metadata: &RequestMetadata,
    ) -> Result<Option<Arc<SecretMap>>, StoreError> {
        self.secret(name, version_id(metadata)?).await
    }

    async fn bulk(&self, metadata: &RequestMetadata) -> Result<Secrets, StoreError> {
        let version_id = version_id(metadata)?;
        let version = self.version().await?;
        let names = self.names(version).await?;
        bulk::each(names, &self.settings, async |name: String| {
            let secret = self.secret(&name, version_id).await?;
            Ok(secret.map(|secret| (name, secret)))
        })
        .await
    }

    fn has_multiple_keys(&self) -> bool {
        self.value_type == ValueType::Map
    }
}

/// The version that a request names. Zero is the newest, as for the server.
fn version_id(metadata: &RequestMetadata) -> Result<Option<u32>, StoreError> {
    let Some(text) = metadata.get(VERSION_ID).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let number = text.parse().ok();
    // The server reads a number with a sign.
    let number = number.filter(|number| i32::try_from(*number).is_ok());
    number
        .map(|number: u32| (number > 0).then_some(number))
        .ok_or_else(|| StoreError::Failed(format!("{VERSION_ID:?} is not a whole number from 0")))
}

/// What to do about a read that the policies of the token deny.
fn denied(path: &str, capability: &str) -> String {
    let path = path.split('?').next().unwrap_or(path);
    let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
    format!(
        "the policies of the token deny it; one that allows it has: path {path:?} \
         {{ capabilities = [{capability:?}] }}"
    )
}

/// Without the parser's own words, which may hold a piece of the text.
fn not_understood(_: NotUnderstood) -> StoreError {
    StoreError::Failed("the server's answer is not understood".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::contract::component;

    async fn start(properties: &[(&str, &str)]) -> Result<Vault, String> {
        let properties = [properties, &[("vaultToken", "t")]].concat();
        let component = component("secretstores.hashicorp.vault", &properties);
        let mut reader = Reader::new(&component).unwrap();
        let started = Vault::start("c", &mut reader, Settings::default()).await;
        started.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn certificates_that_cannot_be_used_are_an_error_at_start() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().to_str().unwrap();
        let no_certificate = "the CA certificates hold no certificate in PEM form";
        for (properties, expected) in [
            (&[("caPem", "hunter2")][..], no_certificate),
            (&[("caPath", folder)], no_certificate),
            (
                &[("caCert", "/nowhere/ca.pem")],
                "cannot read CA certificates \"/nowhere/ca.pem\"",
            ),
        ] {
            let error = start(properties).await.err().unwrap();
            assert!(error.starts_with(expected), "{error}");
        }
        let skips = start(&[("skipVerify", "on"), ("tlsServerName", "v")]).await;
        assert!(skips.unwrap().server.client.get().is_none());
    }

    #[test]
    fn a_denied_read_names_the_rule_that_allows_it() {
        assert_eq!(
            denied("secret/data/dapr/a%20%3F?version=1", "read"),
            "the policies of the token deny it; one that allows it has: path \
             \"secret/data/dapr/a ?\" { capabilities = [\"read\"] }"
        );
    }
}
