//! The keys that a server says were touched, until they are read again.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;

/// The most keys that wait to be read.
const MOST: usize = 10_000;

/// Keys that were touched. Touched twice, a key is read once.
pub(super) struct Touched {
    /// What stands before a key in the name of its channel.
    prefix: String,
    waiting: Mutex<Waiting>,
    came: Notify,
}

#[derive(Default)]
struct Waiting {
    keys: BTreeSet<String>,
    over: Option<Over>,
}

/// Why no more comes.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Over {
    /// The connection is gone.
    #[error("the connection for notices of changes is gone")]
    Disconnected,
    /// More was touched than can wait.
    #[error("more than {MOST} keys changed before they could be read")]
    TooMany,
}

impl Touched {
    /// None yet, of a database.
    pub(super) fn new(database: i64) -> Self {
        Self {
            prefix: format!("__keyspace@{database}__:"),
            waiting: Mutex::default(),
            came: Notify::new(),
        }
    }

    /// The channel of a key, or with a pattern those of keys.
    pub(super) fn channel(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Takes what the server tells.
    pub(super) fn take_in(&self, told: &PushInfo) {
        let channel = match told.kind {
            PushKind::Message => told.data.first(),
            PushKind::PMessage => told.data.get(1),
            PushKind::Disconnection => return self.end(Over::Disconnected),
            _ => None,
        };
        let Some(Value::BulkString(channel)) = channel else {
            return;
        };
        let key = channel.strip_prefix(self.prefix.as_bytes());
        if let Some(Ok(key)) = key.map(std::str::from_utf8) {
            self.add(key);
        }
    }

    fn add(&self, key: &str) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.keys.len() < MOST || waiting.keys.contains(key) {
            waiting.keys.insert(key.to_owned());
        } else {
            waiting.over = Some(Over::TooMany);
        }
        self.came.notify_one();
    }

    fn end(&self, over: Over) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.over = Some(over);
        self.came.notify_one();
    }

    /// The keys that were touched since the last time, once there are any.
    pub(super) async fn next(&self) -> Result<Vec<String>, Over> {
        loop {
            {
                let waiting = self.waiting.lock();
                let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
                if let Some(over) = waiting.over {
                    return Err(over);
                }
                if !waiting.keys.is_empty() {
                    return Ok(std::mem::take(&mut waiting.keys).into_iter().collect());
                }
            }
            self.came.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn told(kind: PushKind, data: &[&str]) -> PushInfo {
        let data = data.iter().map(|text| text.as_bytes().to_vec());
        PushInfo {
            kind,
            data: data.map(Value::BulkString).collect(),
        }
    }

    #[test]
    fn a_key_waits_once_and_others_are_not_for_it() {
        let touched = Touched::new(3);
        assert!(touched.next().now_or_never().is_none());
        touched.take_in(&told(PushKind::Message, &["__keyspace@3__:a:b", "set"]));
        touched.take_in(&told(PushKind::Message, &["__keyspace@3__:a:b", "del"]));
        touched.take_in(&told(
            PushKind::PMessage,
            &["__keyspace@3__:*", "__keyspace@3__:c", "set"],
        ));
        touched.take_in(&told(PushKind::Message, &["__keyspace@0__:x", "set"]));
        touched.take_in(&told(PushKind::Subscribe, &["__keyspace@3__:y"]));
        let keys = touched.next().now_or_never().unwrap().unwrap();
        assert_eq!(keys, ["a:b", "c"]);
        assert!(touched.next().now_or_never().is_none());
    }

    #[test]
    fn too_much_and_a_connection_that_is_gone_are_its_end() {
        let touched = Touched::new(0);
        for number in 0..=MOST {
            touched.add(&number.to_string());
        }
        let next = touched.next().now_or_never().unwrap();
        assert_eq!(next, Err(Over::TooMany));
        let touched = Touched::new(0);
        touched.take_in(&told(PushKind::Disconnection, &[]));
        let next = touched.next().now_or_never().unwrap();
        assert_eq!(next, Err(Over::Disconnected));
    }
}
