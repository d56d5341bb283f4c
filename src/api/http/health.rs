//! `GET /v1.0/healthz` and `GET /v1.0/healthz/outbound`.

use crate::blocks::error::Error;
use crate::blocks::health::Health;

use super::answer::{self, Answer};
use super::query;

/// 204 when ready; `?appid=` asks for the id of the app too.
pub(super) fn healthz(health: &Health, query: Option<&str>) -> Result<Answer, Error> {
    health.check(query::first(query, "appid").as_deref())?;
    Ok(answer::no_content())
}

/// 204 when the APIs that the app calls are usable.
pub(super) fn outbound(health: &Health) -> Result<Answer, Error> {
    health.check_outbound()?;
    Ok(answer::no_content())
}
