//! Messages that went out over a stream, and what the app says of each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use dapr::dapr::proto::runtime::v1::TopicEventRequest;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tracing::warn;

use super::{Message, Outcome, Subscriber};
use crate::process::log_rate::LogRate;

/// The most messages of one stream without an answer.
const MAX_UNANSWERED: usize = 100;

/// What the log says of a message whose stream is gone.
const ENDED: &str = "the stream ended before it answered";

/// Who waits for an answer, by the id of the message.
#[derive(Default)]
pub(super) struct Answers {
    waiting: Mutex<Waiting>,
    /// Told whenever somebody waits no more.
    freed: Notify,
    unknown: LogRate,
}

#[derive(Default)]
struct Waiting {
    is_closed: bool,
    asked: u64,
    by_id: HashMap<String, (u64, oneshot::Sender<Outcome>)>,
}

/// A message that waits for its answer. Dropped before, nobody waits any more.
struct Question<'a> {
    id: String,
    number: u64,
    answers: &'a Answers,
    answer: oneshot::Receiver<Outcome>,
}

impl Answers {
    /// Ends the wait for an answer.
    pub(super) fn answer(&self, id: &str, outcome: Outcome) {
        let asked = self.lock().by_id.remove(id);
        match asked {
            Some((_, answer)) => {
                // Whoever asked may be gone.
                let _ = answer.send(outcome);
                self.freed.notify_waiters();
            }
            None => {
                if let Some(left_out) = self.unknown.pass() {
                    warn!(
                        id,
                        left_out, "A stream answered for an event that waits for none; ignored"
                    );
                }
            }
        }
    }

    /// Nobody answers any more.
    pub(super) fn close(&self) {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        waiting.by_id.clear();
        drop(waiting);
        self.freed.notify_waiters();
    }

    /// Begins to wait for an answer; `None` where there will be none. Of two messages with one id
    /// the second waits until the first is answered, since nobody could tell their answers apart.
    async fn ask(&self, id: &str) -> Option<Question<'_>> {
        loop {
            let freed = self.freed.notified();
            {
                let mut waiting = self.lock();
                if waiting.is_closed {
                    return None;
                }
                if !waiting.by_id.contains_key(id) {
                    let (sender, answer) = oneshot::channel();
                    waiting.asked += 1;
                    let number = waiting.asked;
                    waiting.by_id.insert(id.to_owned(), (number, sender));
                    return Some(Question {
                        id: id.to_owned(),
                        number,
                        answers: self,
                        answer,
                    });
                }
            }
            freed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        let mut waiting = self.answers.lock();
        let own = waiting.by_id.get(&self.id);
        if own.is_some_and(|(number, _)| *number == self.number) {
            waiting.by_id.remove(&self.id);
        }
        drop(waiting);
        self.answers.freed.notify_waiters();
    }
}

/// Delivers messages over a stream.
pub(super) struct StreamSubscriber {
    events: mpsc::Sender<TopicEventRequest>,
    answers: Arc<Answers>,
    places: Semaphore,
}

impl StreamSubscriber {
    pub(super) fn new(events: mpsc::Sender<TopicEventRequest>, answers: Arc<Answers>) -> Self {
        Self {
            events,
            answers,
            places: Semaphore::new(MAX_UNANSWERED),
        }
    }

    /// Sends a message and waits for its answer; `None` where the stream ended before.
    async fn exchange(&self, request: TopicEventRequest) -> Option<Outcome> {
        let _place = self.places.acquire().await.ok()?;
        let mut question = self.answers.ask(&request.id).await?;
        self.events.send(request).await.ok()?;
        (&mut question.answer).await.ok()
    }
}

#[async_trait]
impl Subscriber for StreamSubscriber {
    async fn deliver(&self, message: &Message) -> Outcome {
        let Message { pubsub, topic, .. } = message;
        match message.event.to_request(&message.path, pubsub, topic) {
            Ok(request) => {
                let outcome = self.exchange(request).await;
                outcome.unwrap_or_else(|| Outcome::Retry(ENDED.to_owned()))
            }
            Err(error) => Outcome::Drop(error.to_string()),
        }
    }
}
