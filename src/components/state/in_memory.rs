//! State in the memory of the sidecar (`state.in-memory`), for development and tests.
//!
//! It ends with the process, no other sidecar sees it, and nothing but the app's own restraint
//! bounds it. Values that ended are thrown away by the operations that come after them.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Condition, Delete, ETag, Feature, Get, Item, Operation, Set, StateError, StateStore, Ttl,
    ends_at,
};

/// The most ended values that one operation throws away. Each write adds one at most, so that more
/// than one keeps them from piling up, and no operation takes long.
const SWEPT: usize = 16;

/// The store.
#[derive(Debug)]
pub struct InMemory {
    values: Mutex<Values>,
}

/// The values, and the number of the last write. Invariant: `ends` has each value that ends, once.
#[derive(Debug)]
struct Values {
    /// When the operation began that has them.
    now: Instant,
    by_key: HashMap<String, Value>,
    ends: BTreeSet<(Instant, String)>,
    /// Counts the writes of all keys, so that no key gets a number twice. It begins at random:
    /// numbers of a process before this one mean nothing.
    version: u128,
}

#[derive(Debug)]
struct Value {
    bytes: Bytes,
    content_type: Option<String>,
    version: u128,
    ends: Option<End>,
}

/// When a value ends: by the clock that never goes back, and for people.
#[derive(Clone, Copy, Debug)]
struct End {
    at: Instant,
    shown: SystemTime,
}

impl Default for InMemory {
    fn default() -> Self {
        Self {
            values: Mutex::new(Values::new(Instant::now())),
        }
    }
}

impl InMemory {
    /// Its values, for one operation.
    fn values(&self) -> MutexGuard<'_, Values> {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.begin(Instant::now());
        values
    }
}

#[async_trait]
impl StateStore for InMemory {
    fn features(&self) -> &[Feature] {
        &[Feature::ETag, Feature::Transactional, Feature::Ttl]
    }

    async fn get(&self, get: &Get) -> Result<Option<Item>, StateError> {
        Ok(self.values().live(&get.key).map(Value::item))
    }

    async fn get_all(
        &self,
        gets: &[Get],
        _parallelism: usize,
    ) -> Vec<Result<Option<Item>, StateError>> {
        let values = self.values();
        let item = |get: &Get| Ok(values.live(&get.key).map(Value::item));
        gets.iter().map(item).collect()
    }

    async fn write(&self, operation: Operation) -> Result<(), StateError> {
        self.values().write(operation)
    }

    async fn transact(&self, operations: Vec<Operation>) -> Result<(), StateError> {
        self.values().transact(operations)
    }
}

impl Values {
    fn new(now: Instant) -> Self {
        Self {
            now,
            by_key: HashMap::new(),
            ends: BTreeSet::new(),
            version: u128::from(fastrand::u64(..)),
        }
    }

    /// Begins an operation: throws away some of the values that ended.
    fn begin(&mut self, now: Instant) {
        self.now = now;
        for _ in 0..SWEPT {
            match self.ends.first() {
                Some((at, _)) if *at <= now => {}
                _ => return,
            }
            if let Some((_, key)) = self.ends.pop_first() {
                self.by_key.remove(&key);
            }
        }
    }

    /// The value of a key, unless it ended.
    fn live(&self, key: &str) -> Option<&Value> {
        let value = self.by_key.get(key)?;
        let is_over = value.ends.is_some_and(|end| end.at <= self.now);
        (!is_over).then_some(value)
    }

    /// Whether the condition of a write holds now.
    fn check(&self, operation: &Operation) -> Result<(), StateError> {
        let (key, condition) = match operation {
            Operation::Set(set) => (&set.key, &set.condition),
            Operation::Delete(delete) => (&delete.key, &delete.condition),
        };
        let holds = match condition {
            Condition::Always => true,
            Condition::Absent => self.live(key).is_none(),
            Condition::Matches(etag) => {
                let version = etag.version()?;
                let value = self.live(key);
                value.is_some_and(|value| value.version == version)
            }
        };
        holds.then_some(()).ok_or(StateError::Mismatch)
    }

    /// Writes, and hands back what was there.
    fn apply(&mut self, operation: Operation) -> (String, Option<Value>) {
        match operation {
            Operation::Delete(Delete { key, .. }) => {
                let before = self.put(&key, None);
                (key, before)
            }
            Operation::Set(set) => {
                let (key, value) = self.value(set);
                let before = self.put(&key, Some(value));
                (key, before)
            }
        }
    }

    fn value(&mut self, set: Set) -> (String, Value) {
        self.version += 1;
        let ends = match set.ttl {
            Ttl::OfStore | Ttl::Forever => None,
            Ttl::Seconds(seconds) => {
                let stays = Duration::from_secs(seconds.into());
                Some(End {
                    at: self.now + stays,
                    shown: SystemTime::now() + stays,
                })
            }
        };
        let value = Value {
            bytes: set.value,
            content_type: set.content_type,
            version: self.version,
            ends,
        };
        (set.key, value)
    }

    /// Puts a value, or nothing, in the place of what was there, which is handed back.
    fn put(&mut self, key: &str, value: Option<Value>) -> Option<Value> {
        let before = self.by_key.remove(key);
        if let Some(end) = before.as_ref().and_then(|before| before.ends) {
            self.ends.remove(&(end.at, key.to_owned()));
        }
        if let Some(value) = value {
            if let Some(end) = value.ends {
                self.ends.insert((end.at, key.to_owned()));
            }
            self.by_key.insert(key.to_owned(), value);
        }
        before
    }

    fn write(&mut self, operation: Operation) -> Result<(), StateError> {
        self.check(&operation)?;
        self.apply(operation);
        Ok(())
    }

    /// All or none: where one does not hold, what the others wrote is put back.
    fn transact(&mut self, operations: Vec<Operation>) -> Result<(), StateError> {
        let mut undo: Vec<(String, Option<Value>)> = Vec::with_capacity(operations.len());
        for operation in operations {
            if let Err(error) = self.check(&operation) {
                for (key, before) in undo.into_iter().rev() {
                    self.put(&key, before);
                }
                return Err(error);
            }
            undo.push(self.apply(operation));
        }
        Ok(())
    }
}

impl Value {
    fn item(&self) -> Item {
        Item {
            value: self.bytes.clone(),
            etag: Some(ETag::of_version(self.version)),
            content_type: self.content_type.clone(),
            metadata: self.ends.map(|end| ends_at(end.shown)).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::state_contract::{self, set};

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn keeps_the_contract() {
        let store: Arc<dyn StateStore> = Arc::new(InMemory::default());
        state_contract::holds(&store, "app||").await;
    }

    fn held(values: &Values) -> (usize, usize) {
        (values.by_key.len(), values.ends.len())
    }

    fn ending(key: &str, seconds: u32) -> Operation {
        Operation::Set(Set {
            ttl: Ttl::Seconds(seconds),
            ..set(key, "value")
        })
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn values_that_ended_do_not_pile_up() {
        let start = Instant::now();
        let mut values = Values::new(start);
        for number in 0..1_000 {
            values.write(ending(&number.to_string(), 1)).unwrap();
        }
        values.write(ending("later", 3)).unwrap();
        assert_eq!(held(&values), (1_001, 1_001));
        for _ in 0..1_000_usize.div_ceil(SWEPT) {
            values.begin(start + SECOND);
            assert!(values.live("999").is_none(), "swept or not, it ended");
        }
        assert_eq!(held(&values), (1, 1), "only the later one is left");
        assert!(values.live("later").is_some());
    }

    #[test]
    fn a_later_write_decides_when_a_value_ends() {
        let start = Instant::now();
        let mut values = Values::new(start);
        for seconds in [1, 1, 5] {
            values.write(ending("key", seconds)).unwrap();
            assert_eq!(held(&values), (1, 1), "{seconds}");
        }
        let rolled_back = vec![
            Operation::Set(set("key", "for ever")),
            Operation::Set(Set {
                condition: Condition::Absent,
                ..set("key", "value")
            }),
        ];
        let outcome = values.transact(rolled_back);
        assert_eq!(outcome, Err(StateError::Mismatch));
        assert_eq!(held(&values), (1, 1), "as before the transaction");
        values.begin(start + 4 * SECOND);
        assert!(values.live("key").is_some());
        values.begin(start + 5 * SECOND);
        assert!(values.live("key").is_none());
        values.write(ending("key", 1)).unwrap();
        values.write(Operation::Set(set("key", "value"))).unwrap();
        values.begin(start + 60 * SECOND);
        assert_eq!(held(&values), (1, 0), "it stays");
    }
}
