//! Reads and writes of one store.

use std::sync::Arc;
use std::time::Instant;

use tracing::error;

use super::batch::{self, Batch};
use super::failure::{self, Call, Failure};
use super::request::{Change, Removal, Save};
use super::{Consistency, Item, Metadata, State};
use crate::blocks::error::{Error, Reason, Resource, ResourceKind, StateReason, Subject};
use crate::components::state::key_prefix::SEPARATOR;
use crate::components::state::{Feature, Get, Operation, StateError};
use crate::registry::stores::LoadedState;
use crate::resiliency::{Policy, Verdict};

/// The most keys of one call.
const MAX_KEYS: usize = 100_000;
/// How many keys of one call are read at once, where it does not say so.
const AT_ONCE: usize = 10;
/// The most keys that are read at once, whatever it says.
const MAX_AT_ONCE: usize = 100;

/// A store that runs, for one call.
pub struct Store<'a> {
    state: &'a State,
    loaded: Arc<LoadedState>,
    policy: Policy,
}

/// What was read of one key of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The key of the app.
    pub key: String,
    /// Its value, `None` where it has none; or why it could not be read, for the client.
    pub outcome: Result<Option<Item>, String>,
}

impl<'a> Store<'a> {
    pub(super) fn new(state: &'a State, loaded: Arc<LoadedState>, policy: Policy) -> Self {
        Self {
            state,
            loaded,
            policy,
        }
    }

    /// The value of a key; `None` where it has none. The reasons: `MalformedRequest`,
    /// `KeyIllegal`, `Get`.
    pub async fn get(
        &self,
        key: &str,
        consistency: Consistency,
        metadata: Metadata,
    ) -> Result<Option<Item>, Error> {
        let get = Get {
            key: self.stored_key(key)?,
            consistency,
            metadata,
        };
        let outcome = self.read(Call::Get, vec![get], 1).await.pop();
        let outcome = outcome.unwrap_or(Err(Failure::Unanswered));
        outcome.map_err(|failure| self.failed(Call::Get, 1, &[(key, &failure)]))
    }

    /// The values of several keys, in their order. So many are read at the same time, where the
    /// store reads them one by one; 0 and less leaves the number to the sidecar. It fails where
    /// no key at all could be read. The reasons: `MalformedRequest`, `KeyIllegal`, `BulkGet`.
    pub async fn get_all(
        &self,
        keys: Vec<String>,
        at_once: i64,
        metadata: &Metadata,
    ) -> Result<Vec<Read>, Error> {
        check_count(keys.len())?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let gets = keys.iter().map(|key| {
            Ok(Get {
                key: self.stored_key(key)?,
                consistency: Consistency::default(),
                metadata: metadata.clone(),
            })
        });
        let gets = gets.collect::<Result<_, Error>>()?;
        let at_once = usize::try_from(at_once).ok().filter(|number| *number > 0);
        let at_once = at_once.unwrap_or(AT_ONCE).min(MAX_AT_ONCE);
        let outcomes = self.read(Call::BulkGet, gets, at_once).await;
        let failures = failures(&keys, &outcomes);
        if failures.len() == keys.len() {
            return Err(self.failed(Call::BulkGet, keys.len(), &failures));
        }
        self.tell(Call::BulkGet, &failures);
        let reads = keys.into_iter().zip(outcomes).map(|(key, outcome)| Read {
            key,
            outcome: outcome.map_err(|failure| failure.explained()),
        });
        Ok(reads.collect())
    }

    /// Saves values. Each is tried, whatever becomes of the others: where one fails, others may
    /// have been saved, and the error names those that were not. The reasons:
    /// `MalformedRequest`, `KeyIllegal`, which leave all as it was, and `Save`, `SaveMismatch`,
    /// `SaveETagInvalid`.
    pub async fn save(&self, items: Vec<Save>) -> Result<(), Error> {
        let changes = items.into_iter().map(Change::Save).collect();
        self.write(Call::Set, changes).await
    }

    /// Deletes a value; one that is not there is deleted already, unless an ETag is given. The
    /// reasons: `MalformedRequest`, `KeyIllegal`, `Delete`, `DeleteMismatch`,
    /// `DeleteETagInvalid`.
    pub async fn delete(&self, item: Removal) -> Result<(), Error> {
        self.write(Call::Delete, vec![Change::Removal(item)]).await
    }

    /// Deletes several values, as [`Store::save`] saves them. The reasons are those of
    /// [`Store::delete`].
    pub async fn delete_all(&self, items: Vec<Removal>) -> Result<(), Error> {
        let changes = items.into_iter().map(Change::Removal).collect();
        self.write(Call::BulkDelete, changes).await
    }

    /// Whether there are transactions: asked before a request is read, as in Dapr 1.18. The
    /// reason: `TransactionsUnsupported`.
    pub fn check_transactional(&self) -> Result<(), Error> {
        let store = &self.loaded.store;
        if store.features().contains(&Feature::Transactional) {
            return Ok(());
        }
        let name = &self.loaded.name;
        let text = format!("state store {name} doesn't support transactions");
        Err(self.error(StateReason::TransactionsUnsupported, text))
    }

    /// An operation that no transaction has.
    pub fn unknown_operation(&self, name: &str) -> Error {
        let text = format!("operation type {name} not supported");
        self.error(StateReason::OperationUnknown, text)
    }

    /// Does all or nothing, in order. The reasons: `MalformedRequest`, `KeyIllegal`,
    /// `TransactionsUnsupported`, `TooManyOperations`, `Transaction`, `TransactionMismatch`,
    /// `TransactionETagInvalid`.
    pub async fn transact(&self, changes: Vec<Change>) -> Result<(), Error> {
        self.check_transactional()?;
        check_count(changes.len())?;
        if changes.is_empty() {
            return Ok(());
        }
        let (_, operations) = self.operations(changes)?;
        let store = &*self.loaded.store;
        let most = store.most_operations();
        if let Some(most) = most.filter(|most| operations.len() > *most) {
            return Err(self.too_many(operations.len(), most));
        }
        let begin = Instant::now();
        let transact = |number| {
            let operations = operations.clone();
            Box::pin(async move { (number, store.transact(operations).await) })
        };
        let outcome = match self.policy.run(transact, judge).await {
            Ok((number, outcome)) => outcome.map_err(|error| batch::at_try(number, error)),
            Err(stopped) => Err(Failure::Stopped(stopped)),
        };
        self.count(Call::Transaction, outcome.is_ok(), begin);
        outcome.map_err(|failure| self.failed(Call::Transaction, 1, &[("", &failure)]))
    }

    /// No store can be queried.
    pub fn query_unsupported(&self) -> Error {
        let text = "state store does not support querying".to_owned();
        self.error(StateReason::QueryUnsupported, text)
    }

    async fn read(
        &self,
        call: Call,
        gets: Vec<Get>,
        at_once: usize,
    ) -> Vec<Result<Option<Item>, Failure>> {
        let begin = Instant::now();
        let batch = Batch::new(gets);
        let store = &*self.loaded.store;
        let read = |number| Box::pin(batch.read(store, at_once, number));
        let stopped = self.policy.run(read, batch::judge).await.err();
        let outcomes = batch.finish(stopped);
        self.count(call, outcomes.iter().all(Result::is_ok), begin);
        outcomes
    }

    async fn write(&self, call: Call, changes: Vec<Change>) -> Result<(), Error> {
        check_count(changes.len())?;
        if changes.is_empty() {
            return Ok(());
        }
        let (keys, operations) = self.operations(changes)?;
        let begin = Instant::now();
        let batch = Batch::new(operations);
        let store = &*self.loaded.store;
        let write = |number| Box::pin(batch.write(store, number));
        let stopped = self.policy.run(write, batch::judge).await.err();
        let outcomes = batch.finish(stopped);
        let failures = failures(&keys, &outcomes);
        self.count(call, failures.is_empty(), begin);
        if failures.is_empty() {
            return Ok(());
        }
        Err(self.failed(call, keys.len(), &failures))
    }

    /// The keys of the app, and the writes under the keys of the store.
    fn operations(&self, changes: Vec<Change>) -> Result<(Vec<String>, Vec<Operation>), Error> {
        let mut keys = Vec::with_capacity(changes.len());
        let mut operations = Vec::with_capacity(changes.len());
        for change in changes {
            let stored_key = self.stored_key(change.key())?;
            keys.push(change.key().to_owned());
            operations.push(change.write(stored_key)?);
        }
        Ok((keys, operations))
    }

    /// A key of the app as it is in the store.
    fn stored_key(&self, key: &str) -> Result<String, Error> {
        if key.is_empty() {
            let text = "\"key\" is a required field";
            return Err(Error::new(Reason::MalformedRequest, text));
        }
        if key.contains(SEPARATOR) {
            let text = format!("input key/keyPrefix '{key}' can't contain '{SEPARATOR}'");
            let reason = Reason::State(StateReason::KeyIllegal);
            return Err(Error::new(reason, text).about(Subject {
                field: Some(key.to_owned()),
                ..self.subject()
            }));
        }
        let State {
            app_id, namespace, ..
        } = self.state;
        Ok(self.loaded.stored_key(app_id, namespace, key))
    }

    /// A call that failed, in the log and for the client.
    fn failed(&self, call: Call, total: usize, failures: &[(&str, &Failure)]) -> Error {
        self.tell(call, failures);
        let (key, _) = failures
            .first()
            .copied()
            .unwrap_or(("", &Failure::Unanswered));
        let why = failure::explained(total, failures);
        let text = call.text(&self.loaded.name, key, &why);
        Error::new(Reason::State(call.reason(failures)), text)
    }

    /// A caller must not be able to fill the log. Keys are not in it: they may tell of people.
    fn tell(&self, call: Call, failures: &[(&str, &Failure)]) {
        let mut of_store = failures.iter().filter(|(_, failure)| failure.is_of_store());
        let Some((_, cause)) = of_store.next() else {
            return;
        };
        if let Some(left_out) = self.state.failures.pass() {
            let (store, operation) = (&*self.loaded.name, call.name());
            error!(store, operation, error = %cause, left_out, "A state store failed");
        }
    }

    fn count(&self, call: Call, success: bool, begin: Instant) {
        let meters = &self.state.meters;
        meters.count(&self.loaded.name, call, success, begin.elapsed());
    }

    fn too_many(&self, count: usize, most: usize) -> Error {
        let text = format!(
            "the transaction contains {count} operations, which is more than what the state \
             store supports: {most}"
        );
        let reason = Reason::State(StateReason::TooManyOperations);
        Error::new(reason, text).about(Subject {
            facts: vec![
                ("currentOpsTransaction", count.to_string()),
                ("maxOpsPerTransaction", most.to_string()),
            ],
            ..self.subject()
        })
    }

    fn error(&self, reason: StateReason, text: String) -> Error {
        Error::new(Reason::State(reason), text).about(self.subject())
    }

    fn subject(&self) -> Subject {
        Subject {
            resource: Some(Resource {
                kind: ResourceKind::State,
                name: self.loaded.name.clone(),
            }),
            ..Subject::default()
        }
    }
}

/// The keys that failed, each with why.
fn failures<'a, T>(
    keys: &'a [String],
    outcomes: &'a [Result<T, Failure>],
) -> Vec<(&'a str, &'a Failure)> {
    let outcomes = keys.iter().zip(outcomes);
    outcomes
        .filter_map(|(key, outcome)| Some((key.as_str(), outcome.as_ref().err()?)))
        .collect()
}

fn check_count(keys: usize) -> Result<(), Error> {
    if keys <= MAX_KEYS {
        return Ok(());
    }
    let text = format!("the request has {keys} keys; accepted are at most {MAX_KEYS}");
    Err(Error::new(Reason::MalformedRequest, text))
}

/// What a try of a transaction says of its store, as [`batch::judge`].
fn judge((_, outcome): &(u32, Result<(), StateError>)) -> Verdict {
    match outcome {
        Err(StateError::Unavailable(_)) => Verdict::Failure(None),
        _ => Verdict::Success,
    }
}
