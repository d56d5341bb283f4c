//! Stores of locks that processes hold for a while.

use std::time::Duration;

use async_trait::async_trait;

use super::BackendError;

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

/// A store of locks.
#[async_trait]
pub trait LockStore: Send + Sync {
    /// Takes a lock for so long. False where somebody holds it.
    async fn try_lock(
        &self,
        resource: &str,
        owner: &str,
        life: Duration,
    ) -> Result<bool, BackendError>;

    /// Gives a lock back.
    async fn unlock(&self, resource: &str, owner: &str) -> Result<Unlocked, BackendError>;
}
