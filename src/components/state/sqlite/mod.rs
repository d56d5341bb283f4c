//! State in a database file (`state.sqlite`).
//!
//! The tables are those of Dapr 1.18, so that its sidecars and ours can share a file. One
//! connection writes; others read meanwhile, and see what was answered before they began.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use self::settings::Settings;
use self::tables::Tables;
use self::writer::{Outcome, Queue, Shared};
use super::{Feature, Get, Item, Operation, StateError, StateStore};
use crate::components::Error;
use crate::components::metadata::Reader;
use crate::process::tasks::blocking;

mod address;
mod cleanup;
mod failure;
mod settings;
mod tables;
mod writer;

/// How many read at once.
const READERS: usize = 4;
/// The longest that opening the database may take, while others bring its tables up to date.
const OPENING: Duration = Duration::from_secs(30);

/// The store.
pub struct Sqlite {
    queue: Queue,
    readers: Vec<Shared>,
    /// Counts the reads, so that readers take turns.
    reads: AtomicUsize,
    tables: Arc<Tables>,
    timeout: Duration,
    /// The writer and the cleanup, which end with the store.
    _tasks: JoinSet<()>,
}

impl Sqlite {
    /// Opens the database that the settings name, and brings its tables up to date.
    pub(in crate::components) async fn open(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let settings = Settings::read(reader)?;
        let tables = Arc::new(Tables::new(&settings));
        let (of_connections, migrated) = (settings.clone(), Arc::clone(&tables));
        let opening = blocking(move || connect(&of_connections, &migrated));
        let failed = |problem: String| Error::Init(format!("cannot open the database: {problem}"));
        let opened = tokio::time::timeout(OPENING, opening).await;
        let opened = opened.map_err(|_| failed(format!("it took longer than {OPENING:?}")))?;
        let (connection, readers) = opened.map_err(failed)?;
        let (queue, jobs) = writer::queue();
        let mut tasks = JoinSet::new();
        tasks.spawn(writer::run(
            Arc::clone(&connection),
            Arc::clone(&tables),
            jobs,
        ));
        if let Some(interval) = settings.cleanup_interval {
            tasks.spawn(cleanup::run(connection, Arc::clone(&tables), interval));
        }
        Ok(Self {
            queue,
            readers,
            reads: AtomicUsize::new(0),
            tables,
            timeout: settings.timeout,
            _tasks: tasks,
        })
    }

    /// Reads with one of the connections, in a transaction: all that it reads is of one moment.
    async fn read<T, F>(&self, work: F) -> Result<T, StateError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &Tables) -> T + Send + 'static,
    {
        let turn = self.reads.fetch_add(1, Ordering::Relaxed) % self.readers.len();
        let (reader, tables) = (Arc::clone(&self.readers[turn]), Arc::clone(&self.tables));
        let reading = async {
            let mut connection = reader.lock_owned().await;
            blocking(move || {
                let transaction = connection.transaction();
                let transaction = transaction.map_err(|error| failure::of_database(&error))?;
                Ok(work(&transaction, &tables))
            })
            .await
        };
        let read = tokio::time::timeout(self.timeout, reading).await;
        read.unwrap_or_else(|_| Err(self.too_slow()))
    }

    fn too_slow(&self) -> StateError {
        StateError::Unavailable(format!("it did not answer within {:?}", self.timeout))
    }

    /// Waits for what becomes of several jobs, which were sent at once.
    async fn outcomes(&self, jobs: Vec<Vec<Operation>>) -> Vec<Result<(), StateError>> {
        let count = jobs.len();
        let writing = async {
            let mut sent: Vec<Outcome> = Vec::with_capacity(count);
            for operations in jobs {
                sent.push(writer::send(&self.queue, operations).await);
            }
            let mut outcomes = Vec::with_capacity(count);
            for outcome in sent {
                let gone = |_| Err(StateError::Unavailable("it is closed".to_owned()));
                outcomes.push(outcome.await.unwrap_or_else(gone));
            }
            outcomes
        };
        let written = tokio::time::timeout(self.timeout, writing).await;
        written.unwrap_or_else(|_| vec![Err(self.too_slow()); count])
    }

    async fn outcome(&self, operations: Vec<Operation>) -> Result<(), StateError> {
        let mut outcomes = self.outcomes(vec![operations]).await;
        outcomes.pop().unwrap_or(Ok(()))
    }
}

/// The connection that writes, and those that read, which is the same one in memory.
fn connect(settings: &Settings, tables: &Tables) -> Result<(Shared, Vec<Shared>), String> {
    let address = &settings.address;
    let text = |error: rusqlite::Error| error.to_string();
    let mut connection = address.connect(settings, OPENING).map_err(text)?;
    tables
        .migrate(&mut connection)
        .map_err(|error| error.to_string())?;
    connection
        .busy_timeout(settings.busy_timeout)
        .map_err(text)?;
    let connection = Arc::new(Mutex::new(connection));
    if address.in_memory {
        return Ok((Arc::clone(&connection), vec![connection]));
    }
    let reader = |_| {
        Ok(Arc::new(Mutex::new(
            address.connect(settings, settings.busy_timeout)?,
        )))
    };
    let readers: rusqlite::Result<Vec<_>> = (0..READERS).map(reader).collect();
    Ok((connection, readers.map_err(text)?))
}

#[async_trait]
impl StateStore for Sqlite {
    fn features(&self) -> &[Feature] {
        &[Feature::ETag, Feature::Transactional, Feature::Ttl]
    }

    async fn get(&self, get: &Get) -> Result<Option<Item>, StateError> {
        let key = get.key.clone();
        let read = self.read(move |connection, tables| tables.get(connection, &key));
        Ok(read.await??)
    }

    async fn get_all(
        &self,
        gets: &[Get],
        _parallelism: usize,
    ) -> Vec<Result<Option<Item>, StateError>> {
        let keys: Vec<_> = gets.iter().map(|get| get.key.clone()).collect();
        let read = self.read(move |connection, tables| {
            let get = |key: &String| Ok(tables.get(connection, key)?);
            keys.iter().map(get).collect::<Vec<_>>()
        });
        let failed = |error: StateError| vec![Err(error); gets.len()];
        read.await.unwrap_or_else(failed)
    }

    async fn write(&self, operation: Operation) -> Result<(), StateError> {
        self.outcome(vec![operation]).await
    }

    async fn write_all(&self, operations: Vec<Operation>) -> Vec<Result<(), StateError>> {
        self.outcomes(operations.into_iter().map(|one| vec![one]).collect())
            .await
    }

    async fn transact(&self, operations: Vec<Operation>) -> Result<(), StateError> {
        if operations.is_empty() {
            return Ok(());
        }
        self.outcome(operations).await
    }
}

#[cfg(test)]
mod tests;
