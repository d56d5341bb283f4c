//! The state store of a pluggable component.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt as _};
use tonic::Code;

use super::connection::{Connection, Failure};
use super::state_messages::{delete_request, get_request, item, operation, set_request};
use crate::components::state::{Condition, Feature, Get, Item, Operation, StateError, StateStore};
use crate::proto::components::common::FeaturesResponse;
use crate::proto::components::state::{
    BulkDeleteRequest, BulkGetRequest, BulkGetResponse, BulkOptions, BulkSetRequest, BulkStateItem,
    GetResponse, MultiMaxSizeResponse, TransactionalStateRequest,
};

type Read = Result<Option<Item>, StateError>;
type Written = Result<(), StateError>;

/// The store behind a component.
pub(super) struct PluggableState {
    connection: Connection,
    features: Vec<Feature>,
    most_operations: Option<usize>,
    bulk_get: Bulk,
    bulk_set: Bulk,
    bulk_delete: Bulk,
}

/// A call for several keys. Components of some SDKs have none.
struct Bulk {
    method: &'static str,
    is_missing: AtomicBool,
}

impl Bulk {
    fn new(method: &'static str) -> Self {
        Self {
            method,
            is_missing: AtomicBool::new(false),
        }
    }

    /// `None` where the component does not do it for these keys together. Then nothing is done.
    async fn call<Q, A>(&self, connection: &Connection, request: Q) -> Option<Result<A, Failure>>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        if self.is_missing.load(Ordering::Relaxed) {
            return None;
        }
        match connection.call(self.method, request).await {
            Err(Failure::Status {
                code: Code::Unimplemented,
                ..
            }) => {
                self.is_missing.store(true, Ordering::Relaxed);
                None
            }
            Err(failure) if failure.is_row_mismatch() => None,
            answer => Some(answer),
        }
    }
}

impl PluggableState {
    /// Asks a component that was started what it can do.
    pub(super) async fn start(connection: Connection) -> Result<Self, Failure> {
        let answer: FeaturesResponse = connection.call("Features", ()).await?;
        let features = [Feature::ETag, Feature::Transactional, Feature::Ttl];
        let has = |feature: &Feature| answer.features.iter().any(|name| name == feature.as_str());
        let features: Vec<_> = features.into_iter().filter(has).collect();
        let most_operations = match features.contains(&Feature::Transactional) {
            true => most_operations(&connection).await?,
            false => None,
        };
        Ok(Self {
            connection,
            features,
            most_operations,
            bulk_get: Bulk::new("BulkGet"),
            bulk_set: Bulk::new("BulkSet"),
            bulk_delete: Bulk::new("BulkDelete"),
        })
    }

    async fn get_one_by_one(&self, gets: &[Get], parallelism: usize) -> Vec<Read> {
        let reads: Vec<_> = gets.iter().map(|get| self.get(get)).collect();
        let reads = stream::iter(reads).buffered(parallelism.max(1));
        reads.collect().await
    }

    /// Of one of several keys.
    fn read(&self, found: BulkStateItem) -> Read {
        if !found.error.is_empty() {
            let text = self.connection.target.clean(&found.error);
            return Err(StateError::Unavailable(text));
        }
        let (etag, metadata) = (found.etag, found.metadata);
        Ok(item(found.data, etag, found.content_type, metadata))
    }

    /// Writes that are all of values or all deletes, and none with a condition. Where they fail,
    /// any of them may be done.
    async fn write_together(&self, writes: &[Operation]) -> Option<Written> {
        let (mut sets, mut deletes) = (Vec::new(), Vec::new());
        for write in writes.iter().cloned() {
            match write {
                Operation::Set(set) => sets.push(set_request(set)),
                Operation::Delete(delete) => deletes.push(delete_request(delete)),
            }
        }
        let (items, options) = (sets, None);
        let written = if deletes.is_empty() {
            let request = BulkSetRequest { items, options };
            self.bulk_set.call(&self.connection, request).await
        } else {
            let request = BulkDeleteRequest {
                items: deletes,
                options,
            };
            self.bulk_delete.call(&self.connection, request).await
        };
        written.map(|written| Ok(written?))
    }
}

/// The most operations of a transaction; a component that does not tell has no limit.
async fn most_operations(connection: &Connection) -> Result<Option<usize>, Failure> {
    match connection.call("MultiMaxSize", ()).await {
        Ok(MultiMaxSizeResponse { max_size }) => {
            let most = usize::try_from(max_size).ok();
            Ok(most.filter(|most| *most > 0))
        }
        Err(Failure::Status { .. }) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Whether two writes can go in one call whose answer says the same of both.
fn go_together(one: &Operation, other: &Operation) -> bool {
    match (one, other) {
        (Operation::Set(one), Operation::Set(other)) => {
            one.condition == Condition::Always && other.condition == Condition::Always
        }
        (Operation::Delete(one), Operation::Delete(other)) => {
            one.condition == Condition::Always && other.condition == Condition::Always
        }
        (Operation::Set(_), Operation::Delete(_)) | (Operation::Delete(_), Operation::Set(_)) => {
            false
        }
    }
}

#[async_trait]
impl StateStore for PluggableState {
    fn features(&self) -> &[Feature] {
        &self.features
    }

    async fn get(&self, get: &Get) -> Read {
        let found: GetResponse = self.connection.call("Get", get_request(get)).await?;
        let (etag, metadata) = (found.etag, found.metadata);
        Ok(item(found.data, etag, found.content_type, metadata))
    }

    async fn get_all(&self, gets: &[Get], parallelism: usize) -> Vec<Read> {
        if gets.is_empty() {
            return Vec::new();
        }
        let parallelism_of = i64::try_from(parallelism).unwrap_or(i64::MAX);
        let request = BulkGetRequest {
            items: gets.iter().map(get_request).collect(),
            options: Some(BulkOptions {
                parallelism: parallelism_of,
            }),
        };
        let answer = self.bulk_get.call(&self.connection, request).await;
        let items = match answer {
            None => return self.get_one_by_one(gets, parallelism).await,
            Some(Err(failure)) => return vec![Err(failure.into()); gets.len()],
            Some(Ok(BulkGetResponse { items })) => items,
        };
        let found: HashMap<_, _> = items
            .into_iter()
            .map(|found| (found.key.clone(), self.read(found)))
            .collect();
        // A component may leave out the keys that have no value.
        gets.iter()
            .map(|get| found.get(&get.key).cloned().unwrap_or(Ok(None)))
            .collect()
    }

    async fn write(&self, operation: Operation) -> Written {
        let connection = &self.connection;
        let written: Result<(), _> = match operation {
            Operation::Set(set) => connection.call("Set", set_request(set)).await,
            Operation::Delete(delete) => connection.call("Delete", delete_request(delete)).await,
        };
        Ok(written?)
    }

    async fn write_all(&self, operations: Vec<Operation>) -> Vec<Written> {
        let mut outcomes = Vec::with_capacity(operations.len());
        for writes in operations.chunk_by(go_together) {
            if writes.len() > 1
                && let Some(written) = self.write_together(writes).await
            {
                outcomes.extend(vec![written; writes.len()]);
                continue;
            }
            for write in writes {
                outcomes.push(self.write(write.clone()).await);
            }
        }
        outcomes
    }

    async fn transact(&self, operations: Vec<Operation>) -> Written {
        let request = TransactionalStateRequest {
            operations: operations.into_iter().map(operation).collect(),
            ..TransactionalStateRequest::default()
        };
        let written: Result<(), _> = self.connection.call("Transact", request).await;
        Ok(written?)
    }

    fn most_operations(&self) -> Option<usize> {
        self.most_operations
    }
}
