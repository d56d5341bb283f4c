//! Messages that brokers hand out, for pub/sub and for input bindings.
//!
//! ```text
//! PubSub::subscribe | InputBinding::read → Intake → next → Delivery → settle
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::BackendError;

/// What a message carries beside its data.
pub type Metadata = BTreeMap<String, String>;

/// One message that a broker handed out. Dropped without a word, it is handed out again: to
/// nobody is it lost that a sidecar ended.
pub struct Delivery {
    /// The topic, or for a binding its name.
    pub topic: String,
    /// The data as published.
    pub data: Bytes,
    /// The type of the data, where the broker knows it.
    pub content_type: Option<String>,
    /// What else the broker and the publisher say of it.
    pub metadata: Metadata,
    /// Tells the broker what became of it.
    pub acknowledge: Box<dyn Acknowledge>,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It is dealt with. A binding may have an answer.
    Done(Option<Bytes>),
    /// It is not, and why: the broker hands it out again.
    Failed(String),
}

/// Tells a broker what became of one message.
#[async_trait]
pub trait Acknowledge: Send + Sync {
    /// Where this fails, the broker hands the message out again.
    async fn settle(self: Box<Self>, settlement: Settlement) -> Result<(), BackendError>;
}

/// Messages as they come.
#[async_trait]
pub trait Intake: Send {
    /// The next message, however long it takes. After an error the intake is of no use any more:
    /// drop it and open another. Dropping the future loses no message.
    async fn next(&mut self) -> Result<Delivery, BackendError>;

    /// The most messages that are dealt with at once; with 1 they keep their order.
    fn concurrency(&self) -> usize;

    /// How long one message may be dealt with. After it the broker may hand it to somebody else.
    fn processing_timeout(&self) -> Option<Duration> {
        None
    }

    /// Takes no more messages; those that were handed out can still be settled.
    async fn close(self: Box<Self>) {}
}
