//! Stores of configuration: items that apps read, and are told of when they change.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::BackendError;
use super::message::Metadata;

#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
pub mod seen;

/// An item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// Its value.
    pub value: String,
    /// Its version, in the store's own words; may be empty.
    pub version: String,
    /// What else the store says of it.
    pub metadata: Metadata,
}

/// Items by key.
pub type Items = BTreeMap<String, Item>;

/// A store of configuration.
#[async_trait]
pub trait ConfigurationStore: Send + Sync {
    /// The items of these keys that are there; of no keys, every item.
    async fn get(&self, keys: &[String], metadata: &Metadata) -> Result<Items, BackendError>;

    /// Begins to follow items; of no keys, every item. Changes after this has ended are told.
    async fn subscribe(
        &self,
        keys: &[String],
        metadata: &Metadata,
    ) -> Result<Box<dyn Changes>, BackendError>;
}

/// Changes as they come. Dropped, it follows no more.
#[async_trait]
pub trait Changes: Send {
    /// The items that changed next, however long it takes; one that was deleted is there with an
    /// empty value. After an error this is of no use any more, nor after the future was dropped:
    /// read again, and subscribe again.
    async fn next(&mut self) -> Result<Items, BackendError>;
}
