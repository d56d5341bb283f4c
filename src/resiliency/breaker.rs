//! A circuit breaker: it lets calls through while it is closed, none while it is open, and a few
//! after a while, to find out whether the target works again.
//!
//! ```text
//! closed ──trip──▶ open ──timeout──▶ half-open ──maxRequests successes──▶ closed
//!                    ◀────── one failure ──┘
//! ```

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use quick_cache::sync::Cache;
use tracing::{info, warn};

use super::Stopped;
use super::clock::Clock;
use super::meters::{BreakerMeter, Labels};
use crate::resources::resiliency::CircuitBreaker as Settings;
use crate::resources::resiliency::trip::Counts;

/// The state that a breaker is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// Calls are let through.
    Closed,
    /// A few are.
    HalfOpen,
    /// None is.
    Open,
}

impl Condition {
    pub(super) const ALL: [Self; 3] = [Self::Closed, Self::HalfOpen, Self::Open];

    /// In the words of Dapr's metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
        }
    }
}

/// The circuit breakers of one target: one for each of the methods or components that it stands
/// for, those that are used the least forgotten when there are too many.
pub(super) struct Breakers {
    settings: Settings,
    capacity: usize,
    labels: Labels,
    clock: Clock,
    meter: Arc<BreakerMeter>,
    known: Cache<String, Arc<Breaker>>,
}

impl Breakers {
    pub(super) fn new(settings: Settings, capacity: usize, labels: Labels, clock: Clock) -> Self {
        Self {
            meter: Arc::new(BreakerMeter::new(&labels)),
            known: Cache::new(capacity),
            settings,
            capacity,
            labels,
            clock,
        }
    }

    /// Whether breakers that are made anew would be the same.
    pub(super) fn are(&self, settings: &Settings, capacity: usize, labels: &Labels) -> bool {
        self.settings == *settings && self.capacity == capacity && self.labels == *labels
    }

    /// The breaker of a key. It is made where it is not there.
    pub(super) fn of(&self, key: &str) -> Arc<Breaker> {
        if let Some(known) = self.known.get(key) {
            return known;
        }
        let make = || Ok::<_, std::convert::Infallible>(Arc::new(self.breaker()));
        match self.known.get_or_insert_with(key, make) {
            Ok(breaker) => breaker,
            Err(never) => match never {},
        }
    }

    fn breaker(&self) -> Breaker {
        Breaker {
            settings: self.settings.clone(),
            target: Arc::clone(&self.labels.target),
            meter: Arc::clone(&self.meter),
            state: Mutex::new(State::new(&self.settings, self.clock.now())),
            clock: self.clock.clone(),
        }
    }
}

/// One circuit breaker.
pub(super) struct Breaker {
    settings: Settings,
    target: Arc<str>,
    meter: Arc<BreakerMeter>,
    clock: Clock,
    state: Mutex<State>,
}

struct State {
    condition: Condition,
    /// Counts up when the counts begin anew: what a call of an earlier one tells is too late.
    generation: u64,
    counts: Counts,
    /// When the condition, or the counts of a closed breaker, end.
    until: Option<Instant>,
}

impl State {
    fn new(settings: &Settings, now: Instant) -> Self {
        let mut state = Self {
            condition: Condition::Closed,
            generation: 0,
            counts: Counts::default(),
            until: None,
        };
        state.enter(Condition::Closed, settings, now);
        state
    }

    fn enter(&mut self, condition: Condition, settings: &Settings, now: Instant) {
        self.condition = condition;
        self.generation += 1;
        self.counts = Counts::default();
        // A time that no clock reaches is none.
        self.until = match condition {
            Condition::Closed => settings.interval.and_then(|time| now.checked_add(time)),
            Condition::HalfOpen => None,
            Condition::Open => now.checked_add(settings.timeout),
        };
    }

    /// Does what the time brings.
    fn advance(&mut self, settings: &Settings, now: Instant) {
        if self.until.is_none_or(|until| now < until) {
            return;
        }
        let next = match self.condition {
            Condition::Closed => Condition::Closed,
            Condition::HalfOpen | Condition::Open => Condition::HalfOpen,
        };
        self.enter(next, settings, now);
    }

    fn succeeded(&mut self, settings: &Settings, now: Instant) {
        let counts = &mut self.counts;
        counts.total_successes = counts.total_successes.saturating_add(1);
        counts.consecutive_successes = counts.consecutive_successes.saturating_add(1);
        counts.consecutive_failures = 0;
        let is_enough = counts.consecutive_successes >= settings.max_requests;
        if self.condition == Condition::HalfOpen && is_enough {
            self.enter(Condition::Closed, settings, now);
        }
    }

    fn failed(&mut self, settings: &Settings, now: Instant) {
        let counts = &mut self.counts;
        counts.total_failures = counts.total_failures.saturating_add(1);
        counts.consecutive_failures = counts.consecutive_failures.saturating_add(1);
        counts.consecutive_successes = 0;
        if self.condition == Condition::HalfOpen || settings.trip.is_met(*counts) {
            self.enter(Condition::Open, settings, now);
        }
    }
}

impl Breaker {
    /// Asks for a call.
    ///
    /// # Errors
    ///
    /// The breaker is open, or half-open with enough calls under way.
    pub(super) fn admit(&self) -> Result<Ticket<'_>, Stopped> {
        let (condition, admitted) = self.act(|state, settings, _| {
            let requests = &mut state.counts.requests;
            let admitted = match state.condition {
                Condition::Open => Err(Stopped::Open),
                Condition::HalfOpen if *requests >= settings.max_requests => Err(Stopped::Busy),
                Condition::HalfOpen | Condition::Closed => {
                    *requests = requests.saturating_add(1);
                    Ok(state.generation)
                }
            };
            (state.condition, admitted)
        });
        self.meter.count(condition);
        Ok(Ticket {
            breaker: self,
            generation: Some(admitted?),
        })
    }

    /// Does something to the state as it is now, and tells of the condition where it changed.
    fn act<T>(&self, change: impl FnOnce(&mut State, &Settings, Instant) -> T) -> T {
        let now = self.clock.now();
        let (before, after, done) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let before = state.condition;
            state.advance(&self.settings, now);
            let done = change(&mut state, &self.settings, now);
            (before, state.condition, done)
        };
        if before != after {
            self.meter.changed(after);
            let (target, from, to) = (&*self.target, before.name(), after.name());
            if after == Condition::Open {
                warn!(target_name = target, from, to, "A circuit breaker opened");
            } else {
                info!(target_name = target, from, to, "A circuit breaker changed");
            }
        }
        done
    }
}

/// A call that a breaker let through. One that nobody tells the end of was given up by its caller,
/// which says nothing of the target; its place is free again.
pub(super) struct Ticket<'a> {
    breaker: &'a Breaker,
    /// None when it was told.
    generation: Option<u64>,
}

impl Ticket<'_> {
    /// Tells whether the call worked.
    pub(super) fn tell(mut self, succeeded: bool) {
        let generation = self.generation.take();
        self.breaker.act(|state, settings, now| {
            if Some(state.generation) != generation {
                return;
            }
            if succeeded {
                state.succeeded(settings, now);
            } else {
                state.failed(settings, now);
            }
        });
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if let Some(generation) = self.generation {
            self.breaker.act(|state, _, _| {
                if state.generation == generation {
                    let requests = &mut state.counts.requests;
                    *requests = requests.saturating_sub(1);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Direction;
    use super::super::clock::Manual;
    use super::*;
    use crate::resources::resiliency::trip::Trip;

    fn labels() -> Labels {
        Labels {
            name: "r".into(),
            namespace: "ns".into(),
            direction: Direction::Outbound,
            target: "app_shop".into(),
        }
    }

    fn settings(max_requests: u32, trip: &str) -> Settings {
        Settings {
            max_requests,
            interval: None,
            timeout: Duration::from_secs(10),
            trip: Trip::parse(trip).unwrap(),
        }
    }

    fn breaker(settings: Settings) -> (Arc<Breaker>, Arc<Manual>) {
        let manual = Manual::new();
        let clock = Clock::Manual(manual.clone());
        (Breakers::new(settings, 10, labels(), clock).of("m"), manual)
    }

    fn call(breaker: &Breaker, succeeds: bool) -> Result<(), Stopped> {
        breaker.admit().map(|ticket| ticket.tell(succeeds))
    }

    #[test]
    fn opens_after_failures_in_a_row_and_stays_so_for_its_time() {
        let (breaker, clock) = breaker(settings(1, "consecutiveFailures >= 2"));
        for succeeds in [false, true, false] {
            assert_eq!(call(&breaker, succeeds), Ok(()));
        }
        assert_eq!(call(&breaker, false), Ok(()));
        assert_eq!(call(&breaker, true), Err(Stopped::Open));
        clock.pass(Duration::from_secs(9));
        assert_eq!(call(&breaker, true), Err(Stopped::Open));
        clock.pass(Duration::from_secs(1));
        // It works again.
        assert_eq!(call(&breaker, true), Ok(()));
        assert_eq!(call(&breaker, false), Ok(()));
        assert_eq!(call(&breaker, true), Ok(()));
    }

    #[test]
    fn lets_a_few_calls_find_out_whether_the_target_works_again() {
        let (breaker, clock) = breaker(settings(2, "consecutiveFailures >= 1"));
        call(&breaker, false).unwrap();
        clock.pass(Duration::from_secs(10));
        let (first, second) = (breaker.admit().unwrap(), breaker.admit().unwrap());
        assert_eq!(call(&breaker, true), Err(Stopped::Busy));
        first.tell(true);
        // One failure is enough to open it again.
        second.tell(false);
        assert_eq!(call(&breaker, true), Err(Stopped::Open));
        clock.pass(Duration::from_secs(10));
        call(&breaker, true).unwrap();
        call(&breaker, true).unwrap();
        // Closed: any number of calls at once.
        let many: Vec<_> = (0..5).map(|_| breaker.admit().unwrap()).collect();
        assert_eq!(many.len(), 5);
    }

    #[test]
    fn a_call_that_is_given_up_frees_its_place() {
        let (breaker, clock) = breaker(settings(1, "consecutiveFailures >= 1"));
        call(&breaker, false).unwrap();
        clock.pass(Duration::from_secs(10));
        drop(breaker.admit().unwrap());
        call(&breaker, true).unwrap();
        assert_eq!(call(&breaker, true), Ok(()));
    }

    #[test]
    fn a_result_that_comes_too_late_counts_for_nothing() {
        let (breaker, clock) = breaker(settings(1, "consecutiveFailures >= 1"));
        let late = breaker.admit().unwrap();
        call(&breaker, false).unwrap();
        clock.pass(Duration::from_secs(10));
        call(&breaker, true).unwrap();
        late.tell(false);
        assert_eq!(call(&breaker, true), Ok(()));
    }

    #[test]
    fn forgets_what_it_counted_after_its_interval() {
        let hourly = Settings {
            interval: Some(Duration::from_secs(60)),
            ..settings(1, "totalFailures >= 2")
        };
        let (breaker, clock) = breaker(hourly);
        call(&breaker, false).unwrap();
        clock.pass(Duration::from_secs(60));
        call(&breaker, false).unwrap();
        assert_eq!(call(&breaker, false), Ok(()));
        assert_eq!(call(&breaker, true), Err(Stopped::Open));
    }

    #[test]
    fn keys_have_breakers_of_their_own_and_their_number_has_a_limit() {
        let clock = Clock::Manual(Manual::new());
        let settings = settings(1, "consecutiveFailures >= 1");
        let breakers = Breakers::new(settings, 3, labels(), clock);
        call(&breakers.of("a"), false).unwrap();
        assert_eq!(call(&breakers.of("a"), true), Err(Stopped::Open));
        assert_eq!(call(&breakers.of("b"), true), Ok(()));
        for number in 0..100 {
            breakers.of(&number.to_string());
        }
        assert!(breakers.known.len() <= 3, "{}", breakers.known.len());
    }
}
