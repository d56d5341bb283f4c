//! What arrived, by where it arrived.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dapr::dapr::proto::runtime::v1::TopicEventRequest;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::report::{Failure, holds};

/// What is published to see whether a subscription is there.
pub(crate) const WARM_UP: &str = "warm-up";

/// How long something is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What an application is told of a message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    source: String,
    kind: String,
    content_type: String,
    data: Vec<u8>,
}

impl Event {
    /// What arrives of a message that this application publishes.
    pub(crate) fn sent(data: &[u8], content_type: &str) -> Self {
        Self {
            source: std::env::var("APP_ID").unwrap_or_default(),
            kind: "com.dapr.event.sent".to_owned(),
            content_type: content_type.to_owned(),
            data: data.to_owned(),
        }
    }

    /// The same of a text.
    pub(crate) fn text(data: &str) -> Self {
        Self::sent(data.as_bytes(), "text/plain")
    }

    /// The same with another type.
    pub(crate) fn of_kind(mut self, kind: &str) -> Self {
        self.kind = kind.to_owned();
        self
    }
}

/// What arrived, by where it arrived.
#[derive(Default)]
pub(crate) struct Inbox {
    all: Mutex<HashMap<String, Vec<Event>>>,
    expected: Mutex<HashMap<String, Vec<Event>>>,
    changed: Notify,
}

impl Inbox {
    /// The number of what arrived there, from 1; 0 if it was sent to see whether it arrives.
    pub(crate) fn put(&self, place: &str, event: &TopicEventRequest) -> usize {
        let is_warm_up = event.data == WARM_UP.as_bytes();
        let place = if is_warm_up {
            warm_up_of(place)
        } else {
            place.to_owned()
        };
        let number = {
            let mut all = self.lock();
            let there = all.entry(place).or_default();
            there.push(Event {
                source: event.source.clone(),
                kind: event.r#type.clone(),
                content_type: event.data_content_type.clone(),
                data: event.data.clone(),
            });
            there.len()
        };
        self.changed.notify_waiters();
        if is_warm_up { 0 } else { number }
    }

    /// What is there.
    pub(crate) fn at(&self, place: &str) -> Vec<Event> {
        self.lock().get(place).cloned().unwrap_or_default()
    }

    /// Waits until so much is there, or some time has passed. What is there then.
    pub(crate) async fn wait(&self, place: &str, number: usize, limit: Duration) -> Vec<Event> {
        let enough = async {
            loop {
                let changed = self.changed.notified();
                if self.at(place).len() >= number {
                    return;
                }
                changed.await;
            }
        };
        let _ = timeout(limit, enough).await;
        self.at(place)
    }

    /// Fails unless exactly these arrive there beside what did before, in any order.
    pub(crate) async fn got(&self, place: &str, events: &[Event]) -> Result<(), Failure> {
        let expected = {
            let mut all = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
            let there = all.entry(place.to_owned()).or_default();
            there.extend_from_slice(events);
            there.clone()
        };
        let arrived = self.wait(place, expected.len(), PATIENCE).await;
        let mut left = arrived.clone();
        for event in &expected {
            let at = left.iter().position(|other| other == event);
            left.remove(at.ok_or_else(|| format!("{event:?} is not in {arrived:?}"))?);
        }
        holds(left.is_empty(), || format!("{left:?} arrived too"))
    }

    /// Fails where more has arrived anywhere than was expected; of ticks nobody knows how many.
    pub(crate) fn got_nothing_else(&self) -> Result<(), Failure> {
        let expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let all = self.lock();
        let mut places = all
            .iter()
            .filter(|(place, _)| place.as_str() != "tick" && !place.starts_with(&warm_up_of("")));
        let is_more = |(place, events): &(&String, &Vec<Event>)| {
            events.len() != expected.get(*place).map_or(0, Vec::len)
        };
        let more = places.find(is_more);
        holds(more.is_none(), || format!("{more:?}"))
    }

    /// Fails unless so much arrives there.
    pub(crate) async fn got_at_least(&self, place: &str, number: usize) -> Result<(), Failure> {
        let arrived = self.wait(place, number, PATIENCE).await.len();
        holds(arrived >= number, || format!("{arrived} arrived"))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Event>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where what was sent to see whether it arrives is put.
pub(crate) fn warm_up_of(place: &str) -> String {
    format!("{WARM_UP} of {place}")
}
