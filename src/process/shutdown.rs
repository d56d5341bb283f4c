//! From a signal to the end of the process.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The exit code of a process that a second signal ended: 128 + SIGINT.
const EXIT_BY_SIGNAL: i32 = 130;

/// Waits for SIGTERM or SIGINT, then cancels `shutdown`, and ends the process at once on a second
/// signal. Run it as a task; it returns when `finished` is cancelled.
pub async fn watch_signals(
    shutdown: CancellationToken,
    finished: CancellationToken,
) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut seen = 0_u8;
    loop {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            () = finished.cancelled() => return Ok(()),
        };
        seen += 1;
        if seen == 1 {
            info!(signal = name, "Received signal; shutting down");
            shutdown.cancel();
        } else {
            warn!(signal = name, "Received a second signal; exiting now");
            #[expect(clippy::exit, reason = "a second signal asks for exactly this")]
            std::process::exit(EXIT_BY_SIGNAL);
        }
    }
}
