//! Stores of secrets.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use crate::base::secret::Secret;

#[cfg(feature = "aws")]
pub mod aws;
#[cfg(feature = "azure")]
pub mod azure;
#[cfg_attr(
    not(all(feature = "aws", feature = "azure", feature = "gcp", feature = "vault")),
    allow(dead_code, reason = "not every store needs all of it")
)]
mod bulk;
mod cache;
#[cfg(feature = "gcp")]
pub mod gcp;
pub mod guarded;
pub mod kubernetes;
pub mod local_env;
pub mod local_file;
pub mod settings;
#[cfg(feature = "vault")]
pub mod vault;

/// A secret: its keys with their values. A store with name/value semantics answers one key, the
/// name of the secret.
pub type SecretMap = BTreeMap<String, Secret>;

/// Secrets by name. A secret is shared, so that a store which holds it already hands it out
/// without a copy.
pub type Secrets = BTreeMap<String, Arc<SecretMap>>;

/// The parameters of one request, such as `version_id` (`metadata.version_id` in the query).
pub type RequestMetadata = BTreeMap<String, String>;

/// A store that could not answer. The text is for operators and goes to the log, not to clients.
/// It holds no piece of an answer, which may be a secret.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// It failed, and would fail again.
    #[error("{0}")]
    Failed(String),
    /// It cannot be reached, is busy, or answered something that a retry may heal.
    #[error("{text}")]
    Unavailable {
        /// Why.
        text: String,
        /// How long the store asks to wait, where it does.
        retry_after: Option<Duration>,
    },
    /// It does not accept the credentials of its component, for whatever secret.
    #[error("{0}")]
    Unauthenticated(String),
    /// It may not list its secrets. Secrets whose names are known may be readable all the same.
    #[error("{0}")]
    ListForbidden(String),
}

/// A store of secrets.
#[async_trait]
pub trait SecretStore: Send + Sync {
    /// One secret; `None` where the store has none of that name.
    async fn get(
        &self,
        name: &str,
        metadata: &RequestMetadata,
    ) -> Result<Option<Arc<SecretMap>>, StoreError>;

    /// The same, never from a cache.
    async fn get_fresh(
        &self,
        name: &str,
        metadata: &RequestMetadata,
    ) -> Result<Option<Arc<SecretMap>>, StoreError> {
        self.get(name, metadata).await
    }

    /// Every secret that the store may read.
    async fn bulk(&self, metadata: &RequestMetadata) -> Result<Secrets, StoreError>;

    /// Waits until one of these secrets may have another value, each with the parameters of its
    /// reads. A store that cannot tell waits for ever; its secrets are read again now and then.
    async fn changed(&self, _secrets: &[(String, RequestMetadata)]) {
        std::future::pending().await
    }

    /// Since when the store has not answered, where it does not.
    fn down_since(&self) -> Option<SystemTime> {
        None
    }

    /// The namespace that a request names, where it is another one than the store's own. What the
    /// app may ask for is decided before the store is read.
    fn foreign_namespace<'a>(&self, _metadata: &'a RequestMetadata) -> Option<&'a str> {
        None
    }

    /// The name under which scopes judge a requested name: the same for all spellings that reach
    /// the same secret.
    fn canonical_name<'a>(&self, name: &'a str) -> Cow<'a, str> {
        Cow::Borrowed(name)
    }

    /// Whether a secret may have several keys (feature `MULTIPLE_KEY_VALUES_PER_SECRET`).
    fn has_multiple_keys(&self) -> bool {
        false
    }
}

/// The one-key secret of a store with name/value semantics.
fn single(name: &str, value: Secret) -> Arc<SecretMap> {
    Arc::new(SecretMap::from([(name.to_owned(), value)]))
}
