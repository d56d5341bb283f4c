//! What went wrong, and whether another try may heal it.

use std::fmt;

use deadpool_postgres::{PoolError, TimeoutType};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::components::BackendError;
use crate::process::tasks::with_causes;

/// Classes of codes whose messages hold values of rows or of parameters: data, constraints, and
/// what triggers say.
const TELLTALE: [&str; 3] = ["22", "23", "P0"];

/// Classes of codes that pass: of the connection, of what a server has too little of, of a
/// transaction that gave way, and of an operator who ends it.
const PASSING: [&str; 4] = ["08", "40", "53", "57"];

/// What became of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is not done, and another try at once may do it: it gave way to another transaction, or
    /// the connection did not know the statement any more.
    GaveWay,
    /// The connection broke, and with it the answer: it may be done or not.
    Lost,
    /// It is not done: the server cannot be reached or is busy.
    Unavailable,
    /// It is not done, and would be refused again.
    Refused,
}

/// A failure. Its text is for operators; it holds no password and no value.
#[derive(Clone, Debug)]
pub(in crate::components) struct Failure {
    pub(super) outcome: Outcome,
    text: String,
}

impl Failure {
    /// What a connection says, or nobody that should be there.
    pub(super) fn of(server: &str, error: &Error) -> Self {
        let (outcome, text) = match error.as_db_error() {
            Some(said) => {
                let code = said.code();
                let class = code.code().get(..2).unwrap_or_default();
                let text = if TELLTALE.contains(&class) {
                    format!("the server refused the data ({})", code.code())
                } else {
                    format!("{} ({})", said.message(), code.code())
                };
                (outcome(code), text)
            }
            None => (Outcome::Lost, with_causes(error)),
        };
        Self {
            outcome,
            text: format!("{server}: {text}"),
        }
    }

    /// No connection.
    pub(super) fn of_pool(server: &str, error: &PoolError, limit: fmt::Arguments<'_>) -> Self {
        let unavailable = |text: String| Self {
            outcome: Outcome::Unavailable,
            text: format!("{server}: {text}"),
        };
        match error {
            PoolError::Backend(error) => {
                let failure = Self::of(server, error);
                match failure.outcome {
                    Outcome::Refused => failure,
                    // Nothing was asked for yet.
                    _ => Self {
                        outcome: Outcome::Unavailable,
                        ..failure
                    },
                }
            }
            PoolError::Timeout(TimeoutType::Wait) => unavailable(format!(
                "every connection of the pool was in use for {limit}"
            )),
            PoolError::Timeout(_) => unavailable(format!("no connection within {limit}")),
            other => unavailable(other.to_string()),
        }
    }

    /// No answer in time.
    pub(super) fn late(server: &str, limit: fmt::Arguments<'_>) -> Self {
        Self {
            outcome: Outcome::Lost,
            text: format!("{server}: no answer within {limit}"),
        }
    }

    /// A row that has other columns than it should have.
    pub(super) fn unreadable(server: &str, error: &Error) -> Self {
        Self {
            outcome: Outcome::Refused,
            text: format!("{server}: {}", with_causes(error)),
        }
    }

    /// The server closed the connection.
    pub(super) fn ended(server: &str) -> Self {
        Self {
            outcome: Outcome::Lost,
            text: format!("{server}: the server closed the connection"),
        }
    }
}

impl From<Failure> for BackendError {
    fn from(failure: Failure) -> Self {
        match failure.outcome {
            Outcome::Refused => Self::Refused(failure.text),
            _ => Self::Unavailable(failure.text),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn outcome(code: &SqlState) -> Outcome {
    let gave_way = [
        &SqlState::T_R_SERIALIZATION_FAILURE,
        &SqlState::T_R_DEADLOCK_DETECTED,
        // A statement whose table changed since it was prepared.
        &SqlState::FEATURE_NOT_SUPPORTED,
        // One that the server, behind a proxy another one each time, has not prepared.
        &SqlState::INVALID_SQL_STATEMENT_NAME,
        &SqlState::DUPLICATE_PSTATEMENT,
    ];
    if gave_way.contains(&code) {
        return Outcome::GaveWay;
    }
    let lost = [
        &SqlState::ADMIN_SHUTDOWN,
        &SqlState::CRASH_SHUTDOWN,
        &SqlState::IDLE_SESSION_TIMEOUT,
        &SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN,
    ];
    let class = code.code().get(..2).unwrap_or_default();
    let passing = [
        // A server that became a standby.
        &SqlState::READ_ONLY_SQL_TRANSACTION,
        &SqlState::LOCK_NOT_AVAILABLE,
    ];
    if lost.contains(&code) {
        Outcome::Lost
    } else if passing.contains(&code) || PASSING.contains(&class) {
        Outcome::Unavailable
    } else {
        Outcome::Refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_passes_from_what_stays() {
        for (code, expected) in [
            ("40001", Outcome::GaveWay),
            ("40P01", Outcome::GaveWay),
            ("26000", Outcome::GaveWay),
            ("57P01", Outcome::Lost),
            ("40003", Outcome::Lost),
            ("57P03", Outcome::Unavailable),
            ("57014", Outcome::Unavailable),
            ("53300", Outcome::Unavailable),
            ("25006", Outcome::Unavailable),
            ("28P01", Outcome::Refused),
            ("3D000", Outcome::Refused),
            ("42P01", Outcome::Refused),
            ("22P02", Outcome::Refused),
            ("XX000", Outcome::Refused),
        ] {
            assert_eq!(outcome(&SqlState::from_code(code)), expected, "{code}");
        }
    }
}
