//! How long a message waits that was not dealt with.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::base::back_off;

/// The pause after the first failure.
const FIRST: Duration = Duration::from_millis(10);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(5);

/// The pause after so many failures: twice as long each time.
pub(super) fn after(failures: u32) -> Duration {
    back_off::pause([FIRST, LONGEST], failures)
}

/// Failures that follow each other, so that an app that deals with nothing is not called all the
/// time, and one that fails now and then is not held up.
#[derive(Debug, Default)]
pub(super) struct Failures(AtomicU32);

impl Failures {
    /// A message was dealt with.
    pub(super) fn end(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// One was not; the pause before it is given back.
    pub(super) fn another(&self) -> Duration {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        after(before.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grow_until_something_is_dealt_with() {
        let failures = Failures::default();
        let pauses: Vec<_> = (0..12).map(|_| failures.another()).collect();
        assert_eq!(pauses[0], FIRST);
        assert_eq!(pauses[3], Duration::from_millis(80));
        assert_eq!(pauses[11], LONGEST);
        failures.end();
        assert_eq!(failures.another(), FIRST);
        assert_eq!(after(u32::MAX), LONGEST);
    }
}
