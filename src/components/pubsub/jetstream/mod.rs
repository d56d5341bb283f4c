//! `pubsub.jetstream`: a subject a topic, in a stream that is there, and a durable pull consumer a
//! subscription, which all replicas share.

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::ConsumerErrorKind;
use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::{Feature, Interest, Outgoing, PubSub};
use crate::components::message::Intake;
use crate::components::metadata::Reader;
use crate::components::nats::connection::{Nats, is_refusal, is_subject};
use crate::components::nats::intake::{Consumption, take};
use crate::components::{BackendError, Error};
use settings::Settings;

mod settings;

/// The header by which the server knows a message that it has already. A publisher may set it.
const MESSAGE_ID: &str = "Nats-Msg-Id";
/// How many messages of one publisher wait for the server's word at once.
const TOGETHER: usize = 256;

/// How long a message may wait for the server's word.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The broker.
pub struct JetStream {
    nats: Nats,
    settings: Settings,
}

impl JetStream {
    /// Reads the settings and connects.
    ///
    /// # Errors
    ///
    /// Settings that cannot be used, and servers that are not there or let nobody in.
    pub async fn start(reader: &mut Reader<'_>, app_id: &str) -> Result<Self, Error> {
        let settings = Settings::read(reader, app_id)?;
        let nats = Nats::start(reader).await?;
        Ok(Self { nats, settings })
    }

    /// Sends one message. What comes of it, the answer tells.
    async fn send(
        &self,
        subject: &str,
        message: Outgoing,
    ) -> Result<PublishAckFuture, BackendError> {
        if !is_subject(subject) {
            let text = format!("{subject:?} is no subject without wildcards");
            return Err(BackendError::Refused(text));
        }
        let mut publish = PublishMessage::build().payload(message.data);
        if let Some(id) = message.metadata.get(MESSAGE_ID) {
            if id.contains(|c: char| c.is_control()) {
                let text = format!("{MESSAGE_ID:?} holds a control character");
                return Err(BackendError::Refused(text));
            }
            publish = publish.message_id(id);
        }
        let sent = self.nats.context.send_publish(subject.to_owned(), publish);
        sent.await.map_err(|error| publish_error(subject, &error))
    }

    async fn consumer(&self, topic: &str) -> Result<PullConsumer, BackendError> {
        let stream = match &self.settings.stream {
            Some(stream) => stream.clone(),
            None => self.stream_of(topic).await?,
        };
        let config = self.settings.consumer(topic);
        let name = config.durable_name.clone().unwrap_or_default();
        let created = self
            .nats
            .context
            .create_consumer_on_stream(config, stream.clone());
        created.await.map_err(|error| {
            let text = format!("no consumer {name:?} of stream {stream:?}: {error}");
            let is_refused = match error.kind() {
                ConsumerErrorKind::JetStream(error) => is_refusal(Some(&error)),
                ConsumerErrorKind::InvalidConsumerType | ConsumerErrorKind::InvalidName => true,
                _ => false,
            };
            by(is_refused, text)
        })
    }

    async fn stream_of(&self, topic: &str) -> Result<String, BackendError> {
        let found = self.nats.context.stream_by_subject(topic).await;
        found.map_err(|error| {
            use async_nats::jetstream::context::GetStreamByNameErrorKind as Kind;
            match error.kind() {
                Kind::NotFound => BackendError::Refused(no_stream(topic)),
                Kind::InvalidSubject => BackendError::Refused(format!("{topic:?} is no subject")),
                _ => BackendError::Unavailable(format!("no stream for {topic:?}: {error}")),
            }
        })
    }
}

#[async_trait]
impl PubSub for JetStream {
    fn features(&self) -> &[Feature] {
        &[]
    }

    async fn publish(&self, topic: &str, message: Outgoing) -> Result<(), BackendError> {
        let until = Instant::now() + ANSWER_TIMEOUT;
        let answer = within(until, self.send(topic, message)).await?;
        within(until, answered(topic, answer)).await
    }

    async fn publish_all(
        &self,
        topic: &str,
        messages: Vec<Outgoing>,
    ) -> Vec<Result<(), BackendError>> {
        let mut outcomes = Vec::with_capacity(messages.len());
        let mut rest = messages.into_iter();
        loop {
            let until = Instant::now() + ANSWER_TIMEOUT;
            let mut sent = Vec::new();
            for message in rest.by_ref().take(TOGETHER) {
                sent.push(within(until, self.send(topic, message)).await);
            }
            if sent.is_empty() {
                return outcomes;
            }
            let answers = sent.into_iter().map(|sent| outcome(until, topic, sent));
            outcomes.extend(join_all(answers).await);
        }
    }

    async fn subscribe(&self, interest: &Interest) -> Result<Box<dyn Intake>, BackendError> {
        let topic = &interest.topic;
        let consumer = self.consumer(topic).await?;
        let consumption = Consumption {
            topic: topic.clone(),
            concurrency: self.settings.concurrency,
            window: self.settings.window(),
            settles_at_once: self.settings.settles_at_once,
            ack_wait: self.settings.ack_wait,
            back_off: self.settings.back_off.clone(),
        };
        Ok(take(&self.nats, consumer, consumption))
    }
}

async fn answered(subject: &str, answer: PublishAckFuture) -> Result<(), BackendError> {
    let answered = answer.await.map(drop);
    answered.map_err(|error| publish_error(subject, &error))
}

async fn outcome(
    until: Instant,
    subject: &str,
    sent: Result<PublishAckFuture, BackendError>,
) -> Result<(), BackendError> {
    within(until, answered(subject, sent?)).await
}

/// The outcome of work that ends in time. Without a connection the client keeps what it is given.
async fn within<T>(
    until: Instant,
    work: impl Future<Output = Result<T, BackendError>>,
) -> Result<T, BackendError> {
    timeout_at(until, work).await.unwrap_or_else(|_| {
        let seconds = ANSWER_TIMEOUT.as_secs();
        let text = format!("the server did not answer within {seconds} s");
        Err(BackendError::Unavailable(text))
    })
}

fn publish_error(subject: &str, error: &PublishError) -> BackendError {
    match error.kind() {
        PublishErrorKind::StreamNotFound => BackendError::Refused(no_stream(subject)),
        PublishErrorKind::MaxPayloadExceeded => BackendError::Refused(error.to_string()),
        _ => BackendError::Unavailable(error.to_string()),
    }
}

fn no_stream(subject: &str) -> String {
    format!("no stream takes the subject {subject:?}; make one, which keeps its messages")
}

fn by(is_refused: bool, text: String) -> BackendError {
    if is_refused {
        BackendError::Refused(text)
    } else {
        BackendError::Unavailable(text)
    }
}
