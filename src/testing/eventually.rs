//! Waiting for something to become true, in place of sleeping.

use std::time::{Duration, Instant};

/// How often to look.
const PAUSE: Duration = Duration::from_millis(10);

/// When to give up. Far above what a slow machine needs: it only keeps a broken test from hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks `look` until it hands back something, which is then handed on.
///
/// Panics with `what` after a minute, also while it waits for a single look.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = in_time(what, look()).await {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "never happened: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// What comes of `wait`, which has a minute. For what a test waits for once.
///
/// Panics with `what` after that.
pub async fn in_time<T>(what: &str, wait: impl Future<Output = T>) -> T {
    let came = tokio::time::timeout(PATIENCE, wait).await;
    came.unwrap_or_else(|_| panic!("never happened: {what}"))
}

/// [`eventually`] without async, for tests that watch processes and files.
pub fn eventually_blocking<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::sleep(PAUSE);
    }
}
