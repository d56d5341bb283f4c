//! Messages that are delivered together: those of one path and topic, each settled by itself.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::consumer::{Consumer, Fate, Open, process_status};
use super::{Message, Outcome};
use crate::components::message::Delivery;
use crate::resiliency::Verdict;

/// The most bytes of messages that are delivered together; a larger one goes by itself. Servers of
/// gRPC take 4 MiB unless they are told otherwise.
const MAX_BYTES: usize = 3 * 1024 * 1024;

/// The last outcome of each message; `None` where there was no try yet.
type Outcomes = Mutex<Vec<Option<Outcome>>>;

/// Messages for one call.
#[derive(Default)]
struct Group {
    open: Vec<Open>,
    messages: Vec<Message>,
    bytes: usize,
}

impl Group {
    fn takes(&self, message: &Message) -> bool {
        let fits = self.bytes + message.event.envelope().len() <= MAX_BYTES;
        let first = self.messages.first();
        first.is_none_or(|first| fits && first.path == message.path && first.topic == message.topic)
    }

    fn add(&mut self, open: Open, message: Message) {
        self.bytes += message.event.envelope().len();
        self.open.push(open);
        self.messages.push(message);
    }
}

impl Consumer {
    /// Delivers messages in as few calls as their paths allow.
    pub(super) async fn together(&self, deliveries: Vec<Delivery>) {
        let mut groups: Vec<Group> = Vec::new();
        for delivery in deliveries {
            match self.open(delivery) {
                (open, Ok(message)) => {
                    // From the back: a group that is full stays before its next one.
                    let mut last = groups.iter_mut().rev();
                    match last.find(|group| group.takes(&message)) {
                        Some(group) => group.add(open, message),
                        None => {
                            let mut group = Group::default();
                            group.add(open, message);
                            groups.push(group);
                        }
                    }
                }
                (open, Err(fate)) => self.settle_one(open, fate).await,
            }
        }
        for group in groups {
            self.deliver_group(group).await;
        }
    }

    async fn deliver_group(&self, group: Group) {
        let start = Instant::now();
        let outcomes = self.deliver_all(&group.messages).await;
        let fates: Vec<_> = outcomes
            .into_iter()
            .map(|outcome| self.fate(outcome))
            .collect();
        let all_taken = fates.iter().all(|fate| *fate == Fate::Taken);
        let worst = fates
            .iter()
            .find(|fate| matches!(fate, Fate::Undelivered(_)));
        self.meters.together(
            match worst {
                _ if all_taken => "success",
                Some(undelivered) => process_status(undelivered),
                None => "drop",
            },
            start,
        );
        for (open, fate) in group.open.into_iter().zip(fates) {
            self.settle_one(open, fate).await;
        }
    }

    async fn settle_one(&self, open: Open, fate: Fate) {
        let label = self.settle(open, fate).await;
        self.meters.one_of_several(label);
    }

    /// Delivers messages together, as often as the policy wants: at each further try those only
    /// that the app wants again.
    async fn deliver_all(&self, messages: &[Message]) -> Vec<Outcome> {
        let outcomes: Outcomes = Mutex::new(vec![None; messages.len()]);
        let attempt = |_| self.attempt(messages, &outcomes);
        let judge = |all_settled: &bool| match all_settled {
            true => Verdict::Success,
            false => Verdict::Failure(None),
        };
        let stopped = self.policy().run(attempt, judge).await.err();
        let outcomes = outcomes
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let or_stopped = |outcome: Option<Outcome>| {
            outcome.unwrap_or_else(|| {
                let reason = stopped.map(|stopped| stopped.to_string());
                let nothing = || "the app said nothing of it".to_owned();
                Outcome::Retry(reason.unwrap_or_else(nothing))
            })
        };
        outcomes.into_iter().map(or_stopped).collect()
    }

    /// One try. Hands back whether none is wanted again.
    fn attempt<'a>(
        &'a self,
        messages: &'a [Message],
        outcomes: &'a Outcomes,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(async move {
            let wanted = wanted(outcomes);
            let answer = if wanted.len() == messages.len() {
                self.subscriber.deliver_all(messages).await
            } else {
                let again = wanted.iter().map(|at| messages[*at].clone());
                let again: Vec<_> = again.collect();
                self.subscriber.deliver_all(&again).await
            };
            let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
            for (at, outcome) in wanted.into_iter().zip(answer) {
                outcomes[at] = Some(outcome);
            }
            outcomes.iter().all(|outcome| !is_wanted(outcome.as_ref()))
        })
    }
}

/// The places of messages that are not dealt with.
fn wanted(outcomes: &Outcomes) -> Vec<usize> {
    let outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
    let places = outcomes.iter().enumerate();
    let places = places.filter(|(_, outcome)| is_wanted(outcome.as_ref()));
    places.map(|(at, _)| at).collect()
}

fn is_wanted(outcome: Option<&Outcome>) -> bool {
    matches!(outcome, None | Some(Outcome::Retry(_)))
}
