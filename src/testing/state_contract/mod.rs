//! What every state store has to do, for tests.
//!
//! [`holds`] checks a store, [`survives`] one that persists, [`follows_the_model`] one sequence of
//! random operations. What panics is preceded by a line with the name of the check.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may panic")]

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;

use crate::components::message::Metadata;
use crate::components::state::{
    Condition, Consistency, Delete, ETag, Feature, Get, Item, Operation, Set, StateError,
    StateStore, Ttl,
};

mod basics;
mod conditions;
mod model;
mod persistence;
mod races;
mod transactions;
mod ttl;
mod values;

pub use model::follows_the_model;
pub use persistence::survives;

/// How many random sequences are held against the model.
const SEQUENCES: usize = 5;

/// Checks a store. `prefix` is in front of every key that is written, so that several checks can
/// share a server, and has to be new. What needs a feature is checked where the store has it.
pub async fn holds(store: &Arc<dyn StateStore>, prefix: &str) {
    let features = store.features().to_vec();
    basics::check(store, prefix).await;
    values::check(store, prefix).await;
    if features.contains(&Feature::ETag) {
        conditions::check(store, prefix).await;
        races::check(store, prefix).await;
    }
    if features.contains(&Feature::Transactional) {
        transactions::check(store, prefix).await;
    }
    if features.contains(&Feature::Ttl) {
        ttl::check(store, prefix).await;
    }
    if features.contains(&Feature::ETag) {
        for _ in 0..SEQUENCES {
            follows_the_model(store, prefix, fastrand::u64(..)).await;
        }
    }
}

/// To read a key.
pub fn get(key: &str) -> Get {
    Get {
        key: key.to_owned(),
        consistency: Consistency::Strong,
        metadata: Metadata::new(),
    }
}

/// To write a value, whatever is there.
pub fn set(key: &str, value: impl AsRef<[u8]>) -> Set {
    Set {
        key: key.to_owned(),
        value: Bytes::copy_from_slice(value.as_ref()),
        content_type: None,
        condition: Condition::Always,
        ttl: Ttl::OfStore,
        consistency: Consistency::Strong,
        metadata: Metadata::new(),
    }
}

/// To delete a value, whatever is there.
pub fn delete(key: &str) -> Delete {
    Delete {
        key: key.to_owned(),
        condition: Condition::Always,
        consistency: Consistency::Strong,
        metadata: Metadata::new(),
    }
}

/// Says which check panicked.
struct Named<'a>(&'a str);

impl Drop for Named<'_> {
    #[allow(clippy::print_stderr, reason = "tests show it with their panics")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("check that failed: {}", self.0);
        }
    }
}

/// A store with the keys of one check, which are no other one's.
#[derive(Clone)]
struct Subject {
    store: Arc<dyn StateStore>,
    prefix: String,
}

/// Runs one check with keys of its own.
async fn run<F: Future<Output = ()>>(
    (store, prefix): (&Arc<dyn StateStore>, &str),
    name: &str,
    check: impl FnOnce(Subject) -> F,
) {
    let _named = Named(name);
    let subject = Subject {
        store: Arc::clone(store),
        prefix: format!("{prefix}{}-", name.replace(' ', "-")),
    };
    check(subject).await;
}

impl Subject {
    /// A key of this check.
    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn set(&self, key: &str, value: impl AsRef<[u8]>) -> Set {
        set(&self.key(key), value)
    }

    /// To write a value on a condition.
    fn set_if(&self, key: &str, value: impl AsRef<[u8]>, condition: Condition) -> Operation {
        Operation::Set(Set {
            condition,
            ..self.set(key, value)
        })
    }

    /// To write a value that ends after so many seconds.
    fn set_for(&self, key: &str, value: impl AsRef<[u8]>, seconds: u32) -> Operation {
        Operation::Set(Set {
            ttl: Ttl::Seconds(seconds),
            ..self.set(key, value)
        })
    }

    /// To delete a value on a condition.
    fn delete_if(&self, key: &str, condition: Condition) -> Operation {
        Operation::Delete(Delete {
            condition,
            ..delete(&self.key(key))
        })
    }

    async fn write(&self, operation: Operation) -> Result<(), StateError> {
        self.store.write(operation).await
    }

    /// Writes a value, whatever is there, and hands back its ETag.
    async fn put(&self, key: &str, value: impl AsRef<[u8]>) -> ETag {
        let written = self.write(Operation::Set(self.set(key, value))).await;
        written.unwrap_or_else(|error| panic!("{key:?} is written: {error:?}"));
        self.etag(key).await
    }

    async fn remove(&self, key: &str) {
        let deleted = self.write(self.delete_if(key, Condition::Always)).await;
        deleted.unwrap_or_else(|error| panic!("{key:?} is deleted: {error:?}"));
    }

    async fn item(&self, key: &str) -> Option<Item> {
        let item = self.store.get(&get(&self.key(key))).await;
        item.unwrap_or_else(|error| panic!("{key:?} is read: {error:?}"))
    }

    async fn value(&self, key: &str) -> Option<Bytes> {
        self.item(key).await.map(|item| item.value)
    }

    /// The ETag of a value that is there.
    async fn etag(&self, key: &str) -> ETag {
        let item = self.item(key).await;
        let item = item.unwrap_or_else(|| panic!("{key:?} is there"));
        // A store without ETags is never asked for one.
        item.etag.unwrap_or_else(|| ETag::new(""))
    }

    /// Reads several keys, which all have to be readable.
    async fn values(&self, keys: &[&str], parallelism: usize) -> Vec<Option<Bytes>> {
        let gets: Vec<_> = keys.iter().map(|key| get(&self.key(key))).collect();
        let items = self.store.get_all(&gets, parallelism).await;
        let value = |item: Result<Option<Item>, StateError>| {
            let item = item.unwrap_or_else(|error| panic!("all are read: {error:?}"));
            item.map(|item| item.value)
        };
        items.into_iter().map(value).collect()
    }

    async fn transact(
        &self,
        operations: impl IntoIterator<Item = Operation>,
    ) -> Result<(), StateError> {
        self.store.transact(operations.into_iter().collect()).await
    }
}

/// A value as it is expected.
fn some(value: &'static str) -> Option<Bytes> {
    Some(Bytes::from_static(value.as_bytes()))
}
