//! `lock.redis`: a lock is a string that expires, with its owner as the value.

use std::time::Duration;

use async_trait::async_trait;
use tracing::info;

use super::names::Names;
use super::{LockStore, Unlocked};
use crate::components::metadata::Reader;
use crate::components::redis::{Client, Repeat, Settings};
use crate::components::{BackendError, Error, ResolvedComponent};

/// Deletes a lock where it is its owner's. It answers how many were deleted, or one of the below.
const UNLOCK: &str = "\
local owner = redis.call('GET', KEYS[1])
if not owner then return -1 end
if owner ~= ARGV[1] then return -2 end
return redis.call('DEL', KEYS[1])";

/// What the script answers where there is no such lock.
const ABSENT: i64 = -1;
/// What it answers where the lock is somebody else's.
const OF_OTHER: i64 = -2;

/// Fields that Dapr names for locks, and that it does not use for them either.
const UNUSED: [&str; 2] = ["processingTimeout", "redeliverInterval"];

/// The locks of a database.
pub struct RedisLocks {
    client: Client,
    names: Names,
}

impl RedisLocks {
    /// The database that the metadata of a component names. The server has to be there.
    ///
    /// # Errors
    ///
    /// Settings that cannot be used, and a server that is away or lets nobody in.
    pub async fn start(
        component: &ResolvedComponent,
        reader: &mut Reader<'_>,
        names: Names,
    ) -> Result<Self, Error> {
        if reader.truthy(&["failover"])? {
            let text = "\"failover\" is not served for locks: a new primary need not know a lock \
                        that was just taken, so that two could hold it";
            return Err(Error::Init(text.to_owned()));
        }
        let client = Client::new(Settings::read(component, reader).await?);
        if client.is_cluster() {
            let text = "a cluster is not served for locks: a primary that takes over need not know \
                        a lock that was just taken, so that two could hold it";
            return Err(Error::Init(text.to_owned()));
        }
        for name in UNUSED {
            if reader.text(&[name])?.is_some() {
                info!(component = component.name, "Without effect: {name:?}");
            }
        }
        let client = client.reached().await?;
        Ok(Self { client, names })
    }
}

#[async_trait]
impl LockStore for RedisLocks {
    async fn try_lock(
        &self,
        resource: &str,
        owner: &str,
        life: Duration,
    ) -> Result<bool, BackendError> {
        let mut command = redis::cmd("SET");
        let life = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
        command.arg(self.names.of(resource)).arg(owner);
        command.arg("NX").arg("PX").arg(life);
        // Sent twice, the second would find the lock of the first taken.
        let set: Option<String> = self.client.ask(&command, Repeat::Denied).await?;
        Ok(set.is_some())
    }

    async fn unlock(&self, resource: &str, owner: &str) -> Result<Unlocked, BackendError> {
        let mut command = redis::cmd("EVAL");
        command.arg(UNLOCK).arg(1);
        command.arg(self.names.of(resource)).arg(owner);
        // Sent twice, the second would find that there is none.
        let answer: i64 = self.client.ask(&command, Repeat::Denied).await?;
        Ok(match answer {
            ABSENT => Unlocked::Absent,
            OF_OTHER => Unlocked::OfOther,
            _ => Unlocked::Done,
        })
    }
}
