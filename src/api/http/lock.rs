//! `POST /v1.0-alpha1/lock/{store}` and `POST /v1.0-alpha1/unlock/{store}`.

use serde::{Deserialize, Serialize};

use super::answer::{self, Answer};
use crate::api::routes::{Match, RouteId};
use crate::blocks::error::{Error, Reason};
use crate::blocks::lock::{Claim, Locks, Unlocked};

/// The body of a call. Names and numbers have the forms that JSON of protobuf messages may have.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Call {
    #[serde(alias = "resource_id")]
    resource_id: String,
    #[serde(alias = "lock_owner")]
    lock_owner: String,
    #[serde(alias = "expiry_in_seconds")]
    expiry_in_seconds: Seconds,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(i32),
    Text(String),
}

impl Default for Seconds {
    fn default() -> Self {
        Self::Number(0)
    }
}

#[derive(Serialize)]
struct Locked {
    success: bool,
}

#[derive(Serialize)]
struct Status {
    status: u8,
}

/// Answers a call of the routes of locks.
pub(super) async fn serve(
    locks: &Locks,
    found: &Match,
    path: &str,
    body: &[u8],
) -> Result<Answer, Error> {
    let Ok(store) = found.param(0, path) else {
        return Ok(answer::bad_path());
    };
    match found.route().id {
        RouteId::Unlock => unlock(locks, &store, body).await,
        _ => try_lock(locks, &store, body).await,
    }
}

/// 200 with whether the lock was taken.
async fn try_lock(locks: &Locks, store: &str, body: &[u8]) -> Result<Answer, Error> {
    let call = read(body)?;
    let seconds = match &call.expiry_in_seconds {
        Seconds::Number(seconds) => *seconds,
        Seconds::Text(text) => text
            .parse()
            .map_err(|_| malformed("expiryInSeconds is not a whole number that fits 32 bits"))?,
    };
    let success = locks.try_lock(&claim(store, call), seconds).await?;
    Ok(answer::json(&Locked { success }))
}

/// 200 with what became of the lock: 0 where it is free now, 1 where nobody held it, 2 where
/// somebody else does.
async fn unlock(locks: &Locks, store: &str, body: &[u8]) -> Result<Answer, Error> {
    let call = read(body)?;
    let status = match locks.unlock(&claim(store, call)).await? {
        Unlocked::Done => 0,
        Unlocked::Absent => 1,
        Unlocked::OfOther => 2,
    };
    Ok(answer::json(&Status { status }))
}

fn read(body: &[u8]) -> Result<Call, Error> {
    serde_json::from_slice(body).map_err(|error| malformed(&error.to_string()))
}

fn malformed(problem: &str) -> Error {
    let text = format!("failed deserializing HTTP body: {problem}");
    Error::new(Reason::MalformedRequest, text)
}

fn claim(store: &str, call: Call) -> Claim {
    Claim {
        store: store.to_owned(),
        resource: call.resource_id,
        owner: call.lock_owner,
    }
}
