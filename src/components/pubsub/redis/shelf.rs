//! Where messages wait between the server and the app. Taking one is a matter of a moment, so that
//! a wait for the next can be given up at any time and nothing is lost.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::entry::Content;
use crate::components::BackendError;

/// Ids of messages that are here or with the app.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<HashSet<String>>);

impl Held {
    /// Whether this one is.
    pub(super) fn has(&self, id: &str) -> bool {
        self.lock().contains(id)
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message that is here or with the app, until it is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) id: String,
    held: Arc<Held>,
    place: Option<OwnedSemaphorePermit>,
}

impl Hold {
    /// `None` where it is held already, or where there is no place for it.
    pub(super) fn take(held: &Arc<Held>, places: &Arc<Semaphore>, id: &str) -> Option<Self> {
        let place = Arc::clone(places).try_acquire_owned().ok()?;
        held.lock().insert(id.to_owned()).then(|| Self {
            id: id.to_owned(),
            held: Arc::clone(held),
            place: Some(place),
        })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.held.lock().remove(&self.id);
    }
}

/// A message on the shelf.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) hold: Hold,
    pub(super) content: Content,
    /// When the server handed it out, at the earliest.
    pub(super) since: Instant,
}

/// Messages that wait for the app.
#[derive(Debug)]
pub(super) struct Shelf {
    state: Mutex<State>,
    /// Something came, or the reader ended.
    pub(super) filled: Notify,
    /// The reader has to look again.
    pub(super) changed: Notify,
    /// One permit for each message that can be held.
    pub(super) places: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    ended: Option<BackendError>,
    /// Places of messages that failed, with the time at which they are free again.
    cooling: VecDeque<(Instant, OwnedSemaphorePermit)>,
    /// From when on all that is not settled is read again.
    again: Option<Instant>,
    is_closed: bool,
}

impl Shelf {
    /// An empty one with so many places.
    pub(super) fn new(places: usize) -> Self {
        Self {
            state: Mutex::default(),
            filled: Notify::new(),
            changed: Notify::new(),
            places: Arc::new(Semaphore::new(places)),
        }
    }

    /// Puts a message behind the others, unless all is to be read again from before it.
    pub(super) fn put(&self, message: Waiting) {
        let mut state = self.state();
        if state.again.is_some() || state.is_closed {
            // Dropped with its hold outside of the lock of the shelf.
            drop(state);
            drop(message);
            return;
        }
        state.waiting.push_back(message);
        drop(state);
        self.filled.notify_one();
    }

    /// The reader ended.
    pub(super) fn end(&self, error: BackendError) {
        self.state().ended = Some(error);
        self.filled.notify_one();
    }

    /// The next message, if one is there, or why no more come.
    pub(super) fn next(&self) -> Option<Result<Waiting, BackendError>> {
        let mut state = self.state();
        if let Some(message) = state.waiting.pop_front() {
            return Some(Ok(message));
        }
        state.ended.clone().map(Err)
    }

    /// Everything that waits here goes, to be read again from the server after a pause.
    pub(super) fn read_again(&self, pause: Duration) {
        let mut state = self.state();
        let waiting = std::mem::take(&mut state.waiting);
        state.again = Some(Instant::now() + pause);
        drop(state);
        drop(waiting);
        self.changed.notify_one();
    }

    /// Whether all is to be read again, and when.
    pub(super) fn again(&self) -> Option<Instant> {
        self.state().again
    }

    /// All is being read again.
    pub(super) fn begin_again(&self) {
        self.state().again = None;
    }

    /// The place of a message that failed is not free before a pause.
    pub(super) fn cool(&self, hold: &mut Hold, pause: Duration) {
        if let Some(place) = hold.place.take() {
            let free = Instant::now() + pause;
            self.state().cooling.push_back((free, place));
            self.changed.notify_one();
        }
    }

    /// Frees the places that are cool; when the next one will be.
    pub(super) fn warm(&self) -> Option<Instant> {
        let mut state = self.state();
        let now = Instant::now();
        while state.cooling.front().is_some_and(|(free, _)| *free <= now) {
            state.cooling.pop_front();
        }
        state.cooling.front().map(|(free, _)| *free)
    }

    /// Takes nothing more, and throws away what waits.
    pub(super) fn close(&self) {
        let mut state = self.state();
        let waiting = std::mem::take(&mut state.waiting);
        state.is_closed = true;
        drop(state);
        drop(waiting);
    }

    /// Whether nobody reads here any more.
    pub(super) fn is_closed(&self) -> bool {
        self.state().is_closed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(shelf: &Shelf, held: &Arc<Held>, id: &str) -> Option<Waiting> {
        Some(Waiting {
            hold: Hold::take(held, &shelf.places, id)?,
            content: Content::default(),
            since: Instant::now(),
        })
    }

    #[test]
    fn holds_no_more_than_there_are_places_and_nothing_twice() {
        let (shelf, held) = (Shelf::new(2), Arc::<Held>::default());
        let one = message(&shelf, &held, "1-0").unwrap();
        assert!(
            message(&shelf, &held, "1-0").is_none(),
            "it is held already"
        );
        shelf.put(message(&shelf, &held, "2-0").unwrap());
        assert!(message(&shelf, &held, "3-0").is_none(), "there is no place");
        assert!(held.has("1-0") && held.has("2-0") && !held.has("3-0"));
        drop(one);
        assert!(message(&shelf, &held, "3-0").is_some());
        let next = shelf.next().unwrap().unwrap();
        assert_eq!(next.hold.id, "2-0");
        assert!(shelf.next().is_none());
        shelf.end(BackendError::Refused("e".to_owned()));
        assert!(shelf.next().unwrap().is_err());
    }

    #[test]
    fn a_setback_empties_it_and_what_comes_late_is_not_put() {
        let (shelf, held) = (Shelf::new(9), Arc::<Held>::default());
        shelf.put(message(&shelf, &held, "1-0").unwrap());
        shelf.read_again(Duration::ZERO);
        shelf.put(message(&shelf, &held, "2-0").unwrap());
        assert!(shelf.next().is_none() && shelf.again().is_some());
        assert!(!held.has("1-0") && !held.has("2-0"));
        shelf.begin_again();
        shelf.put(message(&shelf, &held, "1-0").unwrap());
        assert_eq!(shelf.next().unwrap().unwrap().hold.id, "1-0");
        shelf.close();
        shelf.put(message(&shelf, &held, "2-0").unwrap());
        assert!(shelf.next().is_none() && shelf.is_closed());
    }

    #[test]
    fn the_place_of_a_failed_message_is_taken_for_a_while() {
        let (shelf, held) = (Shelf::new(1), Arc::<Held>::default());
        let mut failed = message(&shelf, &held, "1-0").unwrap();
        shelf.cool(&mut failed.hold, Duration::from_secs(3600));
        drop(failed);
        assert!(!held.has("1-0"));
        assert!(shelf.warm().is_some());
        assert!(message(&shelf, &held, "2-0").is_none());
        let (shelf, mut failed) = (Shelf::new(1), None);
        failed.replace(message(&shelf, &held, "1-0").unwrap());
        shelf.cool(&mut failed.unwrap().hold, Duration::ZERO);
        assert!(shelf.warm().is_none());
        assert!(message(&shelf, &held, "2-0").is_some());
    }
}
