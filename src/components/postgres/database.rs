//! A database behind a pool of connections.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql, Type};

use super::failure::{Failure, Outcome};
use super::settings::{Limits, Settings};
use super::table::Table;
use crate::base::back_off::BackOff;

/// How often work is tried again that gave way, or whose connection broke.
const MOST_AGAIN: u32 = 8;
/// The pauses before that.
const PAUSES: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(100)];
/// How long the server may take to hear that nobody waits for a statement any more.
const CANCEL_LIMIT: Duration = Duration::from_secs(1);
/// How often the pool is looked through for connections that are unused or old.
const LOOKS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(60)];

/// A value for a statement, with its type.
pub(in crate::components) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// Whether work may be done again that may be done already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::components) enum Repeat {
    /// Twice is as good as once.
    Allowed,
    /// It may not.
    Denied,
}

/// A database. The connections end with its last clone.
#[derive(Clone)]
pub(in crate::components) struct Database {
    pool: Pool,
    settings: Arc<Settings>,
    server: Arc<str>,
    /// What ends unused connections. Dropped, it ends.
    _keeper: Arc<JoinSet<()>>,
}

impl Database {
    /// One that is not connected yet.
    pub(in crate::components) fn new(settings: Settings) -> Self {
        // A connection that was closed is noticed without a question to the server.
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let limit = Some(settings.timeout);
        let (config, tls) = (settings.config.clone(), settings.tls.clone());
        let pool = Pool::builder(Manager::from_config(config, tls, recycling))
            .max_size(settings.limits.connections)
            .runtime(Runtime::Tokio1)
            .wait_timeout(limit)
            .create_timeout(limit)
            .recycle_timeout(limit)
            .build()
            .expect("a pool with time limits has its runtime");
        let mut keeper = JoinSet::new();
        keeper.spawn(keep(pool.clone(), settings.limits));
        Self {
            pool,
            server: settings.server().into(),
            settings: Arc::new(settings),
            _keeper: Arc::new(keeper),
        }
    }

    /// How it is reached.
    pub(in crate::components) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A connection, which is made where there is none, or waited for where there are enough.
    pub(in crate::components) async fn connection(&self) -> Result<Connection, Failure> {
        let limit = self.settings.timeout;
        let object = self.pool.get().await;
        let object = object.map_err(|error| {
            let seconds = limit.as_secs_f32();
            Failure::of_pool(&self.server, &error, format_args!("{seconds} s"))
        })?;
        Ok(Connection {
            object: Some(object),
            server: Arc::clone(&self.server),
            limit,
            settings: Arc::clone(&self.settings),
            is_unfit: AtomicBool::new(false),
        })
    }

    /// For one piece of work: whether it is tried again.
    pub(in crate::components) fn tries(repeat: Repeat) -> Tries {
        Tries {
            repeat,
            back_off: BackOff::new(PAUSES),
            again: 0,
        }
    }
}

/// The tries of one piece of work.
#[derive(Debug)]
pub(in crate::components) struct Tries {
    repeat: Repeat,
    back_off: BackOff,
    again: u32,
}

impl Tries {
    /// Whether the work is tried again after this failure; after a pause, it is.
    pub(in crate::components) async fn again(&mut self, failure: &Failure) -> bool {
        let may = match failure.outcome {
            Outcome::GaveWay => true,
            Outcome::Lost => self.repeat == Repeat::Allowed,
            Outcome::Unavailable | Outcome::Refused => false,
        };
        if !may || self.again >= MOST_AGAIN {
            return false;
        }
        self.again += 1;
        // Two that gave way to each other do not begin again together.
        sleep(self.back_off.another().mul_f32(0.5 + fastrand::f32() / 2.0)).await;
        true
    }
}

/// Ends connections that nobody used for long, and those that are old.
async fn keep(pool: Pool, limits: Limits) {
    let [shortest, longest] = LOOKS;
    let pause = (limits.idle.min(limits.age) / 2).clamp(shortest, longest);
    loop {
        sleep(pause).await;
        pool.retain(|_, metrics| metrics.last_used() < limits.idle && metrics.age() < limits.age);
    }
}

/// A connection, which goes back to the pool when it is dropped, unless it is of no use any more.
pub(in crate::components) struct Connection {
    /// Invariant: there until it is dropped.
    object: Option<Object>,
    server: Arc<str>,
    limit: Duration,
    settings: Arc<Settings>,
    /// In the middle of something, or silent.
    is_unfit: AtomicBool,
}

impl Connection {
    /// The same with another limit on the time of each piece of work.
    pub(in crate::components) fn with_limit(self, limit: Duration) -> Self {
        let mut connection = self;
        connection.limit = limit;
        connection
    }

    /// Runs a statement, and hands back its rows.
    pub(in crate::components) async fn rows(
        &self,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Failure> {
        let object = self.object();
        let work = async {
            if !self.settings.prepares {
                return object.query_typed(statement, parameters).await;
            }
            let (types, values) = apart(parameters);
            let prepared = object.prepare_typed_cached(statement, &types).await?;
            object.query(&prepared, &values).await
        };
        self.within(work).await
    }

    /// Runs a statement, and hands back how many rows it wrote.
    pub(in crate::components) async fn count(
        &self,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<u64, Failure> {
        let object = self.object();
        let work = async {
            if !self.settings.prepares {
                return object.execute_typed(statement, parameters).await;
            }
            let (types, values) = apart(parameters);
            let prepared = object.prepare_typed_cached(statement, &types).await?;
            object.execute(&prepared, &values).await
        };
        self.within(work).await
    }

    /// Runs statements without parameters.
    pub(in crate::components) async fn batch(&self, statements: &str) -> Result<(), Failure> {
        self.within(self.object().batch_execute(statements)).await
    }

    /// Begins a transaction. Dropped in its midst, the connection ends, and nothing of it stays.
    pub(in crate::components) async fn begin(&self) -> Result<(), Failure> {
        self.is_unfit.store(true, Ordering::Relaxed);
        self.batch("BEGIN").await
    }

    /// Ends it: all of it is done.
    pub(in crate::components) async fn commit(&self) -> Result<(), Failure> {
        self.batch("COMMIT").await?;
        self.is_unfit.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Ends it: none of it is done.
    pub(in crate::components) async fn roll_back(&self) -> Result<(), Failure> {
        self.batch("ROLLBACK").await?;
        self.is_unfit.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// A column of a row.
    pub(in crate::components) fn column<'r, T: FromSql<'r>>(
        &self,
        row: &'r Row,
        at: usize,
    ) -> Result<T, Failure> {
        let column = row.try_get(at);
        column.map_err(|error| Failure::unreadable(&self.server, &error))
    }

    async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Failure> {
        let failure = match timeout(self.limit, work).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => Failure::of(&self.server, &error),
            Err(_) => {
                self.cancel().await;
                let seconds = self.limit.as_secs_f32();
                Failure::late(&self.server, format_args!("{seconds} s"))
            }
        };
        // What is prepared on it may be of no use any more, or it does not answer.
        if matches!(failure.outcome, Outcome::GaveWay | Outcome::Lost) {
            self.is_unfit.store(true, Ordering::Relaxed);
        }
        Err(failure)
    }

    /// Asks the server to give up what it is at, so that it is not done long after.
    async fn cancel(&self) {
        let token = self.object().cancel_token();
        let asking = token.cancel_query(self.settings.tls.clone());
        // Where it cannot be reached, the end of the connection says the same.
        let _ = timeout(CANCEL_LIMIT, asking).await;
    }

    fn object(&self) -> &Object {
        let object = self.object.as_ref();
        object.expect("a connection has its object until it is dropped")
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.server)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.is_unfit.load(Ordering::Relaxed)
            && let Some(object) = self.object.take()
        {
            drop(Object::take(object));
        }
    }
}

/// Whether there is a table, for this user.
pub(in crate::components) async fn exists(
    connection: &Connection,
    table: &Table,
) -> Result<bool, Failure> {
    let name = table.to_string();
    let statement = "SELECT to_regclass($1) IS NOT NULL";
    let rows = connection.rows(statement, &[(&name, Type::TEXT)]).await?;
    match rows.first() {
        Some(row) => connection.column(row, 0),
        None => Ok(false),
    }
}

fn apart<'a>(parameters: &[Parameter<'a>]) -> (Vec<Type>, Vec<&'a (dyn ToSql + Sync)>) {
    let apart = parameters
        .iter()
        .map(|(value, kind)| (kind.clone(), *value));
    apart.unzip()
}
