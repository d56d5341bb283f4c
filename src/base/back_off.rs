//! Pauses between tries: twice as long each time, up to the longest.

use std::time::Duration;

/// The most doublings, so that no shift overflows.
const MOST_DOUBLINGS: u32 = 16;

/// The pause after so many failures, from the first to the longest.
pub fn pause([first, longest]: [Duration; 2], failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(MOST_DOUBLINGS);
    first.saturating_mul(1 << doublings).min(longest)
}

/// The pauses of tries that follow each other.
#[derive(Clone, Copy, Debug)]
pub struct BackOff {
    pauses: [Duration; 2],
    failures: u32,
}

impl BackOff {
    /// Nothing has failed yet. `pauses` are the first and the longest.
    pub const fn new(pauses: [Duration; 2]) -> Self {
        Self {
            pauses,
            failures: 0,
        }
    }

    /// A try failed; the pause before another.
    pub fn another(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        pause(self.pauses, self.failures)
    }

    /// A try succeeded: the next pause is the first again.
    pub fn end(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew() {
        let [first, longest] = [100, 500].map(Duration::from_millis);
        let mut back_off = BackOff::new([first, longest]);
        let pauses: Vec<_> = (0..4).map(|_| back_off.another()).collect();
        assert_eq!(pauses, [first, first * 2, first * 4, longest]);
        back_off.end();
        assert_eq!(back_off.another(), first);
        assert_eq!(pause([first, longest], u32::MAX), longest);
    }
}
