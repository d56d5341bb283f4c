//! Since when every webhook configuration holds which bundle.

use std::time::SystemTime;

use tokio::sync::watch;

/// A bundle and since when it is in place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Placed {
    bundle: String,
    since: SystemTime,
}

/// What all configurations together hold. Cheap to clone; all clones share one state.
#[derive(Clone, Debug)]
pub struct Trust(watch::Sender<Vec<Option<Placed>>>);

impl Default for Trust {
    fn default() -> Self {
        Self::new()
    }
}

impl Trust {
    /// No configurations yet.
    pub fn new() -> Self {
        Self(watch::Sender::new(Vec::new()))
    }

    /// Adds a configuration, which holds nothing yet.
    pub fn place(&self) -> Place {
        let mut index = 0;
        self.0.send_modify(|all| {
            index = all.len();
            all.push(None);
        });
        Place {
            trust: self.clone(),
            index,
        }
    }

    /// Since when every configuration holds `bundle`. None where one does not, or there is none.
    pub fn since(&self, bundle: &str) -> Option<SystemTime> {
        let all = self.0.borrow();
        let since = all.iter().map(|placed| {
            let placed = placed.as_ref().filter(|placed| placed.bundle == bundle)?;
            Some(placed.since)
        });
        since.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Tells of every change.
    pub fn changes(&self) -> watch::Receiver<impl Sized + use<>> {
        self.0.subscribe()
    }
}

/// The place of one configuration in a [`Trust`].
#[derive(Debug)]
pub struct Place {
    trust: Trust,
    index: usize,
}

impl Place {
    /// The configuration holds `bundle`, seen at a time.
    pub fn holds(&self, bundle: &str, now: SystemTime) {
        self.trust.0.send_if_modified(|all| {
            let placed = &mut all[self.index];
            let changed = placed.as_ref().is_none_or(|placed| placed.bundle != bundle);
            if changed {
                *placed = Some(Placed {
                    bundle: bundle.to_owned(),
                    since: now,
                });
            }
            changed
        });
    }

    /// It is not known what the configuration holds, or it is nothing of use.
    pub fn holds_nothing(&self) {
        self.trust
            .0
            .send_if_modified(|all| all[self.index].take().is_some());
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_bundle_is_in_place_since_the_last_configuration_holds_it() {
        let at = |second| UNIX_EPOCH + Duration::from_secs(second);
        let trust = Trust::new();
        assert_eq!(trust.since("a"), None);
        let (one, other) = (trust.place(), trust.place());
        one.holds("a", at(1));
        assert_eq!(trust.since("a"), None);
        other.holds("a", at(2));
        other.holds("a", at(3));
        assert_eq!(trust.since("a"), Some(at(2)));
        one.holds("b", at(4));
        assert_eq!(trust.since("a"), None);
        one.holds("a", at(5));
        assert_eq!(trust.since("a"), Some(at(5)));
        one.holds_nothing();
        assert_eq!(trust.since("a"), None);
    }
}
