//! Locks that processes share.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::error::{Error, LockReason, Reason};
use super::verdict;
use crate::components::BackendError;
use crate::components::catalog::Category;
use crate::components::lock::LockStore;
use crate::process::log_rate::LogRate;
use crate::registry::Registry;
use crate::resiliency::{ComponentType, Direction, Policy, Stopped};

pub use crate::components::lock::Unlocked;

#[cfg(test)]
mod tests;

/// What no name of a resource may hold, since it stands between the parts of a lock's name.
const SEPARATOR: &str = "||";

/// What a call is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// The store.
    pub store: String,
    /// What is to be held by one at a time.
    pub resource: String,
    /// Who holds it, or wants to.
    pub owner: String,
}

/// The lock stores that run.
pub struct Locks {
    registry: Arc<Registry>,
    failures: LogRate,
}

impl Locks {
    /// Those of a registry.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self {
            registry,
            failures: LogRate::default(),
        }
    }

    /// Takes a lock for so many seconds. False where somebody holds it, also the owner himself.
    /// The reasons, in the order in which they are checked, as in Dapr 1.18: `LockRequestInvalid`
    /// for the seconds, `LockStoresNotConfigured`, `LockRequestInvalid` for the rest,
    /// `LockStoreNotFound`, `TryLockFailed`.
    pub async fn try_lock(&self, claim: &Claim, seconds: i32) -> Result<bool, Error> {
        let life = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0);
        let Some(life) = life.map(Duration::from_secs) else {
            return Err(invalid("ExpiryInSeconds is not positive", claim));
        };
        let (store, policy) = self.store(claim)?;
        let failed = |why: Option<String>| {
            failed(
                Reason::Lock(LockReason::Try),
                "failed to try acquiring lock",
                why,
            )
        };
        check(&claim.resource).map_err(|why| failed(Some(why)))?;
        let call = |_| Box::pin(try_lock(Arc::clone(&store), claim.clone(), life));
        let answer = policy.run(call, verdict::of_backend).await;
        self.told(claim, answer).map_err(failed)
    }

    /// Gives a lock back. The reasons are those of [`Self::try_lock`] but for the seconds, and
    /// with `UnlockFailed` at the end.
    pub async fn unlock(&self, claim: &Claim) -> Result<Unlocked, Error> {
        let (store, policy) = self.store(claim)?;
        let failed = |why: Option<String>| {
            failed(
                Reason::Lock(LockReason::Unlock),
                "failed to release lock",
                why,
            )
        };
        check(&claim.resource).map_err(|why| failed(Some(why)))?;
        let call = |_| Box::pin(unlock(Arc::clone(&store), claim.clone()));
        let answer = policy.run(call, verdict::of_backend).await;
        self.told(claim, answer).map_err(failed)
    }

    /// The answer of a store; or what of its failure is for the client, the rest being logged. A
    /// caller must not be able to fill the log.
    fn told<T>(
        &self,
        claim: &Claim,
        answer: Result<Result<T, BackendError>, Stopped>,
    ) -> Result<T, Option<String>> {
        let (error, why) = match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => (error.to_string(), None),
            Err(stopped) => (stopped.to_string(), Some(stopped.to_string())),
        };
        if let Some(left_out) = self.failures.pass() {
            warn!(
                store = claim.store,
                error, left_out, "A lock store could not answer"
            );
        }
        Err(why)
    }

    /// The store of a call, and the policy of its calls.
    fn store(&self, claim: &Claim) -> Result<(Arc<dyn LockStore>, Policy), Error> {
        let snapshot = self.registry.peek();
        let mut not_running = snapshot.failed_of(Category::Lock).peekable();
        if snapshot.locks.is_empty() && not_running.peek().is_none() {
            let reason = Reason::Lock(LockReason::StoresNotConfigured);
            return Err(Error::new(reason, "lock store is not configured"));
        }
        if claim.resource.is_empty() {
            return Err(invalid("ResourceId is empty", claim));
        }
        if claim.owner.is_empty() {
            return Err(invalid("LockOwner is empty", claim));
        }
        let name = &claim.store;
        if let Some(store) = snapshot.locks.get(name) {
            let (kind, direction) = (ComponentType::Lock, Direction::Outbound);
            let policy = snapshot.resiliency.component(name, kind, direction);
            return Ok((Arc::clone(store), policy));
        }
        let mut text = format!("lock store {name} not found");
        if not_running.any(|store| store.name == *name) {
            text.push_str(": it is defined, but could not be loaded");
        }
        Err(Error::new(Reason::Lock(LockReason::StoreNotFound), text))
    }
}

async fn try_lock(
    store: Arc<dyn LockStore>,
    claim: Claim,
    life: Duration,
) -> Result<bool, BackendError> {
    store.try_lock(&claim.resource, &claim.owner, life).await
}

async fn unlock(store: Arc<dyn LockStore>, claim: Claim) -> Result<Unlocked, BackendError> {
    store.unlock(&claim.resource, &claim.owner).await
}

/// Why a resource cannot have a lock.
fn check(resource: &str) -> Result<(), String> {
    if resource.contains(SEPARATOR) {
        return Err(format!(
            "input key '{resource}' can't contain '{SEPARATOR}'"
        ));
    }
    Ok(())
}

fn invalid(what: &str, claim: &Claim) -> Error {
    let text = format!("{what} in lock store {}", claim.store);
    Error::new(Reason::Lock(LockReason::RequestInvalid), text)
}

fn failed(reason: Reason, what: &str, why: Option<String>) -> Error {
    let why = why.unwrap_or_else(|| "the store could not answer".to_owned());
    Error::new(reason, format!("{what}: {why}"))
}
