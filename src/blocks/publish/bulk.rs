//! Several messages in one call.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Message, Target, explained};
use crate::blocks::error::{Error, Reason};
use crate::components::BackendError;
use crate::components::message::Metadata;
use crate::components::pubsub::{Outgoing, PubSub};
use crate::resiliency::{Stopped, Verdict};

/// One message of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id, by which failures name it.
    pub id: String,
    /// The message.
    pub message: Message,
    /// What is said of it beside what is said of all.
    pub metadata: Metadata,
}

/// A message that the broker does not have, as far as anybody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedEntry {
    /// The id of the entry.
    pub entry_id: String,
    /// Why, for the client.
    pub error: String,
}

/// Refuses ids that are empty or not unique.
pub(super) fn check_ids(target: &Target<'_>, entries: &[Entry]) -> Result<(), Error> {
    let mut known = BTreeSet::new();
    let bad = entries
        .iter()
        .position(|entry| entry.id.is_empty() || !known.insert(entry.id.as_str()));
    let Some(place) = bad else {
        return Ok(());
    };
    let text = format!(
        "error when unmarshaling the request for topic {} pubsub {}: entryId is duplicated or not \
         present for entry {place}",
        target.topic, target.pubsub
    );
    Err(target.error(Reason::BulkUnreadable, text))
}

/// Messages on their way, and what became of each so far.
pub(super) struct Batch {
    messages: Vec<Outgoing>,
    outcomes: Mutex<Vec<Option<Result<(), BackendError>>>>,
}

impl Batch {
    pub(super) fn new(messages: Vec<Outgoing>) -> Self {
        let outcomes = Mutex::new(vec![None; messages.len()]);
        Self { messages, outcomes }
    }

    /// Publishes those that the broker does not have yet and did not refuse. Whether any are left
    /// then.
    pub(super) async fn publish(&self, broker: &dyn PubSub, topic: &str) -> bool {
        let left = self.left();
        let messages = left
            .iter()
            .filter_map(|place| self.messages.get(*place).cloned());
        let outcomes = broker.publish_all(topic, messages.collect()).await;
        let mut all = self.lock();
        for (place, outcome) in left.into_iter().zip(outcomes) {
            if let Some(entry) = all.get_mut(place) {
                *entry = Some(outcome);
            }
        }
        drop(all);
        !self.left().is_empty()
    }

    /// What a try says of its broker.
    pub(super) fn judge(are_left: &bool) -> Verdict {
        if *are_left {
            Verdict::Failure(None)
        } else {
            Verdict::Success
        }
    }

    /// Which messages failed, by their place, each with a text for the client. `tell` is told each
    /// cause in the broker's own words.
    pub(super) fn failures(
        &self,
        stopped: Option<Stopped>,
        tell: impl Fn(&dyn std::error::Error),
    ) -> Vec<(usize, String)> {
        if let Some(stopped) = &stopped {
            tell(stopped);
        }
        let outcomes = self.lock().clone();
        let failures = outcomes.into_iter().enumerate();
        let failures = failures.filter_map(|(place, outcome)| match (outcome, stopped) {
            (Some(Ok(())), _) => None,
            (Some(Err(cause)), _) => {
                tell(&cause);
                Some((place, explained(&cause).to_owned()))
            }
            (None, Some(stopped)) => Some((place, stopped.to_string())),
            (None, None) => Some((place, "the broker did not answer for it".to_owned())),
        });
        failures.collect()
    }

    fn left(&self) -> Vec<usize> {
        let outcomes = self.lock();
        let left = outcomes.iter().enumerate().filter(|(_, outcome)| {
            matches!(outcome, None | Some(Err(BackendError::Unavailable(_))))
        });
        left.map(|(place, _)| place).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<Result<(), BackendError>>>> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
