//! `configuration.redis`: items are the strings of a database.
//!
//! The strings are those of Dapr: `VALUE`, or `VALUE||VERSION`. What has an empty value, or is no
//! string, is no item.
//!
//! ```text
//! get       → MGET, over the shared connection of the client; of no keys SCAN first
//! subscribe → Following: notices of the server (over a connection of its own) say which keys were
//!             touched, and all are read again now and then, since notices may be off or get lost
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;

use super::{Changes, ConfigurationStore, Item, Items};
use crate::components::message::Metadata;
use crate::components::metadata::Reader;
use crate::components::redis::{Client, Confirm, Repeat, Settings};
use crate::components::{BackendError, Error, ResolvedComponent};
use following::Following;

mod following;
mod notices;
mod touched;

/// What stands between a value and its version.
const SEPARATOR: &str = "||";
/// The most keys of one command.
const TOGETHER: usize = 500;
/// How many keys the server looks at in one step of a search.
const STEP: usize = 1000;
/// The most keys that are read where none are named.
const MOST_KEYS: usize = 10_000;

/// The items of a database.
pub struct RedisItems(Arc<Store>);

/// A value, where the key has one.
type Value = Option<Vec<u8>>;

/// What subscriptions share with it.
struct Store {
    /// The name of the component, for the log.
    name: String,
    client: Client,
    /// Whether the log has been told that notices are off.
    warned: AtomicBool,
}

impl RedisItems {
    /// The database that the metadata of a component names. The server has to be there.
    ///
    /// # Errors
    ///
    /// Settings that cannot be used, and a server that is away or lets nobody in.
    pub async fn start(
        component: &ResolvedComponent,
        reader: &mut Reader<'_>,
    ) -> Result<Self, Error> {
        let client = Client::new(Settings::read(component, reader).await?);
        let client = client.reached().await?;
        Ok(Self(Arc::new(Store {
            name: component.name.clone(),
            client,
            warned: AtomicBool::new(false),
        })))
    }
}

#[async_trait]
impl ConfigurationStore for RedisItems {
    async fn get(&self, keys: &[String], _: &Metadata) -> Result<Items, BackendError> {
        self.0.get(keys).await
    }

    async fn subscribe(
        &self,
        keys: &[String],
        _: &Metadata,
    ) -> Result<Box<dyn Changes>, BackendError> {
        let following = Following::open(Arc::clone(&self.0), keys).await?;
        Ok(Box::new(following))
    }
}

impl Store {
    /// The items of these keys that are there; of no keys, every item.
    async fn get(&self, keys: &[String]) -> Result<Items, BackendError> {
        if keys.is_empty() {
            let keys: Vec<_> = self.keys().await?.into_iter().collect();
            return self.read(&keys).await;
        }
        self.read(keys).await
    }

    async fn read(&self, keys: &[String]) -> Result<Items, BackendError> {
        let mut items = Items::new();
        for some in keys.chunks(TOGETHER) {
            let values = if self.client.is_cluster() {
                self.values_of_cluster(some).await?
            } else {
                let mut command = redis::cmd("MGET");
                command.arg(some);
                self.client.ask(&command, Repeat::Allowed).await?
            };
            let found = some.iter().zip(values).filter_map(|(key, value)| {
                let item = item(&String::from_utf8_lossy(&value?));
                (!item.value.is_empty()).then(|| (key.clone(), item))
            });
            items.extend(found);
        }
        Ok(items)
    }

    /// Values that several servers have.
    async fn values_of_cluster(&self, keys: &[String]) -> Result<Vec<Value>, BackendError> {
        let get = |key: &String| {
            let mut command = redis::cmd("GET");
            command.arg(key);
            (command, Repeat::Allowed)
        };
        let commands: Vec<_> = keys.iter().map(get).collect();
        let answers = self.client.ask_each(&commands, Confirm::Primary).await;
        let values = answers.into_iter().map(|answer| match answer {
            Ok(redis::Value::BulkString(value)) => Ok(Some(value)),
            Ok(_) => Ok(None),
            Err(BackendError::Refused(text)) if text.contains("WRONGTYPE") => Ok(None),
            Err(error) => Err(error),
        });
        values.collect()
    }

    /// All keys of the database that are texts.
    async fn keys(&self) -> Result<BTreeSet<String>, BackendError> {
        if self.client.is_cluster() {
            let text = "a cluster does not list its keys: name those wanted".to_owned();
            return Err(BackendError::Refused(text));
        }
        let mut keys = BTreeSet::new();
        let mut cursor = 0_u64;
        loop {
            let mut command = redis::cmd("SCAN");
            command.arg(cursor).arg("COUNT").arg(STEP);
            let found: Vec<Vec<u8>>;
            (cursor, found) = self.client.ask(&command, Repeat::Allowed).await?;
            keys.extend(
                found
                    .into_iter()
                    .filter_map(|key| String::from_utf8(key).ok()),
            );
            if keys.len() > MOST_KEYS {
                let text =
                    format!("the database has more than {MOST_KEYS} keys: name those wanted");
                return Err(BackendError::Refused(text));
            }
            if cursor == 0 {
                return Ok(keys);
            }
        }
    }
}

/// A value with its version. What follows a second separator is left out, as in Dapr 1.18.
fn item(text: &str) -> Item {
    let mut parts = text.split(SEPARATOR);
    let mut part = || parts.next().unwrap_or_default().to_owned();
    Item {
        value: part(),
        version: part(),
        metadata: Metadata::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_form_of_dapr() {
        for (text, value, version) in [
            ("", "", ""),
            ("v", "v", ""),
            ("v||1", "v", "1"),
            ("v||", "v", ""),
            ("||1", "", "1"),
            ("v||1||x", "v", "1"),
            ("v|1", "v|1", ""),
        ] {
            let item = item(text);
            assert_eq!((&*item.value, &*item.version), (value, version), "{text}");
        }
    }
}
