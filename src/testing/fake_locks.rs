//! A lock store in memory, whose locks never expire.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;

use crate::components::BackendError;
use crate::components::lock::{LockStore, Unlocked};

/// The locks that are held. `taken` also tells for how long each was taken.
#[derive(Default)]
pub struct FakeLocks {
    held: Mutex<HashMap<String, (String, Duration)>>,
    is_down: Mutex<bool>,
}

impl FakeLocks {
    /// Answers no more, or answers again.
    pub fn set_down(&self, is_down: bool) {
        *self.is_down.lock().unwrap() = is_down;
    }

    /// For how long a lock was taken.
    pub fn life(&self, resource: &str) -> Option<Duration> {
        let held = self.held.lock().unwrap();
        held.get(resource).map(|(_, life)| *life)
    }

    fn check(&self) -> Result<(), BackendError> {
        if *self.is_down.lock().unwrap() {
            return Err(BackendError::Unavailable("inner hunter2".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl LockStore for FakeLocks {
    async fn try_lock(
        &self,
        resource: &str,
        owner: &str,
        life: Duration,
    ) -> Result<bool, BackendError> {
        self.check()?;
        let mut held = self.held.lock().unwrap();
        if held.contains_key(resource) {
            return Ok(false);
        }
        held.insert(resource.to_owned(), (owner.to_owned(), life));
        Ok(true)
    }

    async fn unlock(&self, resource: &str, owner: &str) -> Result<Unlocked, BackendError> {
        self.check()?;
        let mut held = self.held.lock().unwrap();
        Ok(match held.get(resource) {
            None => Unlocked::Absent,
            Some((holder, _)) if holder != owner => Unlocked::OfOther,
            Some(_) => {
                held.remove(resource);
                Unlocked::Done
            }
        })
    }
}
