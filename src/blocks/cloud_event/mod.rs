//! The envelope of messages: CloudEvents 1.0 in JSON.
//!
//! ```text
//! what an app publishes → Publication::to_envelope → broker → Event::decode → what an app gets
//! ```

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::SystemTime;

use bytes::Bytes;
use k8s_openapi::jiff::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::base::uuid;
use crate::components::message::Metadata;
use fields::Fields;

mod binary;
pub mod content_type;
mod fields;
mod publication;
mod request;

pub use publication::{NoEvent, Publication, Trace};

/// `type` where nobody says another.
const EVENT_TYPE: &str = "com.dapr.event.sent";
/// The version of CloudEvents.
const SPEC_VERSION: &str = "1.0";
/// `source` of what the sidecar completes or wraps without knowing who published it.
const UNNAMED_SOURCE: &str = "Dapr";

/// A message as subscribers get it.
#[derive(Clone, Debug)]
pub struct Event {
    /// The envelope, a JSON object.
    envelope: Bytes,
    id: String,
    expiration: Option<SystemTime>,
    /// Its fields, once somebody asks for them.
    fields: OnceLock<Map<String, Value>>,
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
    /// Reads a message. An envelope stays as it is written; data without one, of a raw
    /// subscription or in binary mode, gets one.
    ///
    /// # Errors
    ///
    /// The data should be an envelope, and is no JSON object.
    pub fn decode(received: &Received<'_>) -> Result<Self, Undecodable> {
        let made = if received.is_raw {
            Some(wrap(received))
        } else {
            binary::read(received)
        };
        let envelope = match made {
            None => received.data.clone(),
            Some(mut fields) => {
                fields.set("pubsubname", received.pubsub);
                fields.set("topic", received.topic);
                fields.to_json()
            }
        };
        Self::of(envelope)
    }

    fn of(envelope: Bytes) -> Result<Self, Undecodable> {
        let fields = read(&envelope).map_err(|error| Undecodable(error.to_string()))?;
        let text = |name| {
            let json: &RawValue = fields.get(name)?;
            serde_json::from_str::<String>(json.get()).ok()
        };
        let id = text("id").unwrap_or_default();
        let expiration = text("expiration").and_then(|time| time.parse::<Timestamp>().ok());
        Ok(Self {
            id,
            expiration: expiration.map(Into::into),
            fields: OnceLock::new(),
            envelope,
        })
    }

    /// Its id; empty where it has none.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The envelope, in JSON.
    pub fn envelope(&self) -> &Bytes {
        &self.envelope
    }

    /// The fields of the envelope, for rules that look into it. One that this program cannot hold
    /// as a value, such as a number beyond all bounds, is left out; the envelope has it.
    pub fn fields(&self) -> &Map<String, Value> {
        self.fields.get_or_init(|| {
            // It was read before, so that it can be read.
            let fields = read(&self.envelope).unwrap_or_default();
            let values = fields.into_iter().filter_map(|(name, json)| {
                let value = serde_json::from_str(json.get()).ok()?;
                Some((name, value))
            });
            values.collect()
        })
    }

    /// Whether its `expiration` has passed, so that nobody wants it any more.
    pub fn has_expired(&self, now: SystemTime) -> bool {
        self.expiration.is_some_and(|expiration| expiration <= now)
    }
}

/// The fields of a JSON object, as they are written. Of two with one name the last one counts.
fn read(json: &[u8]) -> Result<BTreeMap<String, &RawValue>, serde_json::Error> {
    serde_json::from_slice(json)
}

/// The envelope of data that has none. Its id is made anew at each delivery (as in Dapr 1.18).
fn wrap<'a>(received: &Received<'a>) -> Fields<'a> {
    let mut fields = Fields::default();
    fields.set_binary_data(received.data);
    fields.set("datacontenttype", content_type::BINARY);
    fields.set("id", uuid::random());
    fields.set("source", UNNAMED_SOURCE);
    fields.set("specversion", SPEC_VERSION);
    fields.set("type", EVENT_TYPE);
    fields
}

#[cfg(test)]
mod tests;
