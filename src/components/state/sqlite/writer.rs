//! The one writer of a database.
//!
//! ```text
//! write | transact → queue → those that wait, in one transaction → answers, once it is on disk
//! ```
//! Each commit waits for the disk. Writes that came in meanwhile are committed together, so that
//! many writers wait for one disk hardly longer than one does.

use std::sync::Arc;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::failure::{Failure, of_database};
use super::tables::Tables;
use crate::components::state::{Operation, StateError};
use crate::process::tasks::blocking;

/// How many writes may wait. Those that come after them wait for room.
const WAITING: usize = 1_024;
/// The most writes of one transaction.
const TOGETHER: usize = 128;

/// A connection, for one at a time.
pub(super) type Shared = Arc<Mutex<Connection>>;

/// Operations that are done all or none, and who waits for what becomes of them.
pub(super) struct Job {
    operations: Vec<Operation>,
    done: oneshot::Sender<Result<(), StateError>>,
}

/// What becomes of a job.
pub(super) type Outcome = oneshot::Receiver<Result<(), StateError>>;

/// The way to the writer.
pub(super) type Queue = mpsc::Sender<Job>;

/// A queue, and what takes jobs from it.
pub(super) fn queue() -> (Queue, mpsc::Receiver<Job>) {
    mpsc::channel(WAITING)
}

/// Hands a job to the writer, as soon as there is room.
pub(super) async fn send(queue: &Queue, operations: Vec<Operation>) -> Outcome {
    let (done, outcome) = oneshot::channel();
    // Where the writer is gone, so is the other end of the outcome.
    let _ = queue.send(Job { operations, done }).await;
    outcome
}

/// Writes until the queue is closed.
pub(super) async fn run(connection: Shared, tables: Arc<Tables>, mut jobs: mpsc::Receiver<Job>) {
    let mut batch = Vec::new();
    while jobs.recv_many(&mut batch, TOGETHER).await > 0 {
        let mut connection = Arc::clone(&connection).lock_owned().await;
        let (tables, taken) = (Arc::clone(&tables), std::mem::take(&mut batch));
        blocking(move || write(&mut connection, &tables, taken)).await;
    }
}

fn write(connection: &mut Connection, tables: &Tables, jobs: Vec<Job>) {
    let outcomes = commit(connection, tables, &jobs).unwrap_or_else(|error| {
        let error = of_database(&error);
        jobs.iter().map(|_| Err(error.clone())).collect()
    });
    for (job, outcome) in jobs.into_iter().zip(outcomes) {
        let _ = job.done.send(outcome);
    }
}

/// Does jobs in one transaction. One that is refused leaves nothing and takes no other one with
/// it; where the database fails, nothing of all of them is done.
fn commit(
    connection: &mut Connection,
    tables: &Tables,
    jobs: &[Job],
) -> rusqlite::Result<Vec<Result<(), StateError>>> {
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut outcomes = Vec::with_capacity(jobs.len());
    for job in jobs {
        // Whoever does not wait any more was told that it failed.
        if job.done.is_closed() {
            outcomes.push(Ok(()));
            continue;
        }
        // Dropped, it takes back what was done since.
        let savepoint = transaction.savepoint()?;
        let mut operations = job.operations.iter();
        let done = operations.try_for_each(|operation| tables.apply(&savepoint, operation));
        outcomes.push(match done {
            Ok(()) => {
                savepoint.commit()?;
                Ok(())
            }
            Err(Failure::Refused(error)) => Err(error),
            Err(Failure::Database(error)) => return Err(error),
        });
    }
    transaction.commit()?;
    Ok(outcomes)
}
