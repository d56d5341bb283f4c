//! Stores of secrets.

use std::borrow::Cow;
use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::base::secret::Secret;

/// A secret: its keys with their values. A store with name/value semantics answers one key, the
/// name of the secret.
pub type SecretMap = BTreeMap<String, Secret>;

/// The parameters of one request, such as `version_id` (`metadata.version_id` in the query).
pub type RequestMetadata = BTreeMap<String, String>;

/// A store that could not answer. The text is for operators and goes to the log, not to clients.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// A store of secrets.
#[async_trait]
pub trait SecretStore: Send + Sync {
    /// One secret; `None` where the store has none of that name.
    async fn get(
        &self,
        name: &str,
        metadata: &RequestMetadata,
    ) -> Result<Option<SecretMap>, StoreError>;

    /// Every secret that the store may read.
    async fn bulk(
        &self,
        metadata: &RequestMetadata,
    ) -> Result<BTreeMap<String, SecretMap>, StoreError>;

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
