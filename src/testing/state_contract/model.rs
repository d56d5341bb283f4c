//! Random sequences of operations, held against a map.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use fastrand::Rng;

use super::{Named, Subject, run};
use crate::components::state::{
    Condition, Delete, ETag, Feature, Operation, Set, StateError, StateStore,
};

/// How many operations a sequence has.
const STEPS: usize = 60;
/// The keys: few, so that operations meet.
const KEYS: [&str; 3] = ["a", "b", "c"];
/// The most operations of a transaction.
const TOGETHER: usize = 5;

/// Does what a seed says with a store of ETags and with a map, and compares them. A failure says
/// the seed; the same seed does the same again. `prefix` is in front of every key; the keys of a
/// seed are no other seed's.
pub async fn follows_the_model(store: &Arc<dyn StateStore>, prefix: &str, seed: u64) {
    let name = format!("random sequence {seed}");
    run((store, prefix), &name, async |on: Subject| {
        let mut model = Model {
            random: Rng::with_seed(seed),
            on,
            values: HashMap::new(),
            seen: Vec::new(),
        };
        for step in 0..STEPS {
            let at = format!("step {step}");
            let _named = Named(&at);
            model.step().await;
        }
    })
    .await;
}

struct Model {
    random: Rng,
    on: Subject,
    /// What is there: values by key, with their ETags.
    values: HashMap<String, (Bytes, ETag)>,
    /// Every ETag that a key had, in their order.
    seen: Vec<(&'static str, ETag)>,
}

impl Model {
    async fn step(&mut self) {
        let has_transactions = self.on.store.features().contains(&Feature::Transactional);
        match self.random.u8(0..4) {
            0 if has_transactions => self.transact().await,
            1 => self.write_all().await,
            _ => self.write().await,
        }
        self.compare().await;
    }

    async fn write(&mut self) {
        let operation = self.operation();
        let expected = check(&self.values, &operation);
        let outcome = self.on.write(operation.clone()).await;
        assert_eq!(outcome, expected, "{operation:?}");
        if expected.is_ok() {
            apply(&mut self.values, operation);
        }
    }

    async fn write_all(&mut self) {
        // Each key once: such writes do not depend on each other.
        let mut keys = KEYS.to_vec();
        self.random.shuffle(&mut keys);
        let operations: Vec<_> = keys.iter().map(|key| self.operation_on(key)).collect();
        let check = |operation| check(&self.values, operation);
        let expected: Vec<_> = operations.iter().map(check).collect();
        let outcomes = self.on.store.write_all(operations.clone()).await;
        assert_eq!(outcomes, expected, "{operations:?}");
        for (operation, expected) in operations.into_iter().zip(expected) {
            if expected.is_ok() {
                apply(&mut self.values, operation);
            }
        }
    }

    async fn transact(&mut self) {
        let most = self.on.store.most_operations().unwrap_or(TOGETHER);
        let count = self.random.usize(0..=most.min(TOGETHER));
        let operations: Vec<_> = (0..count).map(|_| self.operation()).collect();
        let mut after = self.values.clone();
        let mut outcome = Ok(());
        for operation in &operations {
            outcome = outcome.and_then(|()| check(&after, operation));
            apply(&mut after, operation.clone());
        }
        let done = self.on.transact(operations.clone()).await;
        // Of several conditions that fail, any may be the one that is told.
        assert_eq!(done.is_ok(), outcome.is_ok(), "{done:?}: {operations:?}");
        if outcome.is_ok() {
            self.values = after;
        }
    }

    fn operation(&mut self) -> Operation {
        let key = KEYS[self.random.usize(0..KEYS.len())];
        self.operation_on(key)
    }

    fn operation_on(&mut self, key: &str) -> Operation {
        let condition = self.condition(key);
        if self.random.u8(0..3) == 0 {
            let condition = match condition {
                // Asked of writes only.
                Condition::Absent => Condition::Always,
                condition => condition,
            };
            return self.on.delete_if(key, condition);
        }
        let value: Vec<u8> = (0..self.random.usize(0..20))
            .map(|_| self.random.u8(..))
            .collect();
        self.on.set_if(key, value, condition)
    }

    fn condition(&mut self, key: &str) -> Condition {
        let current = self.values.get(&self.on.key(key));
        let current = current.map(|(_, etag)| etag.clone());
        match (self.random.u8(0..6), current) {
            (0 | 1, _) => Condition::Always,
            (2, _) => Condition::Absent,
            (3 | 4, Some(etag)) => Condition::Matches(etag),
            (5, _) if self.random.u8(0..4) == 0 => Condition::Matches(ETag::new("malformed")),
            _ => {
                let any = self.random.usize(0..self.seen.len().max(1));
                let any = self.seen.get(any).map(|(_, etag)| etag.clone());
                Condition::Matches(any.unwrap_or(ETag::of_version(1)))
            }
        }
    }

    /// Reads every key, and learns the new ETags.
    async fn compare(&mut self) {
        let all = self.on.values(&KEYS, 10).await;
        for (key, in_bulk) in KEYS.into_iter().zip(all) {
            let item = self.on.item(key).await;
            let stored = self.on.key(key);
            let expected = self.values.get(&stored).map(|(value, _)| value.clone());
            let value = item.as_ref().map(|item| item.value.clone());
            assert_eq!(value, expected, "{key}");
            assert_eq!(in_bulk, expected, "{key} in bulk");
            let Some((_, known)) = self.values.get_mut(&stored) else {
                continue;
            };
            let etag = item.and_then(|item| item.etag).expect("it has an ETag");
            if *known == unknown() {
                let of_key = (key, etag.clone());
                assert!(!self.seen.contains(&of_key), "{key}: {etag} came twice");
                self.seen.push(of_key);
                *known = etag.clone();
            }
            assert_eq!(*known, etag, "{key}: the ETag is that of the last write");
        }
    }
}

/// The ETag of a value that was written and not read since.
fn unknown() -> ETag {
    ETag::new("unknown")
}

fn check(values: &HashMap<String, (Bytes, ETag)>, operation: &Operation) -> Result<(), StateError> {
    let (Operation::Set(Set { key, condition, .. })
    | Operation::Delete(Delete { key, condition, .. })) = operation;
    let holds = match condition {
        Condition::Always => true,
        Condition::Absent => !values.contains_key(key),
        Condition::Matches(etag) => {
            etag.version()?;
            values.get(key).is_some_and(|(_, current)| current == etag)
        }
    };
    holds.then_some(()).ok_or(StateError::Mismatch)
}

fn apply(values: &mut HashMap<String, (Bytes, ETag)>, operation: Operation) {
    match operation {
        Operation::Set(set) => values.insert(set.key, (set.value, unknown())),
        Operation::Delete(delete) => values.remove(&delete.key),
    };
}
