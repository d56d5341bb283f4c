//! `state.redis`: values in hashes of Redis.
//!
//! The hashes are those of Dapr 1.18: the fields `data`, `version` and, where a value was written
//! for the first time with first-write, `first-write`. One script does every write: it checks all
//! conditions first, so that a transaction is one call.
//!
//! ```text
//! get             → HMGET and PEXPIRETIME, sent together
//! write, transact → EVALSHA of write.lua
//! ```

use async_trait::async_trait;
use redis::Cmd;

use super::{Condition, Consistency, Feature, Get, Item, Operation, StateError, StateStore, Ttl};
use crate::components::metadata::Reader;
use crate::components::redis::{Client, Confirm, Repeat, Script, Settings};
use crate::components::{Error, ResolvedComponent};
use read::Ends;
use settings::HashSettings;

mod read;
mod settings;

/// What writes.
const WRITE: &str = include_str!("write.lua");

/// A condition that always holds, in the words of the script.
const ALWAYS: &str = "*";
/// A condition that holds where there is no value.
const ABSENT: &str = "-";

/// The keys of a transaction have to be with one server.
const APART: &str = "the keys of the transaction are in different slots of the cluster, which \
    cannot write them together; keys with the same text in braces are in one slot, such as \
    \"{order-1}.items\" and \"{order-1}.total\"";

/// The store.
pub struct RedisHashes {
    client: Client,
    script: Script,
    settings: HashSettings,
    ends: Ends,
}

impl RedisHashes {
    /// The store that the metadata of a component names. The server has to be there.
    ///
    /// # Errors
    ///
    /// Settings that cannot be used, and a server that is away or lets nobody in.
    pub async fn start(
        component: &ResolvedComponent,
        reader: &mut Reader<'_>,
    ) -> Result<Self, Error> {
        let server = Settings::read(component, reader).await?;
        let settings = HashSettings::read(component, reader)?;
        let script = Script::new(WRITE);
        let client = Client::new(server).with_script(script.clone());
        let client = client.reached().await?;
        Ok(Self {
            client,
            script,
            settings,
            ends: Ends::default(),
        })
    }

    /// The call of the script for some writes, and whether it may be made twice.
    fn call(&self, operations: &[Operation]) -> Result<(Cmd, Repeat), StateError> {
        let keys: Vec<_> = operations.iter().map(Operation::key).collect();
        let mut command = self.script.call(&keys);
        // What may have been done already would not find what its condition asks for.
        let mut repeat = Repeat::Allowed;
        for operation in operations {
            let condition = operation.condition();
            if *condition != Condition::Always {
                repeat = Repeat::Denied;
            }
            let (kind, value, seconds) = match operation {
                Operation::Set(set) => ("set", &set.value[..], self.seconds(set.ttl)),
                Operation::Delete(_) => ("delete", &[][..], None),
            };
            command.arg(kind);
            match condition {
                Condition::Always => command.arg(ALWAYS),
                Condition::Absent => command.arg(ABSENT),
                Condition::Matches(etag) => command.arg(etag.version()?.to_string()),
            };
            command.arg(value);
            match seconds {
                Some(seconds) => command.arg(seconds),
                None => command.arg(""),
            };
        }
        Ok((command, repeat))
    }

    fn seconds(&self, ttl: Ttl) -> Option<u32> {
        match ttl {
            Ttl::OfStore => self.settings.ttl,
            Ttl::Forever => None,
            Ttl::Seconds(seconds) => Some(seconds),
        }
    }

    /// Makes calls that do not depend on each other; those to one server are sent together.
    async fn call_all(
        &self,
        calls: &[(Cmd, Repeat)],
        confirm: Confirm,
    ) -> Vec<Result<(), StateError>> {
        let answers = self.client.ask_each(calls, confirm).await;
        let outcomes = answers.into_iter().map(|answer| match answer? {
            redis::Value::Int(1) => Ok(()),
            redis::Value::Int(0) => Err(StateError::Mismatch),
            _ => Err(StateError::Refused("no number from the script".to_owned())),
        });
        outcomes.collect()
    }
}

#[async_trait]
impl StateStore for RedisHashes {
    fn features(&self) -> &[Feature] {
        &[Feature::ETag, Feature::Transactional, Feature::Ttl]
    }

    async fn get(&self, get: &Get) -> Result<Option<Item>, StateError> {
        let mut found = self.get_all(std::slice::from_ref(get), 1).await;
        found.pop().unwrap_or(Ok(None))
    }

    async fn get_all(
        &self,
        gets: &[Get],
        _parallelism: usize,
    ) -> Vec<Result<Option<Item>, StateError>> {
        read::get_all(&self.client, gets, &self.ends).await
    }

    async fn write(&self, operation: Operation) -> Result<(), StateError> {
        let mut outcomes = self.write_all(vec![operation]).await;
        outcomes.pop().unwrap_or(Ok(()))
    }

    async fn write_all(&self, operations: Vec<Operation>) -> Vec<Result<(), StateError>> {
        let confirm = confirm(&operations);
        let mut outcomes = Vec::with_capacity(operations.len());
        let mut calls = Vec::with_capacity(operations.len());
        let mut places = Vec::with_capacity(operations.len());
        for (at, operation) in operations.iter().enumerate() {
            // Overwritten when it is answered.
            outcomes.push(Ok(()));
            match self.call(std::slice::from_ref(operation)) {
                Ok(call) => {
                    calls.push(call);
                    places.push(at);
                }
                Err(error) => outcomes[at] = Err(error),
            }
        }
        let answers = self.call_all(&calls, confirm).await;
        for (at, outcome) in places.into_iter().zip(answers) {
            outcomes[at] = outcome;
        }
        outcomes
    }

    async fn transact(&self, operations: Vec<Operation>) -> Result<(), StateError> {
        if operations.is_empty() {
            return Ok(());
        }
        if !self
            .client
            .are_together(operations.iter().map(Operation::key))
        {
            return Err(StateError::Refused(APART.to_owned()));
        }
        let call = self.call(&operations)?;
        let mut outcomes = self.call_all(&[call], confirm(&operations)).await;
        outcomes.pop().unwrap_or(Ok(()))
    }
}

/// Where one of them asks for it, all wait for the replicas: they are sent together.
fn confirm(operations: &[Operation]) -> Confirm {
    let is_strong = |operation: &Operation| operation.consistency() == Consistency::Strong;
    if operations.iter().any(is_strong) {
        Confirm::Replicas
    } else {
        Confirm::Primary
    }
}
