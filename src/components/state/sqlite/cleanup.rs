//! Deletes the rows of values that ended (`cleanupInterval`).

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, warn};

use super::tables::Tables;
use super::writer::Shared;
use crate::process::tasks::blocking;

/// The most rows that are deleted before writers have their turn.
const AT_ONCE: usize = 500;
/// How long they have it.
const PAUSE: Duration = Duration::from_millis(20);

/// Cleans again and again. Programs that share a database clean it in turn, as with Dapr.
pub(super) async fn run(connection: Shared, tables: Arc<Tables>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        match clean(&connection, &tables, interval).await {
            Ok(0) => {}
            Ok(count) => debug!(count, "Deleted values that had ended"),
            Err(error) => warn!(%error, "Cannot delete the values that ended; trying again later"),
        }
    }
}

async fn clean(
    connection: &Shared,
    tables: &Arc<Tables>,
    interval: Duration,
) -> rusqlite::Result<usize> {
    let begins = {
        let (connection, tables) = (
            Arc::clone(connection).lock_owned().await,
            Arc::clone(tables),
        );
        blocking(move || tables.begin_cleanup(&connection, interval)).await?
    };
    let mut count = 0;
    let mut some_are_left = begins;
    while some_are_left {
        let (connection, tables) = (
            Arc::clone(connection).lock_owned().await,
            Arc::clone(tables),
        );
        let deleted = blocking(move || tables.clean(&connection, AT_ONCE)).await?;
        count += deleted;
        some_are_left = deleted == AT_ONCE;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(count)
}
