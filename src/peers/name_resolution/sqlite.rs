//! `sqlite`: sidecars write themselves into a database file that they share.
//!
//! The tables are those of Dapr 1.18, so that its sidecars and ours can share one file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior, params};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::address::PeerAddress;
use super::directory::{Cached, Directory, Look, spread};
use super::{Error, Lookup, Registration, ResolveError, Resolver};
use crate::process::tasks::{BoxError, Tasks, blocking, with_causes};
use crate::resources::configuration::name_resolution::SqliteNames;

/// The key of the schema's version in the table of metadata.
const VERSION_KEY: &str = "nr-migrations";
/// The version of the schema that this program knows.
const VERSION: i64 = 1;
/// The longest that opening the database may take, while others bring its tables up to date.
const OPENING: Duration = Duration::from_secs(30);
/// The most rows that are read.
const MAX_ROWS: u32 = 10_000;

/// The resolver.
#[derive(Debug)]
struct Sqlite {
    hosts: Cached<Arc<Hosts>>,
}

/// The table of sidecars.
#[derive(Debug)]
struct Hosts {
    connection: Arc<Mutex<Connection>>,
    timeout: Duration,
    statements: Arc<Statements>,
}

/// The statements, with the names of the tables in them.
#[derive(Debug)]
struct Statements {
    hosts_table: String,
    metadata_table: String,
    read_version: String,
    write_version: String,
    register: String,
    renew: String,
    withdraw: String,
    clean: String,
    list: String,
    /// How old a row of a live sidecar is at most, in seconds.
    max_age: i64,
}

/// A database that cannot be used.
#[derive(Debug, thiserror::Error)]
enum DatabaseError {
    #[error("the database failed")]
    Sqlite(#[from] rusqlite::Error),
    #[error("its schema has version {0}; accepted is {VERSION}, of Dapr 1.18")]
    Version(String),
    #[error("a database in memory has no other sidecars in it; accepted is a file")]
    InMemory,
    #[error("it did not answer within {0:?}")]
    Timeout(Duration),
}

/// Opens the database, writes this sidecar into it, and starts the task that renews the row.
pub(super) async fn start(
    names: &SqliteNames,
    registration: Registration,
    tasks: &mut Tasks,
) -> Result<Arc<dyn Resolver>, Error> {
    let address = registration.address()?;
    let fail = |cause: DatabaseError| Error::Start {
        resolver: "sqlite",
        cause: cause.into(),
    };
    let hosts = Arc::new(Hosts::open(names).await.map_err(fail)?);
    let row = Row {
        id: format!("{:032x}", fastrand::u128(..)),
        address: address.to_string(),
        app_id: registration.app_id,
        namespace: registration.namespace,
    };
    hosts.register(row.clone()).await.map_err(fail)?;
    info!(app_id = row.app_id, %address, "Announced this sidecar to others");
    let keep = Keep {
        hosts: Arc::clone(&hosts),
        row,
        // A renewal may take as long as the timeout, and the time of a row is cut to seconds. Half
        // the interval leaves room for both, and for one that fails.
        renew: names.update_interval / 2,
        clean: names.cleanup_interval,
    };
    tasks.spawn("registration in a database", keep.run(tasks.shutdown()));
    Ok(Arc::new(Sqlite {
        hosts: Cached::new(hosts),
    }))
}

#[async_trait]
impl Resolver for Sqlite {
    async fn resolve(&self, app: &Lookup<'_>) -> Result<Vec<PeerAddress>, ResolveError> {
        let addresses = self.hosts.find(app).await?;
        if addresses.is_empty() {
            return Err(ResolveError::not_found(app));
        }
        Ok(spread(addresses))
    }
}

#[async_trait]
impl Look for Arc<Hosts> {
    async fn look(&self) -> Result<Directory, ResolveError> {
        self.list().await.map_err(|error| match error {
            DatabaseError::Timeout(limit) => ResolveError::Timeout { limit },
            other => ResolveError::Failed {
                cause: other.into(),
            },
        })
    }
}

/// One sidecar.
#[derive(Clone, Debug)]
struct Row {
    id: String,
    address: String,
    app_id: String,
    namespace: String,
}

impl Hosts {
    async fn open(names: &SqliteNames) -> Result<Self, DatabaseError> {
        let statements = Arc::new(Statements::new(names));
        let (names, made) = (names.clone(), Arc::clone(&statements));
        let timeout = names.timeout;
        let opening = blocking(move || {
            let mut connection = connect(&names)?;
            made.migrate(&mut connection)?;
            connection.busy_timeout(names.busy_timeout)?;
            Ok::<_, DatabaseError>(connection)
        });
        let opened = tokio::time::timeout(OPENING, opening).await;
        let connection = opened.map_err(|_| DatabaseError::Timeout(OPENING))??;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
            timeout,
            statements,
        })
    }

    /// One piece of work at a time, each as long as the timeout at most.
    async fn with<T, F>(&self, work: F) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection, &Statements) -> Result<T, DatabaseError> + Send + 'static,
    {
        let (connection, statements) = (Arc::clone(&self.connection), Arc::clone(&self.statements));
        let working = async {
            let mut connection = connection.lock_owned().await;
            blocking(move || work(&mut connection, &statements)).await
        };
        let done = tokio::time::timeout(self.timeout, working).await;
        done.map_err(|_| DatabaseError::Timeout(self.timeout))?
    }

    /// Writes a row in place of any other one with its address.
    async fn register(&self, row: Row) -> Result<(), DatabaseError> {
        self.with(move |connection, statements| {
            let values = params![row.id, row.address, row.app_id, row.namespace];
            connection.execute(&statements.register, values)?;
            Ok(())
        })
        .await
    }

    /// Says that the row is alive. False where it is not there any more.
    async fn renew(&self, row: &Row) -> Result<bool, DatabaseError> {
        let (id, address) = (row.id.clone(), row.address.clone());
        self.with(move |connection, statements| {
            let changed = connection.execute(&statements.renew, params![id, address])?;
            Ok(changed > 0)
        })
        .await
    }

    async fn withdraw(&self, row: &Row) -> Result<(), DatabaseError> {
        let (id, address) = (row.id.clone(), row.address.clone());
        self.with(move |connection, statements| {
            connection.execute(&statements.withdraw, params![id, address])?;
            Ok(())
        })
        .await
    }

    /// Deletes the rows that were not renewed for `age`.
    async fn clean(&self, age: Duration) -> Result<usize, DatabaseError> {
        let seconds = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
        self.with(move |connection, statements| {
            Ok(connection.execute(&statements.clean, params![seconds])?)
        })
        .await
    }

    async fn list(&self) -> Result<Directory, DatabaseError> {
        self.with(|connection, statements| {
            let mut list = connection.prepare(&statements.list)?;
            let mut rows = list.query(params![statements.max_age, MAX_ROWS])?;
            let mut directory = Directory::default();
            while let Some(row) = rows.next()? {
                let address: String = row.get(2)?;
                // A row that makes no sense hides no other one.
                if let Ok(address) = PeerAddress::parse(&address) {
                    directory.add(row.get(0)?, row.get(1)?, address);
                }
            }
            Ok(directory)
        })
        .await
    }
}

impl Statements {
    /// The names of the tables are letters, digits and `_` (see [`SqliteNames`]).
    fn new(names: &SqliteNames) -> Self {
        let (hosts, metadata) = (&names.table, &names.metadata_table);
        Self {
            hosts_table: format!(
                "CREATE TABLE {hosts} (
                   registration_id TEXT NOT NULL PRIMARY KEY,
                   address TEXT NOT NULL,
                   app_id TEXT NOT NULL,
                   namespace TEXT NOT NULL,
                   last_update INTEGER NOT NULL
                 );
                 CREATE UNIQUE INDEX {hosts}_address_idx ON {hosts} (address);
                 CREATE INDEX {hosts}_last_update_idx ON {hosts} (last_update);"
            ),
            metadata_table: format!(
                "CREATE TABLE IF NOT EXISTS {metadata} (
                   key TEXT NOT NULL PRIMARY KEY,
                   value TEXT NOT NULL
                 )"
            ),
            read_version: format!("SELECT value FROM {metadata} WHERE key = ?1"),
            write_version: format!("REPLACE INTO {metadata} (key, value) VALUES (?1, ?2)"),
            register: format!(
                "REPLACE INTO {hosts} (registration_id, address, app_id, namespace, last_update)
                 VALUES (?1, ?2, ?3, ?4, unixepoch())"
            ),
            renew: format!(
                "UPDATE {hosts} SET last_update = unixepoch()
                 WHERE registration_id = ?1 AND address = ?2"
            ),
            withdraw: format!("DELETE FROM {hosts} WHERE registration_id = ?1 AND address = ?2"),
            clean: format!("DELETE FROM {hosts} WHERE unixepoch() - last_update > ?1"),
            list: format!(
                "SELECT namespace, app_id, address FROM {hosts}
                 WHERE unixepoch() - last_update <= ?1 ORDER BY last_update DESC LIMIT ?2"
            ),
            max_age: i64::try_from(names.update_interval.as_secs()).unwrap_or(i64::MAX),
        }
    }

    /// Brings the tables to the version that this program knows, for one sidecar at a time.
    fn migrate(&self, connection: &mut Connection) -> Result<(), DatabaseError> {
        let alone = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
        alone.execute(&self.metadata_table, [])?;
        let version: Option<String> = alone
            .query_row(&self.read_version, [VERSION_KEY], |row| row.get(0))
            .optional()?;
        match version.as_deref().map(str::parse::<i64>) {
            Some(Ok(VERSION)) => {}
            None | Some(Ok(0)) => {
                alone.execute_batch(&self.hosts_table)?;
                alone.execute(
                    &self.write_version,
                    params![VERSION_KEY, VERSION.to_string()],
                )?;
            }
            Some(_) => return Err(DatabaseError::Version(version.unwrap_or_default())),
        }
        Ok(alone.commit()?)
    }
}

fn connect(names: &SqliteNames) -> Result<Connection, DatabaseError> {
    let text = &names.connection_string;
    let lower = text.to_ascii_lowercase();
    if lower.contains(":memory:") || lower.contains("mode=memory") {
        return Err(DatabaseError::InMemory);
    }
    // As in Dapr, what has a query is a URI.
    let path = if lower.starts_with("file:") || !text.contains('?') {
        text.clone()
    } else {
        format!("file:{text}")
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(PathBuf::from(path), flags)?;
    connection.busy_timeout(OPENING)?;
    let journal = if names.disable_wal { "DELETE" } else { "WAL" };
    connection.pragma_update_and_check(None, "journal_mode", journal, |_| Ok(()))?;
    Ok(connection)
}

/// The task that keeps the row of this sidecar.
struct Keep {
    hosts: Arc<Hosts>,
    row: Row,
    renew: Duration,
    clean: Option<Duration>,
}

impl Keep {
    async fn run(self, shutdown: CancellationToken) -> Result<(), BoxError> {
        let mut next_clean = self.clean;
        while !shutdown.is_cancelled() {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(self.renew) => {
                    self.renew().await;
                    next_clean = next_clean.map(|left| left.saturating_sub(self.renew));
                    if next_clean.is_some_and(|left| left.is_zero()) {
                        next_clean = self.clean;
                        self.clean().await;
                    }
                }
            }
        }
        if let Err(error) = self.hosts.withdraw(&self.row).await {
            let problem = with_causes(&error);
            warn!(
                error = problem,
                "Others may believe for a while that this sidecar is there"
            );
        }
        Ok(())
    }

    /// Renews the row, and writes it anew where it was deleted, as by a sidecar that found it old
    /// while this machine slept.
    async fn renew(&self) {
        let renewed = match self.hosts.renew(&self.row).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                warn!(
                    address = self.row.address,
                    "The row of this sidecar was gone, or another sidecar has its address"
                );
                self.hosts.register(self.row.clone()).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = renewed {
            let problem = with_causes(&error);
            warn!(
                error = problem,
                "Cannot renew the row of this sidecar; trying again"
            );
        }
    }

    async fn clean(&self) {
        if let Some(age) = self.clean
            && let Err(error) = self.hosts.clean(age).await
        {
            let problem = with_causes(&error);
            warn!(
                error = problem,
                "Cannot delete the rows of sidecars that are gone"
            );
        }
    }
}

#[cfg(test)]
mod tests;
