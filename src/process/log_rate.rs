//! Lines of the log whose number somebody else decides.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// At most one line in this time.
const INTERVAL: Duration = Duration::from_secs(1);

/// Lets one line pass in a while, and counts the others.
#[derive(Debug, Default)]
pub struct LogRate(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    left_out: u64,
}

impl LogRate {
    /// Whether to log now, and then how many lines were left out since the last one.
    pub fn pass(&self) -> Option<u64> {
        self.pass_at(Instant::now())
    }

    fn pass_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state
            .last
            .is_some_and(|last| now.duration_since(last) < INTERVAL)
        {
            state.left_out += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_once_in_a_while_and_counts_the_rest() {
        let rate = LogRate::default();
        let start = Instant::now();
        assert_eq!(rate.pass_at(start), Some(0));
        for _ in 0..5 {
            assert_eq!(rate.pass_at(start + INTERVAL / 2), None);
        }
        assert_eq!(rate.pass_at(start + INTERVAL), Some(5));
        assert_eq!(rate.pass_at(start + 2 * INTERVAL), Some(0));
    }
}
