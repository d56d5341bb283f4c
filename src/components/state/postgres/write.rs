//! One write as a statement.

use std::collections::HashSet;

use tokio_postgres::types::Type;

use super::layout::{Layout, Version};
use super::value::Stored;
use crate::components::postgres::{Connection, Failure, Parameter, Repeat};
use crate::components::state::{Condition, Delete, Operation, Set, StateError, Ttl};

/// What became of a write that the database took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Done,
    /// Its condition does not hold.
    Mismatch,
}

impl From<Written> for Result<(), StateError> {
    fn from(written: Written) -> Self {
        match written {
            Written::Done => Ok(()),
            Written::Mismatch => Err(StateError::Mismatch),
        }
    }
}

/// Whether a write may be done twice. A second one with a condition would see the first.
pub(super) fn repeat(operation: &Operation) -> Repeat {
    match condition(operation) {
        Condition::Always => Repeat::Allowed,
        Condition::Absent | Condition::Matches(_) => Repeat::Denied,
    }
}

/// Refuses an ETag that no row can have, before anything is asked.
pub(super) fn check(layout: &Layout, operation: &Operation) -> Result<(), StateError> {
    match condition(operation) {
        Condition::Matches(etag) => layout.etag_text(etag).map(drop),
        Condition::Always | Condition::Absent => Ok(()),
    }
}

/// Whether all of them can be on their way at once: no key twice, and no ETag that is none.
pub(super) fn are_apart(layout: &Layout, operations: &[Operation]) -> bool {
    let mut keys = HashSet::new();
    let mut all = operations.iter();
    all.all(|operation| keys.insert(key(operation)) && check(layout, operation).is_ok())
}

/// The key that it writes.
pub(super) fn key(operation: &Operation) -> &str {
    match operation {
        Operation::Set(set) => &set.key,
        Operation::Delete(delete) => &delete.key,
    }
}

fn condition(operation: &Operation) -> &Condition {
    match operation {
        Operation::Set(set) => &set.condition,
        Operation::Delete(delete) => &delete.condition,
    }
}

/// Runs the statement of a write. An ETag was checked before.
pub(super) async fn apply(
    layout: &Layout,
    connection: &Connection,
    operation: &Operation,
) -> Result<Written, Failure> {
    let is_done = match operation {
        Operation::Set(set) => put(layout, connection, set).await?,
        Operation::Delete(delete) => remove(layout, connection, delete).await?,
    };
    Ok(if is_done {
        Written::Done
    } else {
        Written::Mismatch
    })
}

async fn put(layout: &Layout, connection: &Connection, set: &Set) -> Result<bool, Failure> {
    let seconds = match set.ttl {
        Ttl::OfStore | Ttl::Forever => None,
        Ttl::Seconds(seconds) => Some(f64::from(seconds)),
    };
    let stored = Stored::of(&set.value, set.content_type.as_deref());
    let bytes: &[u8] = &set.value;
    let mut parameters: Vec<Parameter<'_>> = vec![(&set.key, Type::TEXT), (&seconds, Type::FLOAT8)];
    match layout.version {
        Version::V1 => {
            parameters.push((&stored.text, Type::TEXT));
            parameters.push((&stored.is_binary, Type::BOOL));
        }
        Version::V2 => parameters.push((&bytes, Type::BYTEA)),
    }
    let statements = &layout.statements;
    let (statement, etag) = match &set.condition {
        Condition::Always => (&statements.set, None),
        Condition::Absent => (&statements.set_absent, None),
        Condition::Matches(etag) => match layout.etag_text(etag) {
            Ok(text) => (&statements.set_matching, Some(text)),
            Err(_) => return Ok(false),
        },
    };
    if let Some(etag) = &etag {
        parameters.push((etag, Type::TEXT));
    }
    let rows = connection.count(statement, &parameters).await?;
    // A rule or a trigger may have put it elsewhere, which is none of ours.
    Ok(rows > 0 || set.condition == Condition::Always)
}

async fn remove(
    layout: &Layout,
    connection: &Connection,
    delete: &Delete,
) -> Result<bool, Failure> {
    let statements = &layout.statements;
    let key: Parameter<'_> = (&delete.key, Type::TEXT);
    match &delete.condition {
        Condition::Always => {
            connection.count(&statements.delete, &[key]).await?;
            Ok(true)
        }
        // Nothing is there to delete, or something is that may not be.
        Condition::Absent => {
            let rows = connection.rows(&statements.get, &[key]).await?;
            Ok(rows.is_empty())
        }
        Condition::Matches(etag) => match layout.etag_text(etag) {
            Ok(text) => {
                let parameters = [key, (&text, Type::TEXT)];
                let rows = connection.count(&statements.delete_matching, &parameters);
                Ok(rows.await? > 0)
            }
            Err(_) => Ok(false),
        },
    }
}
