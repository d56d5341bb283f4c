//! Changes that wait for the app: of each key the newest, and no more than may wait.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::components::configuration::Item;

/// The most bytes of keys and items that wait for one subscription. A larger item waits alone.
const MOST_BYTES: usize = 4 << 20;

/// A change that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// What changed.
    pub(super) key: String,
    /// What it is now; with an empty value it is gone.
    pub(super) item: Item,
    /// How often the app was told in vain.
    pub(super) failures: u32,
}

/// The changes of one subscription. One task puts them in, another takes them.
#[derive(Default)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    came: Notify,
    went: Notify,
}

#[derive(Default)]
struct Waiting {
    changes: HashMap<String, Change>,
    /// The keys, the first to be taken at the front.
    order: VecDeque<String>,
    bytes: usize,
    is_closed: bool,
}

impl Inbox {
    /// Puts a change in, in place of an older one of its key. Where there is no room, it waits
    /// for some.
    pub(super) async fn put(&self, key: String, item: Item) {
        let mut change = Change {
            key,
            item,
            failures: 0,
        };
        while let Err(back) = self.try_put(change) {
            change = back;
            self.went.notified().await;
        }
    }

    fn try_put(&self, change: Change) -> Result<(), Change> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.put(change)?;
        self.came.notify_one();
        Ok(())
    }

    /// Puts a change back that the app did not take, unless a newer one of its key came.
    pub(super) fn put_back(&self, change: Change) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.changes.contains_key(&change.key) {
            waiting.insert(change);
            self.came.notify_one();
        }
    }

    /// The next change; `None` once there is none and none will come. Dropping the future loses
    /// none.
    pub(super) async fn take(&self) -> Option<Change> {
        self.filled().await;
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.went.notify_one();
        waiting.take()
    }

    /// Waits until there is a change, or none will come.
    pub(super) async fn filled(&self) {
        while !self.is_filled() {
            self.came.notified().await;
        }
    }

    fn is_filled(&self) -> bool {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.is_closed || !waiting.order.is_empty()
    }

    /// No more will come.
    pub(super) fn close(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.is_closed = true;
        self.came.notify_one();
    }
}

impl Waiting {
    fn put(&mut self, change: Change) -> Result<(), Change> {
        let older = self.changes.get(&change.key).map_or(0, size);
        let others = self.bytes - older;
        if others > 0 && others + size(&change) > MOST_BYTES {
            return Err(change);
        }
        self.insert(change);
        Ok(())
    }

    /// Also where there is no room, as for what was taken a moment ago.
    fn insert(&mut self, change: Change) {
        self.bytes += size(&change);
        let key = change.key.clone();
        match self.changes.insert(key.clone(), change) {
            Some(older) => self.bytes -= size(&older),
            None => self.order.push_back(key),
        }
    }

    fn take(&mut self) -> Option<Change> {
        let key = self.order.pop_front()?;
        let change = self.changes.remove(&key)?;
        self.bytes -= size(&change);
        Some(change)
    }
}

fn size(change: &Change) -> usize {
    let Item {
        value,
        version,
        metadata,
    } = &change.item;
    let metadata = metadata
        .iter()
        .map(|(name, value)| name.len() + value.len());
    change.key.len() + value.len() + version.len() + metadata.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn item(value: &str) -> Item {
        Item {
            value: value.to_owned(),
            ..Item::default()
        }
    }

    fn put(inbox: &Inbox, key: &str, value: &str) -> bool {
        let putting = inbox.put(key.to_owned(), item(value));
        putting.now_or_never().is_some()
    }

    fn take(inbox: &Inbox) -> Option<(String, String)> {
        let change = inbox.take().now_or_never().unwrap()?;
        Some((change.key, change.item.value))
    }

    fn pair(key: &str, value: &str) -> Option<(String, String)> {
        Some((key.to_owned(), value.to_owned()))
    }

    #[test]
    fn of_each_key_the_newest_waits_and_keys_take_turns() {
        let inbox = Inbox::default();
        for (key, value) in [("b", "1"), ("a", "1"), ("b", "2"), ("b", "3")] {
            assert!(put(&inbox, key, value));
        }
        assert_eq!(take(&inbox), pair("b", "3"));
        assert!(put(&inbox, "b", "4"));
        assert_eq!(take(&inbox), pair("a", "1"));
        assert_eq!(take(&inbox), pair("b", "4"));
        assert!(inbox.take().now_or_never().is_none());
        inbox.close();
        assert_eq!(take(&inbox), None);
    }

    #[test]
    fn what_comes_back_is_behind_the_others_and_never_in_place_of_a_newer() {
        let inbox = Inbox::default();
        put(&inbox, "a", "old");
        put(&inbox, "b", "1");
        let mut failed = inbox.take().now_or_never().unwrap().unwrap();
        failed.failures += 1;
        inbox.put_back(failed.clone());
        assert_eq!(take(&inbox), pair("b", "1"));
        let again = inbox.take().now_or_never().unwrap().unwrap();
        assert_eq!(again, failed);
        put(&inbox, "a", "new");
        inbox.put_back(failed);
        assert_eq!(take(&inbox), pair("a", "new"));
        assert!(inbox.take().now_or_never().is_none());
    }

    #[test]
    fn there_is_room_for_so_much_and_for_one_that_is_larger() {
        let inbox = Inbox::default();
        let half = "x".repeat(MOST_BYTES / 2);
        assert!(put(&inbox, "a", &half));
        assert!(!put(&inbox, "b", &half));
        assert!(put(&inbox, "a", &"y".repeat(MOST_BYTES * 2)), "it is alone");
        assert!(!put(&inbox, "b", "1"));
        take(&inbox);
        assert!(put(&inbox, "b", "1"));
        assert!(put(&inbox, "c", &half));
        let waiting = inbox.waiting.lock().unwrap();
        assert_eq!(waiting.bytes, half.len() + 3);
    }
}
