//! A topic of a broker as a binding: what comes from it is an event, and `create` publishes to it.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use tracing::warn;

use super::{
    BindingAnswer, BindingFailure, BindingRequest, CREATE, InputBinding, Metadata, OutputBinding,
};
use crate::components::BackendError;
use crate::components::message::Intake;
use crate::components::pubsub::{Interest, Outgoing, PubSub};
use crate::process::log_rate::LogRate;

/// A topic, or a queue, of a broker.
pub struct Queue {
    broker: Arc<dyn PubSub>,
    topic: String,
    metadata: Metadata,
    failures: LogRate,
}

impl Queue {
    /// The topic of a broker. `metadata` is what a subscription to it says to the broker.
    pub fn new(broker: Arc<dyn PubSub>, topic: impl Into<String>, metadata: Metadata) -> Self {
        Self {
            broker,
            topic: topic.into(),
            metadata,
            failures: LogRate::default(),
        }
    }

    /// The client hears that it failed, and the log why.
    fn failure(&self, error: &BackendError) -> BindingFailure {
        if let Some(left_out) = self.failures.pass() {
            let topic = &*self.topic;
            warn!(topic, %error, left_out, "A broker did not take a message");
        }
        let (text, may_heal) = match error {
            BackendError::Refused(_) => ("the broker refused the message", false),
            BackendError::Unavailable(_) => ("the broker cannot take the message now", true),
        };
        BindingFailure {
            text: text.to_owned(),
            metadata: Metadata::new(),
            may_heal,
        }
    }
}

#[async_trait]
impl InputBinding for Queue {
    async fn read(&self) -> Result<Box<dyn Intake>, BackendError> {
        let interest = Interest {
            topic: self.topic.clone(),
            metadata: self.metadata.clone(),
        };
        self.broker.subscribe(&interest).await
    }
}

#[async_trait]
impl OutputBinding for Queue {
    fn operations(&self) -> Cow<'_, [&str]> {
        Cow::Borrowed(&[CREATE])
    }

    async fn invoke(&self, request: BindingRequest) -> Result<BindingAnswer, BindingFailure> {
        let message = Outgoing {
            data: request.data,
            content_type: None,
            metadata: request.metadata,
        };
        let published = self.broker.publish(&self.topic, message).await;
        published.map_err(|error| self.failure(&error))?;
        Ok(BindingAnswer::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::pubsub::Feature;
    use crate::components::pubsub::in_memory::InMemory;
    use bytes::Bytes;

    fn request(data: &'static str) -> BindingRequest {
        BindingRequest {
            operation: CREATE.to_owned(),
            data: Bytes::from_static(data.as_bytes()),
            metadata: Metadata::from([("k".to_owned(), "v".to_owned())]),
        }
    }

    #[tokio::test]
    async fn what_is_created_is_read() {
        let queue = Queue::new(Arc::new(InMemory::default()), "orders", Metadata::new());
        let mut intake = queue.read().await.unwrap();
        assert_eq!(
            queue.invoke(request("1")).await,
            Ok(BindingAnswer::default())
        );
        let delivery = intake.next().await.unwrap();
        assert_eq!(
            (&*delivery.data, &*delivery.metadata["k"]),
            (&b"1"[..], "v")
        );
        assert_eq!(*queue.operations(), ["create"]);
    }

    /// A broker that has only an error.
    struct Broken(BackendError);

    #[async_trait]
    impl PubSub for Broken {
        fn features(&self) -> &[Feature] {
            &[]
        }

        async fn publish(&self, _: &str, _: Outgoing) -> Result<(), BackendError> {
            Err(self.0.clone())
        }

        async fn subscribe(&self, _: &Interest) -> Result<Box<dyn Intake>, BackendError> {
            Err(self.0.clone())
        }
    }

    #[tokio::test]
    async fn clients_hear_nothing_of_the_inside() {
        for (error, text, may_heal) in [
            (
                BackendError::Refused("hunter2".into()),
                "the broker refused the message",
                false,
            ),
            (
                BackendError::Unavailable("hunter2".into()),
                "the broker cannot take the message now",
                true,
            ),
        ] {
            let queue = Queue::new(
                Arc::new(Broken(error.clone())),
                "orders",
                Metadata::default(),
            );
            let failure = queue.invoke(request("1")).await.unwrap_err();
            assert_eq!((&*failure.text, failure.may_heal), (text, may_heal));
            assert_eq!(queue.read().await.err(), Some(error));
        }
    }
}
