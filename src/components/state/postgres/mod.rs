//! State in PostgreSQL (`state.postgresql`, versions 1 and 2), in the tables of Dapr 1.18.

mod cleanup;
mod layout;
mod migrate;
mod settings;
mod value;
mod write;

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::task::JoinSet;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::{Feature, Get, Item, Operation, StateError, StateStore};
use crate::components::message::Metadata;
use crate::components::metadata::Reader;
use crate::components::postgres::{Connection, Database, Failure, Repeat, Settings};
use crate::components::{BackendError, Error, ResolvedComponent};
use cleanup::Cleanup;
pub use layout::Version;
use layout::{Layout, Tables};
use settings::TableSettings;
use write::{Written, repeat};

/// How many writes of a bulk are sent before the first of them is answered.
const PIPELINE: usize = 64;

/// A table of values.
pub struct Postgres {
    database: Database,
    layout: Layout,
    /// What deletes values that ended. Dropped, it ends.
    _cleanup: JoinSet<()>,
}

impl Postgres {
    /// Connects, and makes the tables that are not there.
    ///
    /// # Errors
    ///
    /// Settings that cannot be used, a server that cannot be reached or refuses.
    pub async fn start(
        component: &ResolvedComponent,
        reader: &mut Reader<'_>,
        version: Version,
    ) -> Result<Self, Error> {
        let settings = Settings::read(component, reader).await?;
        let tables = TableSettings::read(reader, version)?;
        let database = Database::new(settings);
        let layout = Layout::new(version, &tables.state);
        let plan = Tables {
            state: &tables.state,
            metadata: &tables.metadata,
            prefix: &tables.prefix,
        };
        migrate::migrate(&database, &layout.plan(plan)).await?;
        let mut jobs = JoinSet::new();
        if let Some(interval) = tables.cleanup {
            let cleanup = Cleanup {
                component: component.name.clone(),
                interval,
                metadata: tables.metadata,
                key: match version {
                    Version::V1 => "last-cleanup".to_owned(),
                    Version::V2 => format!("last-cleanup-state-v2-{}", tables.prefix),
                },
                delete: layout.statements.clean.clone(),
            };
            jobs.spawn(cleanup.run(database.clone()));
        }
        Ok(Self {
            database,
            layout,
            _cleanup: jobs,
        })
    }

    async fn try_get(&self, key: &str) -> Result<Option<Item>, Failure> {
        let connection = self.database.connection().await?;
        let statement = &self.layout.statements.get;
        let rows = connection.rows(statement, &[(&key, Type::TEXT)]).await?;
        let item = rows.first().map(|row| self.item(&connection, row));
        item.transpose()
    }

    async fn try_get_all(&self, keys: &[&str]) -> Result<HashMap<String, Item>, Failure> {
        let connection = self.database.connection().await?;
        let statement = &self.layout.statements.get_all;
        let rows = connection
            .rows(statement, &[(&keys, Type::TEXT_ARRAY)])
            .await?;
        let item = |row| Ok((connection.column(row, 0)?, self.item(&connection, row)?));
        rows.iter().map(item).collect()
    }

    /// A row, as [`layout::Statements`] have it.
    fn item(&self, connection: &Connection, row: &Row) -> Result<Item, Failure> {
        let value: &[u8] = connection.column(row, 1)?;
        let is_json: bool = connection.column(row, 2)?;
        let etag: &str = connection.column(row, 3)?;
        let ends: Option<String> = connection.column(row, 4)?;
        let ends = ends.map(|ends| ("ttlExpireTime".to_owned(), ends));
        Ok(Item {
            value: Bytes::copy_from_slice(value),
            etag: self.layout.etag(etag),
            content_type: is_json.then(|| "application/json".to_owned()),
            metadata: Metadata::from_iter(ends),
        })
    }

    async fn try_transact(&self, operations: &[Operation]) -> Result<Written, Failure> {
        let connection = self.database.connection().await?;
        connection.begin().await?;
        for operation in operations {
            match write::apply(&self.layout, &connection, operation).await? {
                Written::Done => {}
                refused => {
                    connection.roll_back().await?;
                    return Ok(refused);
                }
            }
        }
        connection.commit().await?;
        Ok(Written::Done)
    }

    async fn try_write(&self, operation: &Operation) -> Result<Written, Failure> {
        let connection = self.database.connection().await?;
        write::apply(&self.layout, &connection, operation).await
    }

    async fn write_again(&self, operation: &Operation) -> Result<(), StateError> {
        write::check(&self.layout, operation)?;
        let mut tries = Database::tries(repeat(operation));
        loop {
            match self.try_write(operation).await {
                Err(failure) if tries.again(&failure).await => {}
                Err(failure) => return Err(state_error(failure)),
                Ok(written) => return written.into(),
            }
        }
    }

    /// All of them on one connection, each sent before the one before it is answered.
    async fn pipeline(&self, operations: &[Operation]) -> Vec<Result<Written, Failure>> {
        let connection = match self.database.connection().await {
            Ok(connection) => connection,
            Err(failure) => return vec![Err(failure); operations.len()],
        };
        let writes = operations
            .iter()
            .map(|operation| write::apply(&self.layout, &connection, operation));
        let writes: Vec<_> = writes.collect();
        stream::iter(writes).buffered(PIPELINE).collect().await
    }
}

#[async_trait]
impl StateStore for Postgres {
    fn features(&self) -> &[Feature] {
        &[Feature::ETag, Feature::Transactional, Feature::Ttl]
    }

    async fn get(&self, get: &Get) -> Result<Option<Item>, StateError> {
        let mut tries = Database::tries(Repeat::Allowed);
        loop {
            match self.try_get(&get.key).await {
                Err(failure) if tries.again(&failure).await => {}
                outcome => return outcome.map_err(state_error),
            }
        }
    }

    async fn get_all(
        &self,
        gets: &[Get],
        _parallelism: usize,
    ) -> Vec<Result<Option<Item>, StateError>> {
        let keys: Vec<_> = gets.iter().map(|get| get.key.as_str()).collect();
        let mut tries = Database::tries(Repeat::Allowed);
        let items = loop {
            match self.try_get_all(&keys).await {
                Err(failure) if tries.again(&failure).await => {}
                outcome => break outcome.map_err(state_error),
            }
        };
        let of_key = |key: &&str| match &items {
            Ok(items) => Ok(items.get(*key).cloned()),
            Err(error) => Err(error.clone()),
        };
        keys.iter().map(of_key).collect()
    }

    async fn write(&self, operation: Operation) -> Result<(), StateError> {
        self.write_again(&operation).await
    }

    async fn write_all(&self, operations: Vec<Operation>) -> Vec<Result<(), StateError>> {
        if operations.len() < 2 || !write::are_apart(&self.layout, &operations) {
            let mut outcomes = Vec::with_capacity(operations.len());
            for operation in &operations {
                outcomes.push(self.write_again(operation).await);
            }
            return outcomes;
        }
        let written = self.pipeline(&operations).await;
        let mut outcomes = Vec::with_capacity(operations.len());
        for (operation, written) in operations.iter().zip(written) {
            outcomes.push(match written {
                Ok(written) => written.into(),
                Err(failure) if Database::tries(repeat(operation)).again(&failure).await => {
                    self.write_again(operation).await
                }
                Err(failure) => Err(state_error(failure)),
            });
        }
        outcomes
    }

    async fn transact(&self, mut operations: Vec<Operation>) -> Result<(), StateError> {
        if let [operation] = operations.as_slice() {
            return self.write_again(operation).await;
        }
        for operation in &operations {
            write::check(&self.layout, operation)?;
        }
        // Writes of different keys can change places. In one order, no two transactions of these
        // wait for each other.
        operations.sort_by(|one, other| write::key(one).cmp(write::key(other)));
        let denied = |operation| repeat(operation) == Repeat::Denied;
        let mut tries = Database::tries(if operations.iter().any(denied) {
            Repeat::Denied
        } else {
            Repeat::Allowed
        });
        loop {
            match self.try_transact(&operations).await {
                Err(failure) if tries.again(&failure).await => {}
                Err(failure) => return Err(state_error(failure)),
                Ok(written) => return written.into(),
            }
        }
    }
}

fn state_error(failure: Failure) -> StateError {
    BackendError::from(failure).into()
}
