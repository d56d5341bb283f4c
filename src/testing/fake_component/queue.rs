//! Messages behind a component, which outlive its process.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::Notify;

/// The most messages of one stream that are not settled.
const PREFETCH: usize = 100;

/// A queue that hands out again what was not dealt with.
#[derive(Clone, Debug, Default)]
pub struct Queue(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(u64, Bytes)>,
    next_id: u64,
    handed_out: usize,
    done: Vec<(u64, Bytes)>,
    failures: Vec<String>,
}

impl Queue {
    /// Puts a message in.
    pub fn push(&self, data: impl Into<Bytes>) {
        let mut state = self.0.state.lock().unwrap();
        state.next_id += 1;
        let id = state.next_id;
        state.waiting.push_back((id, data.into()));
        drop(state);
        self.0.changed.notify_one();
    }

    /// How often a message was handed out.
    pub fn handed_out(&self) -> usize {
        self.0.state.lock().unwrap().handed_out
    }

    /// The numbers of the messages that are dealt with, from 1, and what was answered.
    pub fn done(&self) -> Vec<(u64, Bytes)> {
        self.0.state.lock().unwrap().done.clone()
    }

    /// What was said of messages that were not dealt with.
    pub fn failures(&self) -> Vec<String> {
        self.0.state.lock().unwrap().failures.clone()
    }

    /// One stream of the messages.
    pub(super) fn session(&self) -> Session {
        Session {
            queue: self.clone(),
            unsettled: Vec::new(),
        }
    }
}

/// One stream. When it ends, what it did not settle waits again.
pub(super) struct Session {
    queue: Queue,
    unsettled: Vec<(u64, Bytes)>,
}

impl Session {
    /// The next message, where there is one.
    pub(super) fn take(&mut self) -> Option<(u64, Bytes)> {
        if self.unsettled.len() == PREFETCH {
            return None;
        }
        let mut state = self.queue.0.state.lock().unwrap();
        let message = state.waiting.pop_front()?;
        state.handed_out += 1;
        self.unsettled.push(message.clone());
        Some(message)
    }

    /// Waits until there may be another.
    pub(super) async fn changed(&self) {
        if self.unsettled.len() == PREFETCH {
            std::future::pending::<()>().await;
        }
        self.queue.0.changed.notified().await;
    }

    /// What became of a message.
    pub(super) fn settle(&mut self, id: &str, answer: Bytes, error: Option<String>) {
        let is_it = |(number, _): &(u64, Bytes)| number.to_string() == id;
        let at = self.unsettled.iter().position(is_it);
        let message = self.unsettled.remove(at.expect("it was handed out"));
        let mut state = self.queue.0.state.lock().unwrap();
        match error {
            None => state.done.push((message.0, answer)),
            Some(text) => {
                state.failures.push(text);
                state.waiting.push_front(message);
                self.queue.0.changed.notify_one();
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut state = self.queue.0.state.lock().unwrap();
        for message in self.unsettled.drain(..).rev() {
            state.waiting.push_front(message);
        }
        drop(state);
        self.queue.0.changed.notify_one();
    }
}
