//! Deletes values that ended, by one of all the sidecars that share a table.

use std::time::Duration;

use tokio::time::sleep;
use tokio_postgres::types::Type;
use tracing::{debug, info, warn};

use crate::components::postgres::{Database, Failure, Table};

/// How long one cleaning may take, as in Dapr 1.18.
const LIMIT: Duration = Duration::from_secs(10 * 60);
/// How much less than the interval may have passed since the last one, as in Dapr 1.18.
const SLACK: Duration = Duration::from_millis(100);

/// What is cleaned, and how often.
pub(super) struct Cleanup {
    pub(super) component: String,
    pub(super) interval: Duration,
    /// The table in which the time of the last cleaning is.
    pub(super) metadata: Table,
    /// Where the time is.
    pub(super) key: String,
    /// The statement that deletes.
    pub(super) delete: String,
}

impl Cleanup {
    /// Cleans again and again. Dropping the future ends it.
    pub(super) async fn run(self, database: Database) {
        loop {
            sleep(self.interval).await;
            match self.clean(&database).await {
                Ok(None) => debug!(
                    component = self.component,
                    "Another sidecar has deleted the values that ended"
                ),
                Ok(Some(0)) => {}
                Ok(Some(values)) => info!(
                    component = self.component,
                    values, "Deleted values that ended"
                ),
                Err(failure) => warn!(
                    component = self.component,
                    error = %failure,
                    "Cannot delete the values that ended"
                ),
            }
        }
    }

    /// Deletes what ended, unless that was done a short time ago; how many values.
    async fn clean(&self, database: &Database) -> Result<Option<u64>, Failure> {
        let metadata = &self.metadata;
        let claim = format!(
            "INSERT INTO {metadata} AS last (key, value) VALUES ($1, now()::text) \
             ON CONFLICT (key) DO UPDATE SET value = now()::text \
             WHERE extract(epoch FROM now() - last.value::timestamp with time zone) > $2"
        );
        let age = self.interval.saturating_sub(SLACK).as_secs_f64();
        let connection = database.connection().await?.with_limit(LIMIT);
        let parameters = [(&self.key as _, Type::TEXT), (&age as _, Type::FLOAT8)];
        if connection.count(&claim, &parameters).await? == 0 {
            return Ok(None);
        }
        connection.count(&self.delete, &[]).await.map(Some)
    }
}
