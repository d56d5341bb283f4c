//! What goes wrong with a database.

use rusqlite::ErrorCode;

use crate::components::state::StateError;

/// Work that was not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was refused. Nothing is wrong with the database.
    Refused(StateError),
    /// The database failed, and with it the transaction.
    Database(rusqlite::Error),
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<Failure> for StateError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(error) => error,
            Failure::Database(error) => of_database(&error),
        }
    }
}

/// What an error of the database means. Its text holds no value.
pub(super) fn of_database(error: &rusqlite::Error) -> StateError {
    let text = format!("the database failed: {error}");
    match error.sqlite_error_code() {
        Some(
            ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::AuthorizationForStatementDenied
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::TooBig
            | ErrorCode::ConstraintViolation
            | ErrorCode::TypeMismatch,
        )
        | None => StateError::Refused(text),
        Some(_) => StateError::Unavailable(text),
    }
}
