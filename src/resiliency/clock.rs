//! Time and chance, which tests bring themselves.

use std::time::{Duration, Instant};

/// Where the time, its passing, and random numbers come from.
#[derive(Clone, Debug, Default)]
pub(super) enum Clock {
    /// The system's.
    #[default]
    System,
    /// That of a test.
    #[cfg(test)]
    Manual(std::sync::Arc<Manual>),
}

impl Clock {
    pub(super) fn now(&self) -> Instant {
        match self {
            Self::System => Instant::now(),
            #[cfg(test)]
            Self::Manual(clock) => clock.now(),
        }
    }

    pub(super) async fn sleep(&self, time: Duration) {
        match self {
            Self::System => tokio::time::sleep(time).await,
            #[cfg(test)]
            Self::Manual(clock) => clock.pass(time),
        }
    }

    /// A number from 0 to 1, evenly spread.
    pub(super) fn chance(&self) -> f64 {
        match self {
            Self::System => fastrand::f64(),
            #[cfg(test)]
            Self::Manual(_) => 0.5,
        }
    }
}

/// A clock that stands still until somebody sleeps, and then goes on at once.
#[cfg(test)]
#[derive(Debug)]
pub(super) struct Manual {
    start: Instant,
    slept: std::sync::Mutex<Vec<Duration>>,
}

#[cfg(test)]
impl Manual {
    pub(super) fn new() -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self {
            start: Instant::now(),
            slept: std::sync::Mutex::default(),
        })
    }

    fn now(&self) -> Instant {
        self.start + self.slept.lock().unwrap().iter().sum::<Duration>()
    }

    pub(super) fn pass(&self, time: Duration) {
        self.slept.lock().unwrap().push(time);
    }

    /// How long was slept each time, since the last look in seconds.
    pub(super) fn pauses(&self) -> Vec<f64> {
        let slept = self.slept.lock().unwrap();
        slept.iter().map(Duration::as_secs_f64).collect()
    }
}
