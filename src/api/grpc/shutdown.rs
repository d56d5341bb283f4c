//! `Shutdown`.

use dapr::dapr::proto::runtime::v1::ShutdownRequest;
use tonic::{Request, Response};

use crate::blocks::shutdown::Shutdown;

/// Answers, and then the process drains and ends.
pub(super) fn begin(shutdown: &Shutdown, _request: &Request<ShutdownRequest>) -> Response<()> {
    shutdown.begin();
    Response::new(())
}
