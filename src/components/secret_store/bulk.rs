//! Bulk reads of stores that hand out one secret at a time.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};

use super::settings::Settings;
use super::{SecretMap, Secrets, StoreError};

/// How many secrets are read at once.
const AT_ONCE: usize = 8;

/// Reads the secrets of these names, several at once. One that is gone is left out, as in a list;
/// any other failure ends the whole. So does what is larger than `maxBulkSize`.
pub(super) async fn each<F>(
    names: Vec<String>,
    settings: &Settings,
    read: impl Fn(String) -> F,
) -> Result<Secrets, StoreError>
where
    F: Future<Output = Result<Option<(String, Arc<SecretMap>)>, StoreError>> + Send,
{
    let reads = names.into_iter().map(read).collect();
    all(reads, settings).await
}

/// What these reads find, several at once. The first failure ends the whole.
pub(super) async fn all<F, S>(reads: Vec<F>, settings: &Settings) -> Result<Secrets, StoreError>
where
    F: Future<Output = Result<S, StoreError>> + Send,
    S: IntoIterator<Item = (String, Arc<SecretMap>)>,
{
    let at_once = AT_ONCE.min(settings.max_concurrent_requests);
    let mut reads = stream::iter(reads).buffer_unordered(at_once);
    let mut secrets = Secrets::new();
    let mut room = Room::of(settings);
    while let Some(found) = reads.next().await {
        for (name, secret) in found? {
            room.take(name.len() + size(&secret))?;
            secrets.insert(name, secret);
        }
    }
    Ok(secrets)
}

/// What is left of `maxBulkSize`.
pub(super) struct Room<'a> {
    bytes: usize,
    settings: &'a Settings,
}

impl<'a> Room<'a> {
    pub(super) fn of(settings: &'a Settings) -> Self {
        Self {
            bytes: settings.max_bulk_bytes,
            settings,
        }
    }

    pub(super) fn take(&mut self, bytes: usize) -> Result<(), StoreError> {
        let left = self.bytes.checked_sub(bytes);
        self.bytes = left.ok_or_else(|| too_large(self.settings))?;
        Ok(())
    }
}

/// The error of a bulk read above its limit.
pub(super) fn too_large(settings: &Settings) -> StoreError {
    StoreError::Failed(format!(
        "all its secrets together have more than {} bytes (\"maxBulkSize\"); read them by name",
        settings.max_bulk_bytes
    ))
}

/// The bytes of the keys and values of a secret.
pub(super) fn size(secret: &SecretMap) -> usize {
    secret
        .iter()
        .map(|(key, value)| key.len() + value.expose().len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;
    use crate::components::secret_store::single;

    #[tokio::test]
    async fn leaves_out_what_is_gone_and_stops_at_the_limit() {
        let settings = |max_bulk_bytes| Settings {
            max_bulk_bytes,
            ..Settings::default()
        };
        let names = || ["a", "b", "gone"].map(str::to_owned).to_vec();
        let read = async |name: String| {
            let secret = single(&name, Secret::new("12345"));
            Ok((name != "gone").then_some((name, secret)))
        };
        // Two names, each also as a key, and two values.
        let found = each(names(), &settings(14), read).await.unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["a", "b"]);
        let error = each(names(), &settings(13), read).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "all its secrets together have more than 13 bytes (\"maxBulkSize\"); read them by name"
        );
        let fails = async |_: String| Err(StoreError::Failed("no".to_owned()));
        assert!(each(names(), &settings(14), fails).await.is_err());
    }
}
