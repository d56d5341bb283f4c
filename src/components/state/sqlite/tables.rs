//! The tables of Dapr 1.18, and what is done with them.
//!
//! | column | what it holds |
//! |---|---|
//! | `key` | the key with its prefix |
//! | `value` | the value: a text as it is, other bytes in base64 (`is_binary`) |
//! | `etag` | a UUID, new with each write; the ETag is the number of its 128 bits |
//! | `expiration_time` | when the value ends, in UTC (`2026-01-31 12:00:00.000`), or null |

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params};

use super::failure::Failure;
use super::settings::Settings;
use crate::base::uuid;
use crate::components::message::Metadata;
use crate::components::state::{
    Condition, Delete, ETag, Item, Operation, Set, StateError, Ttl, ends_at,
};

/// The key of the schema's version in the table of metadata.
const VERSION_KEY: &str = "migrations";
/// The version of the schema that this program knows.
const VERSION: u32 = 1;
/// The key of the time when rows were last deleted that ended.
const CLEANUP_KEY: &str = "last-cleanup";
/// Now, with milliseconds, so that no value ends before its time. As texts, such times compare
/// with those that Dapr writes without them.
const NOW: &str = "strftime('%Y-%m-%d %H:%M:%f', 'now')";

/// The statements, with the names of the tables in them.
#[derive(Debug)]
pub(super) struct Tables {
    values_table: String,
    metadata_table: String,
    read_version: String,
    write_version: String,
    get: String,
    put: String,
    put_first: String,
    put_matching: String,
    remove: String,
    remove_matching: String,
    begin_cleanup: String,
    clean: String,
}

impl Tables {
    /// The names of the tables are letters, digits and `_` (see [`Settings`]).
    pub(super) fn new(settings: &Settings) -> Self {
        let values = format!("\"{}\"", settings.table);
        let metadata = format!("\"{}\"", settings.metadata_table);
        let end = "strftime('%Y-%m-%d %H:%M:%f', 'now', '+' || ?5 || ' seconds')";
        let is_live = format!("(expiration_time IS NULL OR expiration_time > {NOW})");
        let put = format!(
            "INSERT INTO {values} (key, value, is_binary, etag, update_time, expiration_time)
             VALUES (?1, ?2, ?3, ?4, CURRENT_TIMESTAMP, {end})
             ON CONFLICT (key) DO UPDATE SET
               value = excluded.value, is_binary = excluded.is_binary, etag = excluded.etag,
               update_time = excluded.update_time, expiration_time = excluded.expiration_time"
        );
        Self {
            values_table: format!(
                "CREATE TABLE IF NOT EXISTS {values} (
                   key TEXT NOT NULL PRIMARY KEY,
                   value TEXT NOT NULL,
                   is_binary BOOLEAN NOT NULL,
                   etag TEXT NOT NULL,
                   expiration_time TIMESTAMP DEFAULT NULL,
                   update_time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
                 )"
            ),
            metadata_table: format!(
                "CREATE TABLE IF NOT EXISTS {metadata} (
                   key TEXT NOT NULL PRIMARY KEY,
                   value TEXT NOT NULL
                 )"
            ),
            read_version: format!("SELECT value FROM {metadata} WHERE key = ?1"),
            write_version: format!("REPLACE INTO {metadata} (key, value) VALUES (?1, ?2)"),
            get: format!(
                "SELECT value, is_binary, etag, unixepoch(expiration_time) FROM {values}
                 WHERE key = ?1 AND {is_live}"
            ),
            put_first: format!("{put} WHERE expiration_time <= {NOW}"),
            put,
            put_matching: format!(
                "UPDATE {values} SET value = ?2, is_binary = ?3, etag = ?4,
                   update_time = CURRENT_TIMESTAMP, expiration_time = {end}
                 WHERE key = ?1 AND etag = ?6 AND {is_live}"
            ),
            remove: format!("DELETE FROM {values} WHERE key = ?1"),
            remove_matching: format!(
                "DELETE FROM {values} WHERE key = ?1 AND etag = ?2 AND {is_live}"
            ),
            begin_cleanup: format!(
                "INSERT INTO {metadata} (key, value) VALUES (?1, CURRENT_TIMESTAMP)
                 ON CONFLICT (key) DO UPDATE SET value = CURRENT_TIMESTAMP
                 WHERE unixepoch() - unixepoch(value) >= ?2"
            ),
            clean: format!(
                "DELETE FROM {values} WHERE key IN
                   (SELECT key FROM {values} WHERE expiration_time <= {NOW} LIMIT ?1)"
            ),
        }
    }

    /// Brings the tables to the version that this program knows, for one program at a time.
    pub(super) fn migrate(&self, connection: &mut Connection) -> Result<(), MigrationError> {
        let alone = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
        alone.execute(&self.metadata_table, [])?;
        let version: Option<String> = alone
            .query_row(&self.read_version, [VERSION_KEY], |row| row.get(0))
            .optional()?;
        match version.as_deref().map(str::parse) {
            Some(Ok(VERSION)) => {}
            None | Some(Ok(0)) => {
                // Early versions of Dapr made the table without noting it.
                alone.execute(&self.values_table, [])?;
                let written = params![VERSION_KEY, VERSION.to_string()];
                alone.execute(&self.write_version, written)?;
            }
            Some(_) => return Err(MigrationError::Version(version.unwrap_or_default())),
        }
        Ok(alone.commit()?)
    }

    pub(super) fn get(&self, connection: &Connection, key: &str) -> Result<Option<Item>, Failure> {
        let mut get = connection.prepare_cached(&self.get)?;
        let mut rows = get.query([key])?;
        rows.next()?.map(item).transpose()
    }

    /// Does one write, of which no half is ever done.
    pub(super) fn apply(
        &self,
        connection: &Connection,
        operation: &Operation,
    ) -> Result<(), Failure> {
        let changed = match operation {
            Operation::Set(set) => self.set(connection, set)?,
            Operation::Delete(delete) => self.delete(connection, delete)?,
        };
        let is_done = changed > 0
            || matches!(
                operation,
                Operation::Delete(Delete {
                    condition: Condition::Always | Condition::Absent,
                    ..
                })
            );
        is_done.then_some(()).ok_or(StateError::Mismatch.into())
    }

    fn set(&self, connection: &Connection, set: &Set) -> Result<usize, Failure> {
        let (value, is_binary) = text_of(&set.value);
        let etag = uuid::random();
        let seconds = match set.ttl {
            Ttl::OfStore | Ttl::Forever => None,
            Ttl::Seconds(seconds) => Some(seconds),
        };
        let changed = match &set.condition {
            Condition::Always => connection
                .prepare_cached(&self.put)?
                .execute(params![set.key, value, is_binary, etag, seconds]),
            Condition::Absent => connection
                .prepare_cached(&self.put_first)?
                .execute(params![set.key, value, is_binary, etag, seconds]),
            Condition::Matches(expected) => {
                let expected = uuid::of_number(expected.version()?);
                connection
                    .prepare_cached(&self.put_matching)?
                    .execute(params![set.key, value, is_binary, etag, seconds, expected])
            }
        };
        Ok(changed?)
    }

    fn delete(&self, connection: &Connection, delete: &Delete) -> Result<usize, Failure> {
        let changed = match &delete.condition {
            Condition::Always => connection
                .prepare_cached(&self.remove)?
                .execute([&delete.key]),
            // Where there is no value, there is nothing to delete.
            Condition::Absent => {
                return match self.get(connection, &delete.key)? {
                    None => Ok(0),
                    Some(_) => Err(StateError::Mismatch.into()),
                };
            }
            Condition::Matches(expected) => {
                let expected = uuid::of_number(expected.version()?);
                connection
                    .prepare_cached(&self.remove_matching)?
                    .execute([&delete.key, &expected])
            }
        };
        Ok(changed?)
    }

    /// Notes that rows are cleaned now. False where that was done within the interval, by this
    /// program or another one.
    pub(super) fn begin_cleanup(
        &self,
        connection: &Connection,
        interval: Duration,
    ) -> rusqlite::Result<bool> {
        let seconds = i64::try_from(interval.as_secs()).unwrap_or(i64::MAX);
        let changed = connection.execute(&self.begin_cleanup, params![CLEANUP_KEY, seconds])?;
        Ok(changed > 0)
    }

    /// Deletes some of the rows that ended, and says how many.
    pub(super) fn clean(&self, connection: &Connection, most: usize) -> rusqlite::Result<usize> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        connection.prepare_cached(&self.clean)?.execute([most])
    }
}

/// A schema that this program cannot use.
#[derive(Debug, thiserror::Error)]
pub(super) enum MigrationError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("its schema has version {0:?}; accepted is {VERSION}, of Dapr 1.18")]
    Version(String),
}

/// A value as the table holds it: a text, unless it is none or has zeros in it, where texts end
/// for some programs.
fn text_of(value: &[u8]) -> (Cow<'_, str>, bool) {
    match std::str::from_utf8(value) {
        Ok(text) if !text.contains('\0') => (Cow::Borrowed(text), false),
        _ => (Cow::Owned(BASE64.encode(value)), true),
    }
}

fn item(row: &Row<'_>) -> Result<Item, Failure> {
    let value = row.get_ref(0)?.as_bytes().map_err(rusqlite::Error::from)?;
    let value = if row.get(1)? {
        let decoded = BASE64.decode(value);
        decoded
            .map_err(|_| {
                StateError::Refused("a binary value in the table is no base64".to_owned())
            })?
            .into()
    } else {
        Bytes::copy_from_slice(value)
    };
    let etag = uuid::number(row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?);
    let end: Option<i64> = row.get(3)?;
    let end = end.and_then(|seconds| u64::try_from(seconds).ok());
    let end = end.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    Ok(Item {
        value,
        // A row that neither this program nor Dapr wrote may have no UUID.
        etag: etag.filter(|number| *number > 0).map(ETag::of_version),
        content_type: None,
        metadata: end.map_or_else(Metadata::new, ends_at),
    })
}
