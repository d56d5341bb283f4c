//! Messages that went out over a stream, and what the app says of each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use dapr::dapr::proto::runtime::v1::TopicEventRequest;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
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
    /// Cancelled once the broker hands out messages.
    began: CancellationToken,
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
    /// Waits until the broker hands out messages.
    pub(super) async fn begin(&self) {
        self.began.cancelled().await;
    }

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

    fn subscribed(&self) {
        self.answers.began.cancel();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use futures_util::future::join;

    use super::*;
    use crate::blocks::subscriptions::tests::message as with_envelope;

    fn message(id: &str) -> Message {
        with_envelope(&format!("{{\"id\":\"{id}\"}}"))
    }

    fn stream() -> (
        StreamSubscriber,
        Arc<Answers>,
        mpsc::Receiver<TopicEventRequest>,
    ) {
        let (sender, events) = mpsc::channel(1000);
        let answers = Arc::<Answers>::default();
        (
            StreamSubscriber::new(sender, answers.clone()),
            answers,
            events,
        )
    }

    #[tokio::test]
    async fn answers_find_their_message_in_any_order() {
        let (subscriber, answers, mut events) = stream();
        let (one, two) = (message("1"), message("2"));
        let app = async {
            let first = events.recv().await.unwrap();
            let second = events.recv().await.unwrap();
            assert_eq!((first.id.as_str(), second.id.as_str()), ("1", "2"));
            answers.answer("unknown", Outcome::Success);
            answers.answer("2", Outcome::Drop("no".to_owned()));
            answers.answer("2", Outcome::Success);
            answers.answer("1", Outcome::Success);
        };
        let delivered = join(subscriber.deliver(&one), subscriber.deliver(&two));
        let (outcomes, ()) = join(delivered, app).await;
        assert_eq!(outcomes, (Outcome::Success, Outcome::Drop("no".to_owned())));
    }

    #[tokio::test]
    async fn messages_with_one_id_go_out_one_after_the_other() {
        let (subscriber, answers, mut events) = stream();
        let same = message("1");
        let app = async {
            events.recv().await.unwrap();
            assert!(events.recv().now_or_never().is_none());
            answers.answer("1", Outcome::Success);
            events.recv().await.unwrap();
            answers.answer("1", Outcome::Drop("second".to_owned()));
        };
        let delivered = join(subscriber.deliver(&same), subscriber.deliver(&same));
        let (outcomes, ()) = join(delivered, app).await;
        assert_eq!(
            outcomes,
            (Outcome::Success, Outcome::Drop("second".to_owned()))
        );
    }

    #[tokio::test]
    async fn a_delivery_that_was_given_up_leaves_its_place() {
        let (subscriber, answers, mut events) = stream();
        let same = message("1");
        assert!(subscriber.deliver(&same).now_or_never().is_none());
        events.recv().await.unwrap();
        answers.answer("1", Outcome::Drop("too late".to_owned()));
        let app = async {
            events.recv().await.unwrap();
            answers.answer("1", Outcome::Success);
        };
        let (outcome, ()) = join(subscriber.deliver(&same), app).await;
        assert_eq!(outcome, Outcome::Success);
    }

    #[tokio::test]
    async fn what_is_not_answered_when_a_stream_ends_is_to_be_delivered_again() {
        let (subscriber, answers, mut events) = stream();
        let (one, two) = (message("1"), message("2"));
        let ended = Outcome::Retry(ENDED.to_owned());
        let app = async {
            events.recv().await.unwrap();
            answers.close();
        };
        let (outcome, ()) = join(subscriber.deliver(&one), app).await;
        assert_eq!(outcome, ended);
        assert_eq!(subscriber.deliver(&two).await, ended);
        let (subscriber, _, events) = stream();
        drop(events);
        assert_eq!(subscriber.deliver(&one).await, ended);
    }

    #[tokio::test]
    async fn the_number_of_messages_without_an_answer_has_a_limit() {
        let (subscriber, answers, mut events) = stream();
        let messages: Vec<_> = (0..=MAX_UNANSWERED)
            .map(|at| message(&at.to_string()))
            .collect();
        let all = messages.iter().map(|message| subscriber.deliver(message));
        let app = async {
            for _ in 0..MAX_UNANSWERED {
                events.recv().await.unwrap();
            }
            assert!(events.recv().now_or_never().is_none());
            answers.answer("0", Outcome::Success);
            events.recv().await.unwrap();
            answers.close();
        };
        let (outcomes, ()) = join(futures_util::future::join_all(all), app).await;
        assert_eq!(outcomes[0], Outcome::Success);
    }
}
