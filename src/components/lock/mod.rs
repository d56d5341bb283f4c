//! Stores of locks that processes hold for a while.

use std::time::Duration;

use async_trait::async_trait;

pub mod names;
#[cfg(feature = "redis")]
pub mod redis;

/// What became of a lock that somebody wanted to give back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlocked {
    /// It is free.
    Done,
    /// Nobody held it.
    Absent,
    /// Somebody else holds it.
    OfOther,
}

/// A store that could not answer. The text is for operators and goes to the log, not to clients.
/// It holds no address with a password in it.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum LockError {
    /// It refused, and would refuse again.
    #[error("{0}")]
    Refused(String),
    /// It cannot be reached, is busy, or answered something that another try may heal.
    #[error("{0}")]
    Unavailable(String),
}

/// A store of locks.
#[async_trait]
pub trait LockStore: Send + Sync {
    /// Takes a lock for so long. False where somebody holds it.
    async fn try_lock(
        &self,
        resource: &str,
        owner: &str,
        life: Duration,
    ) -> Result<bool, LockError>;

    /// Gives a lock back.
    async fn unlock(&self, resource: &str, owner: &str) -> Result<Unlocked, LockError>;
}
