//! Makes the tables, however many sidecars of this program and of Dapr start at once.

use std::time::Duration;

use tokio::time::sleep;
use tokio_postgres::types::Type;

use crate::components::Error;
use crate::components::postgres::{
    Connection, Database, Failure, Parameter, Repeat, Table, exists,
};

/// The most tries to make the table of steps, which two may do at once.
const MOST_TRIES: u32 = 5;
/// The pause between two of them.
const PAUSE: Duration = Duration::from_millis(50);
/// The row that whoever makes tables holds, as in Dapr 1.18.
const LOCK: &str = "lock";

/// How a table comes to be.
pub(super) struct Plan {
    /// The table in which the number of steps that are done is.
    pub(super) metadata: Table,
    /// The table.
    pub(super) table: Table,
    /// Where the number is.
    pub(super) key: String,
    /// Statements, each of which may be done already.
    pub(super) steps: Vec<String>,
    /// A statement with a key, which a table of other columns refuses: nothing is made then.
    pub(super) probe: String,
}

/// Does the steps that are not done yet. Where all are, nothing is written, so that a user that may
/// make no table can use one that is there.
pub(super) async fn migrate(database: &Database, plan: &Plan) -> Result<(), Error> {
    let mut tries = Database::tries(Repeat::Allowed);
    loop {
        match try_migrate(database, plan).await {
            Err(failure) if tries.again(&failure).await => {}
            outcome => return outcome.map_err(|failure| Error::Init(failure.to_string())),
        }
    }
}

async fn try_migrate(database: &Database, plan: &Plan) -> Result<(), Failure> {
    let connection = database.connection().await?;
    make_metadata(&connection, &plan.metadata).await?;
    let nothing: Parameter<'_> = (&"", Type::TEXT);
    if done(&connection, plan).await? >= plan.steps.len() {
        return connection.rows(&plan.probe, &[nothing]).await.map(drop);
    }
    let metadata = &plan.metadata;
    let insert = format!(
        "INSERT INTO {metadata} (key, value) VALUES ($1, 'lock') ON CONFLICT (key) DO NOTHING"
    );
    let lock: Parameter<'_> = (&LOCK, Type::TEXT);
    connection
        .count(&insert, std::slice::from_ref(&lock))
        .await?;
    connection.begin().await?;
    let hold = format!("SELECT value FROM {metadata} WHERE key = $1 FOR UPDATE");
    connection.rows(&hold, &[lock]).await?;
    let done = done(&connection, plan).await?;
    for step in plan.steps.iter().skip(done) {
        connection.batch(step).await?;
    }
    let record = format!(
        "INSERT INTO {metadata} AS old (key, value) VALUES ($1, $2) \
         ON CONFLICT (key) DO UPDATE SET value = excluded.value"
    );
    let level = plan.steps.len().to_string();
    if done < plan.steps.len() {
        let parameters = [parameter(&plan.key), parameter(&level)];
        connection.count(&record, &parameters).await?;
    }
    connection.rows(&plan.probe, &[nothing]).await?;
    connection.commit().await
}

/// How many steps are done: none where the table is not there, whatever the number says.
async fn done(connection: &Connection, plan: &Plan) -> Result<usize, Failure> {
    if !exists(connection, &plan.table).await? {
        return Ok(0);
    }
    let read = format!("SELECT value FROM {} WHERE key = $1", plan.metadata);
    let rows = connection.rows(&read, &[parameter(&plan.key)]).await?;
    match rows.first() {
        Some(row) => Ok(connection.column::<&str>(row, 0)?.parse().unwrap_or(0)),
        None => Ok(0),
    }
}

async fn make_metadata(connection: &Connection, table: &Table) -> Result<(), Failure> {
    let make = format!(
        "CREATE TABLE IF NOT EXISTS {table} (key text NOT NULL PRIMARY KEY, value text NOT NULL)"
    );
    let mut tries = 0;
    // Even with "IF NOT EXISTS" one of two that do it at once may fail.
    while !exists(connection, table).await? {
        tries += 1;
        match connection.batch(&make).await {
            Ok(()) => return Ok(()),
            Err(failure) if tries >= MOST_TRIES => return Err(failure),
            Err(_) => sleep(PAUSE).await,
        }
    }
    Ok(())
}

fn parameter(text: &String) -> Parameter<'_> {
    (text, Type::TEXT)
}
