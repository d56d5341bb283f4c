//! Whether a call is tried again, and after which pause.

use std::time::{Duration, Instant};

use super::clock::Clock;
use crate::resources::resiliency::{Pauses, Retry};

/// The tries that one call has left.
pub(super) struct Tries<'a> {
    retry: &'a Retry,
    clock: &'a Clock,
    start: Instant,
    made: u32,
    /// The next pause of a policy whose pauses grow.
    interval: Duration,
}

impl<'a> Tries<'a> {
    /// Those of a call that begins now.
    pub(super) fn new(retry: &'a Retry, clock: &'a Clock) -> Self {
        let interval = match retry.pauses {
            Pauses::Constant(pause) => pause,
            Pauses::Exponential { first, longest, .. } => first.min(longest),
        };
        Self {
            retry,
            clock,
            start: clock.now(),
            made: 0,
            interval,
        }
    }

    /// The pause before the next try, where there is one more.
    pub(super) fn next_pause(&mut self) -> Option<Duration> {
        if self.retry.max_retries.is_some_and(|most| self.made >= most) {
            return None;
        }
        let pause = self.pause();
        if let Some(longest) = self.retry.max_duration {
            let spent = self.clock.now().saturating_duration_since(self.start);
            if spent.saturating_add(pause) > longest {
                return None;
            }
        }
        self.made = self.made.saturating_add(1);
        Some(pause)
    }

    fn pause(&mut self) -> Duration {
        match self.retry.pauses {
            Pauses::Constant(pause) => pause,
            Pauses::Exponential {
                longest,
                growth,
                jitter,
                ..
            } => {
                let factor = 1.0 + jitter * (2.0 * self.clock.chance() - 1.0);
                let pause = self.interval.mul_f64(factor).min(longest);
                self.interval = self.interval.mul_f64(growth).min(longest);
                pause
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::Manual;
    use super::*;
    use crate::resources::resiliency::Matching;

    const SECOND: Duration = Duration::from_secs(1);

    fn pauses(retry: &Retry, clock: &Clock) -> Vec<f64> {
        let mut tries = Tries::new(retry, clock);
        let next = || tries.next_pause();
        let pauses = std::iter::from_fn(next).take(50);
        pauses.map(|pause| pause.as_secs_f64()).collect()
    }

    fn retry(pauses: Pauses, max_retries: Option<u32>) -> Retry {
        Retry {
            pauses,
            max_retries,
            max_duration: None,
            matching: Matching::default(),
        }
    }

    #[test]
    fn makes_the_number_of_retries_that_is_said() {
        let clock = Clock::Manual(Manual::new());
        let constant = |most| retry(Pauses::Constant(2 * SECOND), most);
        assert_eq!(pauses(&constant(Some(3)), &clock), [2.0, 2.0, 2.0]);
        assert!(pauses(&constant(Some(0)), &clock).is_empty());
        assert_eq!(pauses(&constant(None), &clock).len(), 50);
    }

    #[test]
    fn pauses_grow_up_to_the_longest_one() {
        let growing = Pauses::Exponential {
            first: SECOND,
            longest: 4 * SECOND,
            growth: 2.0,
            jitter: 0.5,
        };
        let clock = Clock::Manual(Manual::new());
        let five = retry(growing, Some(5));
        assert_eq!(pauses(&five, &clock), [1.0, 2.0, 4.0, 4.0, 4.0]);
        // At random: each within its part of its length, and none above the longest one.
        for _ in 0..100 {
            let made = pauses(&five, &Clock::System);
            for (pause, length) in made.iter().zip([1.0, 2.0, 4.0, 4.0, 4.0_f64]) {
                let range = length * 0.5..=f64::min(length * 1.5, 4.0);
                assert!(range.contains(pause), "{made:?}");
            }
        }
    }

    #[test]
    fn no_try_begins_after_the_longest_time() {
        let manual = Manual::new();
        let clock = Clock::Manual(manual.clone());
        let short = Retry {
            max_duration: Some(5 * SECOND),
            ..retry(Pauses::Constant(2 * SECOND), None)
        };
        let mut tries = Tries::new(&short, &clock);
        let mut made = 0;
        while let Some(pause) = tries.next_pause() {
            manual.pass(pause);
            made += 1;
        }
        assert_eq!(made, 2);
    }
}
