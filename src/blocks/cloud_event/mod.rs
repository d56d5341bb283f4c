//! The envelope of messages: CloudEvents 1.0 in JSON.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::components::message::Metadata;

/// A message as subscribers get it.
#[derive(Clone, Debug)]
pub struct Event {
    /// The envelope.
    envelope: Bytes,
    /// Its fields.
    fields: Map<String, Value>,
}

/// What came from the broker is no envelope.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the message is no CloudEvent: {0}")]
pub struct Undecodable(String);

/// A message as the broker hands it out, and what is known of where it was published.
pub struct Received<'a> {
    /// Its data.
    pub data: &'a Bytes,
    /// The type of the data, where the broker knows it.
    pub content_type: Option<&'a str>,
    /// What else is said of it.
    pub metadata: &'a Metadata,
    /// The component.
    pub pubsub: &'a str,
    /// The topic, without the prefix of its component.
    pub topic: &'a str,
    /// Whether the data is no envelope, and gets one (`rawPayload` of the subscription).
    pub is_raw: bool,
}

impl Event {
    /// Reads a message.
    pub fn decode(received: &Received<'_>) -> Result<Self, Undecodable> {
        let fields = serde_json::from_slice(received.data);
        let fields = fields.map_err(|error| Undecodable(error.to_string()))?;
        Ok(Self {
            envelope: received.data.clone(),
            fields,
        })
    }

    /// Its id; empty where it has none.
    pub fn id(&self) -> &str {
        self.field("id")
    }

    /// The envelope, in JSON.
    pub fn envelope(&self) -> &Bytes {
        &self.envelope
    }

    /// The fields of the envelope.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    fn field(&self, name: &str) -> &str {
        let field = self.fields.get(name).and_then(Value::as_str);
        field.unwrap_or_default()
    }
}
