//! Stores of state: values under keys.
//!
//! All stores keep one contract, which `testing::state_contract` holds each of them to.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use super::BackendError;
use super::message::Metadata;
use crate::base::timestamp::rfc3339;
use key_prefix::KeyPrefix;

pub(in crate::components) mod encrypted;
pub mod etag;
pub mod in_memory;
pub mod key_prefix;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub(super) mod unserved;

pub use etag::ETag;

/// How old an answer may be, and how many replicas a write waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// A replica that is behind may answer; one server has the write.
    #[default]
    Eventual,
    /// The answer holds every write before it.
    Strong,
}

/// When a write counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Whatever is there.
    #[default]
    Always,
    /// Where the key has no value (first-write without an ETag).
    Absent,
    /// Where the value is still the one with this ETag.
    Matches(ETag),
}

/// How long a value stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ttl {
    /// As long as the component says, which is for ever where it says nothing.
    #[default]
    OfStore,
    /// Until it is deleted.
    Forever,
    /// So many seconds, at least one.
    Seconds(u32),
}

/// A key to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Get {
    /// As it is in the store, with its prefix.
    pub key: String,
    /// How old the answer may be.
    pub consistency: Consistency,
    /// What the request says beside.
    pub metadata: Metadata,
}

/// A value to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// As it is in the store, with its prefix.
    pub key: String,
    /// Any bytes.
    pub value: Bytes,
    /// Its type, where the request names one.
    pub content_type: Option<String>,
    /// When it counts.
    pub condition: Condition,
    /// How long it stays.
    pub ttl: Ttl,
    /// How many replicas have it when this ends.
    pub consistency: Consistency,
    /// What the request says beside.
    pub metadata: Metadata,
}

/// A key to delete. One that is not there is deleted already, unless an ETag is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// As it is in the store, with its prefix.
    pub key: String,
    /// When it counts.
    pub condition: Condition,
    /// How many replicas know when this ends.
    pub consistency: Consistency,
    /// What the request says beside.
    pub metadata: Metadata,
}

/// A write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Of a value.
    Set(Set),
    /// Of nothing in the place of a value.
    Delete(Delete),
}

impl Operation {
    /// Its key, as it is in the store.
    pub fn key(&self) -> &str {
        match self {
            Self::Set(set) => &set.key,
            Self::Delete(delete) => &delete.key,
        }
    }

    /// When it counts.
    pub fn condition(&self) -> &Condition {
        match self {
            Self::Set(set) => &set.condition,
            Self::Delete(delete) => &delete.condition,
        }
    }

    /// How many replicas know of it when it ends.
    pub fn consistency(&self) -> Consistency {
        match self {
            Self::Set(set) => set.consistency,
            Self::Delete(delete) => delete.consistency,
        }
    }
}

/// A value that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The bytes that were written.
    pub value: Bytes,
    /// Changes with every write.
    pub etag: Option<ETag>,
    /// Its type, where the store knows it.
    pub content_type: Option<String>,
    /// What the store says beside, such as `ttlExpireTime`, in RFC 3339.
    pub metadata: Metadata,
}

/// The metadata of a value that ends by itself.
pub(crate) fn ends_at(end: SystemTime) -> Metadata {
    Metadata::from([("ttlExpireTime".to_owned(), rfc3339(end))])
}

/// A store that did not do what it was asked for. Texts are for operators and go to the log, not
/// to clients. They hold no address with a password in it, and no value.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum StateError {
    /// The condition of a write does not hold: there is another value, or none, or one.
    #[error("the ETag does not match, or the key has a value already")]
    Mismatch,
    /// No ETag of this store looks like this.
    #[error("the ETag is none of this store's")]
    ETagInvalid,
    /// It refused, and would refuse again.
    #[error("{0}")]
    Refused(String),
    /// It cannot be reached, is busy, or answered something that another try may heal. Whether a
    /// write was done is not known.
    #[error("{0}")]
    Unavailable(String),
}

impl From<BackendError> for StateError {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::Refused(text) => Self::Refused(text),
            BackendError::Unavailable(text) => Self::Unavailable(text),
        }
    }
}

/// What a store can do beside reading and writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Conditions of writes.
    ETag,
    /// Several writes, all or none.
    Transactional,
    /// Values that end by themselves.
    Ttl,
}

impl Feature {
    /// In the words of `/v1.0/metadata`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ETag => "ETAG",
            Self::Transactional => "TRANSACTIONAL",
            Self::Ttl => "TTL",
        }
    }
}

/// A store of state.
///
/// A write that was answered with `Ok` is there for every read after it with
/// [`Consistency::Strong`], and outlives a restart of the store as far as the store is set up so.
#[async_trait]
pub trait StateStore: Send + Sync {
    /// What it can do.
    fn features(&self) -> &[Feature];

    /// A value; `None` where the key has none.
    async fn get(&self, get: &Get) -> Result<Option<Item>, StateError>;

    /// Several values, in the order of their keys; at most so many reads at once, where the store
    /// reads them one by one.
    async fn get_all(
        &self,
        gets: &[Get],
        parallelism: usize,
    ) -> Vec<Result<Option<Item>, StateError>>;

    /// Writes one value, or deletes one.
    async fn write(&self, operation: Operation) -> Result<(), StateError>;

    /// Several writes that do not depend on each other, in their order; what became of each.
    async fn write_all(&self, operations: Vec<Operation>) -> Vec<Result<(), StateError>> {
        let mut outcomes = Vec::with_capacity(operations.len());
        for operation in operations {
            outcomes.push(self.write(operation).await);
        }
        outcomes
    }

    /// Several writes, all or none, in their order: with one key twice, the later counts. Only
    /// where the store is [`Feature::Transactional`].
    async fn transact(&self, operations: Vec<Operation>) -> Result<(), StateError>;

    /// The most operations of a transaction, where there is a limit.
    fn most_operations(&self) -> Option<usize> {
        None
    }
}

/// A component of state: its store, and what is in front of its keys.
#[derive(Clone)]
pub struct StateComponent {
    /// The store.
    pub store: Arc<dyn StateStore>,
    /// What is in front of the app's keys.
    pub key_prefix: KeyPrefix,
}
