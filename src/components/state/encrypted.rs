//! Values that are encrypted before a store has them (`primaryEncryptionKey`).
//!
//! The form is that of Dapr 1.18: `base64(nonce ‖ AES-GCM(value)) || name of the secret`, with a
//! random nonce of 12 bytes and a tag of 16. The name says which key a value is encrypted with:
//! the primary one, or the secondary one of before it was replaced. Keys, ETags and TTLs stay as
//! they are. A value that no key opens is never handed on.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use super::{Feature, Get, Item, Operation, StateError, StateStore};
use crate::components::{ResolvedComponent, ResolvedProperty, metadata};

const PRIMARY: &str = "primaryEncryptionKey";
const SECONDARY: &str = "secondaryEncryptionKey";
/// What stands between a value and the name of its key. Base64 does not have it.
const SEPARATOR: &[u8] = b"||";
/// Where a store keeps the type of a value beside what the request says of it.
const CONTENT_TYPE: &str = "contentType";

/// The keys of a component.
pub(in crate::components) struct Keys {
    primary: Key,
    secondary: Option<Key>,
}

/// A key, and the name of the secret that it is from.
struct Key {
    name: String,
    aes: LessSafeKey,
}

impl Keys {
    /// Takes the keys out of the settings of a component: the store itself gets none.
    pub(in crate::components) fn take(
        component: &ResolvedComponent,
    ) -> Result<(Option<Self>, ResolvedComponent), metadata::Error> {
        let mut rest = component.clone();
        let primary = Key::take(&mut rest, PRIMARY)?;
        let secondary = Key::take(&mut rest, SECONDARY)?;
        let keys = match (primary, secondary) {
            (Some(primary), secondary) => Some(Self { primary, secondary }),
            (None, None) => None,
            // Values would go into the store as they are.
            (None, Some(_)) => {
                return Err(metadata::Error::Missing(
                    "\"secondaryEncryptionKey\" is for values of before; \
                     \"primaryEncryptionKey\" is missing, which encrypts new ones",
                ));
            }
        };
        Ok((keys, rest))
    }

    fn encrypt(&self, value: &[u8]) -> Result<Bytes, StateError> {
        let failed = |_| StateError::Unavailable("a value could not be encrypted".to_owned());
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(failed)?;
        let mut sealed = value.to_vec();
        let Key { name, aes } = &self.primary;
        let unique = Nonce::assume_unique_for_key(nonce);
        aes.seal_in_place_append_tag(unique, Aad::empty(), &mut sealed)
            .map_err(failed)?;
        sealed.splice(..0, nonce);
        let mut text = BASE64.encode(sealed).into_bytes();
        text.extend_from_slice(SEPARATOR);
        text.extend_from_slice(name.as_bytes());
        Ok(text.into())
    }

    /// The value of what is in the store. Errors say nothing of it: it may be a value that was
    /// written before there were keys.
    fn decrypt(&self, stored: &[u8]) -> Result<Bytes, StateError> {
        let refused = |text: &str| StateError::Refused(text.to_owned());
        let unknown = "a value in the store is not encrypted";
        let mut ends = stored.windows(SEPARATOR.len());
        let end = ends.position(|two| two == SEPARATOR);
        let end = end.ok_or_else(|| refused(unknown))?;
        let (sealed, name) = (&stored[..end], &stored[end + SEPARATOR.len()..]);
        let sealed = BASE64.decode(sealed).map_err(|_| refused(unknown))?;
        let keys = [Some(&self.primary), self.secondary.as_ref()];
        let mut named = keys.into_iter().flatten();
        // Both may be of one secret.
        let opened = named
            .by_ref()
            .filter(|key| key.name.as_bytes() == name)
            .find_map(|key| key.open(&sealed));
        opened.ok_or_else(|| {
            refused("a value in the store is encrypted with another key, or was changed")
        })
    }
}

impl Key {
    fn take(
        component: &mut ResolvedComponent,
        name: &'static str,
    ) -> Result<Option<Self>, metadata::Error> {
        let is_it = |property: &mut ResolvedProperty| property.name.eq_ignore_ascii_case(name);
        let mut found = component.properties.extract_if(.., is_it);
        let Some(property) = found.next() else {
            return Ok(None);
        };
        if let Some(second) = found.next() {
            return Err(metadata::Error::Duplicate { name: second.name });
        }
        // In Dapr, what is encrypted with a key of the manifest cannot be read again.
        let Some(secret) = property.secret_name else {
            return Err(metadata::Error::Invalid {
                name,
                accepted: "a reference to a secret (secretKeyRef)",
            });
        };
        // Exposed to the cipher.
        let aes = cipher(property.value.expose()).ok_or(metadata::Error::Invalid {
            name,
            accepted: "a key of AES in hexadecimal digits: 32 of them for AES-128, 64 for AES-256 \
                       (48, for AES-192, are not supported)",
        })?;
        Ok(Some(Self { name: secret, aes }))
    }

    fn open(&self, sealed: &[u8]) -> Option<Bytes> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut value = sealed.to_vec();
        let opened = self.aes.open_in_place(nonce, Aad::empty(), &mut value);
        let length = opened.ok()?.len();
        value.truncate(length);
        Some(value.into())
    }
}

/// A key of hexadecimal digits, with white space around them, as of a file.
fn cipher(digits: &str) -> Option<LessSafeKey> {
    let digits = digits.trim().as_bytes();
    let algorithm = match digits.len() {
        32 => &AES_128_GCM,
        64 => &AES_256_GCM,
        _ => return None,
    };
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let byte = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
    let bytes: Option<Vec<u8>> = digits.chunks_exact(2).map(byte).collect();
    let bytes = Zeroizing::new(bytes?);
    let key = UnboundKey::new(algorithm, &bytes).ok()?;
    Some(LessSafeKey::new(key))
}

/// A store that has encrypted values only.
pub(in crate::components) struct Encrypted {
    inner: Arc<dyn StateStore>,
    keys: Keys,
}

impl Encrypted {
    /// Encrypts what goes into a store.
    pub(in crate::components) fn new(inner: Arc<dyn StateStore>, keys: Keys) -> Self {
        Self { inner, keys }
    }

    fn sealed(&self, mut operation: Operation) -> Result<Operation, StateError> {
        if let Operation::Set(set) = &mut operation {
            set.value = self.keys.encrypt(&set.value)?;
            // What is in the store is of no such type, and no store shall read it as if it were.
            set.content_type = None;
            set.metadata
                .retain(|name, _| !name.eq_ignore_ascii_case(CONTENT_TYPE));
        }
        Ok(operation)
    }

    fn opened(&self, item: Option<Item>) -> Result<Option<Item>, StateError> {
        let open = |item: Item| {
            let value = self.keys.decrypt(&item.value)?;
            Ok(Item { value, ..item })
        };
        item.map(open).transpose()
    }
}

#[async_trait]
impl StateStore for Encrypted {
    fn features(&self) -> &[Feature] {
        self.inner.features()
    }

    async fn get(&self, get: &Get) -> Result<Option<Item>, StateError> {
        self.opened(self.inner.get(get).await?)
    }

    async fn get_all(
        &self,
        gets: &[Get],
        parallelism: usize,
    ) -> Vec<Result<Option<Item>, StateError>> {
        let items = self.inner.get_all(gets, parallelism).await;
        let opened = |item: Result<_, _>| item.and_then(|item| self.opened(item));
        items.into_iter().map(opened).collect()
    }

    async fn write(&self, operation: Operation) -> Result<(), StateError> {
        self.inner.write(self.sealed(operation)?).await
    }

    async fn write_all(&self, operations: Vec<Operation>) -> Vec<Result<(), StateError>> {
        let count = operations.len();
        let sealed: Result<Vec<_>, _> =
            operations.into_iter().map(|one| self.sealed(one)).collect();
        match sealed {
            Ok(operations) => self.inner.write_all(operations).await,
            Err(error) => vec![Err(error); count],
        }
    }

    async fn transact(&self, operations: Vec<Operation>) -> Result<(), StateError> {
        let sealed: Result<Vec<_>, _> =
            operations.into_iter().map(|one| self.sealed(one)).collect();
        self.inner.transact(sealed?).await
    }

    fn most_operations(&self) -> Option<usize> {
        self.inner.most_operations()
    }
}

#[cfg(test)]
mod tests;
