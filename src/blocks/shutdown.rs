//! Ending the process by a call.

use tokio_util::sync::CancellationToken;

/// The two ways to end the process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    graceful: CancellationToken,
    forced: CancellationToken,
}

impl Shutdown {
    /// Cancels `graceful` to drain and end, `forced` to end without draining.
    pub fn new(graceful: CancellationToken, forced: CancellationToken) -> Self {
        Self { graceful, forced }
    }

    /// Asks the process to drain and end.
    pub fn begin(&self) {
        self.graceful.cancel();
    }

    /// Asks the process to end at once.
    pub fn force(&self) {
        self.forced.cancel();
    }
}
