//! The messages of one subscription.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Outgoing;
use super::pattern::Pattern;

/// A message with the topic that it was published to.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) topic: String,
    pub(super) message: Outgoing,
}

/// A message that was taken out, with its place in the queue.
pub(super) struct Reserved {
    pub(super) stored: Arc<Stored>,
    place: u64,
}

/// The messages that wait for one subscription, in the order in which they came.
#[derive(Debug)]
pub(super) struct Queue {
    pattern: Pattern,
    messages: Mutex<Messages>,
    changed: Notify,
}

#[derive(Debug)]
struct Messages {
    /// With their places, which grow.
    waiting: VecDeque<(u64, Arc<Stored>)>,
    /// Those that failed, with when they are due, which grows.
    failed: VecDeque<(Instant, u64, Arc<Stored>)>,
    /// How many were taken out and are not dealt with.
    taken: usize,
    next_place: u64,
    readers: usize,
    /// Since when nobody reads.
    unread_since: Instant,
}

impl Queue {
    pub(super) fn new(topic: &str) -> Self {
        Self {
            pattern: Pattern::new(topic),
            messages: Mutex::new(Messages {
                waiting: VecDeque::new(),
                failed: VecDeque::new(),
                taken: 0,
                next_place: 0,
                readers: 0,
                unread_since: Instant::now(),
            }),
            changed: Notify::new(),
        }
    }

    /// The topic as the subscription names it.
    pub(super) fn topic(&self) -> &str {
        self.pattern.as_str()
    }

    /// Whether it gets the messages of a topic.
    pub(super) fn wants(&self, topic: &str) -> bool {
        self.pattern.matches(topic)
    }

    /// The number of messages in it, where nobody has read it for so long.
    pub(super) fn given_up(&self, kept: Duration) -> Option<usize> {
        let messages = self.lock();
        let is_unread = messages.readers == 0 && messages.taken == 0;
        let is_given_up = is_unread && messages.unread_since.elapsed() >= kept;
        is_given_up.then(|| messages.count())
    }

    /// Whether so many messages are in it or being dealt with.
    pub(super) fn is_full(&self, capacity: usize) -> bool {
        self.lock().count() >= capacity
    }

    /// Adds a message at the end.
    pub(super) fn push(&self, stored: Arc<Stored>) {
        let mut messages = self.lock();
        let place = messages.next_place;
        messages.next_place += 1;
        messages.waiting.push_back((place, stored));
        drop(messages);
        self.changed.notify_one();
    }

    /// Takes the next message out; without one, says when one is due that failed.
    pub(super) fn take(&self, now: Instant) -> Result<Reserved, Option<Instant>> {
        let mut messages = self.lock();
        let due = messages.failed.front().map(|(due, ..)| *due);
        let next = if due.is_some_and(|due| due <= now) {
            let failed = messages.failed.pop_front();
            failed.map(|(_, place, stored)| (place, stored))
        } else {
            messages.waiting.pop_front()
        };
        let (place, stored) = next.ok_or(due)?;
        messages.taken += 1;
        let has_more = messages.readers > 1 && messages.count() > messages.taken;
        drop(messages);
        if has_more {
            // One notice may stand for several messages.
            self.changed.notify_one();
        }
        Ok(Reserved { stored, place })
    }

    /// A message that was taken out is dealt with.
    pub(super) fn done(&self) {
        self.lock().taken -= 1;
    }

    /// A message that was taken out comes again when it is due.
    pub(super) fn failed(&self, reserved: Reserved, due: Instant) {
        let mut messages = self.lock();
        messages.taken -= 1;
        let Reserved { place, stored } = reserved;
        messages.failed.push_back((due, place, stored));
        drop(messages);
        self.changed.notify_one();
    }

    /// A message that was taken out goes back to its place.
    pub(super) fn give_back(&self, reserved: Reserved) {
        let mut messages = self.lock();
        messages.taken -= 1;
        let Reserved { place, stored } = reserved;
        let waiting = &mut messages.waiting;
        let at = waiting.iter().position(|(other, _)| *other > place);
        waiting.insert(at.unwrap_or(waiting.len()), (place, stored));
        drop(messages);
        self.changed.notify_one();
    }

    pub(super) fn begin_to_read(&self) {
        self.lock().readers += 1;
    }

    pub(super) fn end_to_read(&self) {
        let mut messages = self.lock();
        messages.readers -= 1;
        messages.unread_since = Instant::now();
        drop(messages);
        // A notice that was meant for it goes to another.
        self.changed.notify_one();
    }

    /// Waits until there may be something to take.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Messages> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Messages {
    fn count(&self) -> usize {
        self.waiting.len() + self.failed.len() + self.taken
    }
}
