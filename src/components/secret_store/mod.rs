//! Stores of secrets.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::base::secret::Secret;

pub mod kubernetes;
pub mod local_env;
pub mod local_file;

/// A secret: its keys with their values. A store with name/value semantics answers one key, the
/// name of the secret.
pub type SecretMap = BTreeMap<String, Secret>;

/// Secrets by name. A secret is shared, so that a store which holds it already hands it out
/// without a copy.
pub type Secrets = BTreeMap<String, Arc<SecretMap>>;

/// The parameters of one request, such as `version_id` (`metadata.version_id` in the query).
pub type RequestMetadata = BTreeMap<String, String>;

/// A store that could not answer. The text is for operators and goes to the log, not to clients.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It failed.
    #[error("{0}")]
    Failed(String),
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

    /// Every secret that the store may read.
    async fn bulk(&self, metadata: &RequestMetadata) -> Result<Secrets, StoreError>;

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

#[cfg(any(test, feature = "testing"))]
#[expect(clippy::expect_used, reason = "a test may panic")]
pub mod contract {
    //! What every secret store has to do.

    use super::*;

    /// Checks a store that holds exactly `expected`.
    pub async fn holds(store: &dyn SecretStore, expected: &[(&str, &[(&str, &str)])]) {
        let none = RequestMetadata::new();
        let bulk = store.bulk(&none).await.expect("bulk answers");
        let names: Vec<_> = bulk.keys().map(String::as_str).collect();
        let mut expected_names: Vec<_> = expected.iter().map(|(name, _)| *name).collect();
        expected_names.sort_unstable();
        assert_eq!(
            names, expected_names,
            "bulk holds every secret and no other"
        );
        for (name, keys) in expected {
            let single = store.get(name, &none).await.expect("get answers");
            let single = single.unwrap_or_else(|| panic!("{name} is there"));
            assert_eq!(exposed(&single), *keys, "{name}");
            assert_eq!(exposed(&bulk[*name]), *keys, "{name} in bulk");
            let canonical = store.canonical_name(name);
            assert_eq!(
                store.canonical_name(&canonical),
                canonical,
                "canonical is final"
            );
        }
        for missing in ["", " ", "no such secret", "../x", "\u{0}"] {
            let answer = store.get(missing, &none).await.expect("get answers");
            assert!(answer.is_none(), "{missing:?} is not there");
        }
    }

    fn exposed(secret: &SecretMap) -> Vec<(&str, &str)> {
        secret
            .iter()
            .map(|(key, value)| (key.as_str(), value.expose()))
            .collect()
    }
}
