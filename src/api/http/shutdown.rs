//! `POST /v1.0/shutdown`.

use http::HeaderMap;

use crate::base::truthy::is_truthy;
use crate::blocks::shutdown::Shutdown;

use super::answer::{self, Answer};

/// Asks not to drain.
const FORCE_HEADER: &str = "dapr-force-shutdown";

/// 204, and then the process ends: drained, or at once where the caller asks for it.
pub(super) fn begin(shutdown: &Shutdown, headers: &HeaderMap) -> Answer {
    let force = headers
        .get(FORCE_HEADER)
        .and_then(|value| value.to_str().ok());
    if force.is_some_and(is_truthy) {
        shutdown.force();
    } else {
        shutdown.begin();
    }
    answer::no_content()
}
