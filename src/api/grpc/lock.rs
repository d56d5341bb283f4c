//! `TryLockAlpha1` and `UnlockAlpha1`.

use dapr::dapr::proto::runtime::v1 as proto;
use proto::unlock_response::Status as Became;
use tonic::{Request, Response, Status};

use super::status;
use crate::blocks::lock::{Claim, Locks, Unlocked};

/// Whether a lock was taken.
pub(super) async fn try_lock(
    locks: &Locks,
    request: Request<proto::TryLockRequest>,
) -> Result<Response<proto::TryLockResponse>, Status> {
    let request = request.into_inner();
    let claim = Claim {
        store: request.store_name,
        resource: request.resource_id,
        owner: request.lock_owner,
    };
    let locked = locks.try_lock(&claim, request.expiry_in_seconds).await;
    let success = locked.map_err(|error| status::failure(&error))?;
    Ok(Response::new(proto::TryLockResponse { success }))
}

/// What became of a lock that was given back.
pub(super) async fn unlock(
    locks: &Locks,
    request: Request<proto::UnlockRequest>,
) -> Result<Response<proto::UnlockResponse>, Status> {
    let request = request.into_inner();
    let claim = Claim {
        store: request.store_name,
        resource: request.resource_id,
        owner: request.lock_owner,
    };
    let unlocked = locks.unlock(&claim).await;
    let became = match unlocked.map_err(|error| status::failure(&error))? {
        Unlocked::Done => Became::Success,
        Unlocked::Absent => Became::LockDoesNotExist,
        Unlocked::OfOther => Became::LockBelongsToOthers,
    };
    let status = became.into();
    Ok(Response::new(proto::UnlockResponse { status }))
}
