//! The envelope of what an app publishes.

use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::value::RawValue;

use super::content_type::{self, Kind};
use super::fields::Fields;
use super::{EVENT_TYPE, SPEC_VERSION, UNNAMED_SOURCE};
use crate::base::timestamp::rfc3339;
use crate::base::uuid;
use crate::components::message::Metadata;
use crate::process::trace::context::{TRACESTATE, TraceContext};

/// What stands before the name of a field in the metadata that sets it.
const OVERRIDE_PREFIX: &str = "cloudevent.";
/// The fields that metadata may set (Dapr 1.18).
const OVERRIDES: [&str; 7] = [
    "id",
    "source",
    "type",
    "subject",
    "traceid",
    "traceparent",
    "tracestate",
];

/// The position of a call in a trace, in the forms of its headers; empty where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// `traceparent`.
    pub parent: String,
    /// `tracestate`.
    pub state: String,
}

impl Trace {
    /// The position that the headers of a call say, where it is valid.
    pub fn of(headers: &HeaderMap) -> Self {
        let Some(context) = TraceContext::of(headers) else {
            return Self::default();
        };
        let states = headers.get_all(TRACESTATE).iter();
        let states: Vec<_> = states.filter_map(|state| state.to_str().ok()).collect();
        Self {
            parent: context.to_string(),
            state: states.join(","),
        }
    }
}

/// What an app publishes.
#[derive(Debug)]
pub struct Publication<'a> {
    /// The data.
    pub data: &'a [u8],
    /// Its type; may be empty.
    pub content_type: &'a str,
    /// The component.
    pub pubsub: &'a str,
    /// The topic, without the prefix of its component.
    pub topic: &'a str,
    /// The app.
    pub app_id: &'a str,
    /// What it says of the message.
    pub metadata: &'a Metadata,
    /// Where in a trace its call stands.
    pub trace: &'a Trace,
    /// When nobody wants the message any more, where the broker does not look after that.
    pub expiration: Option<SystemTime>,
}

/// Data whose type says that it is an envelope, and is none.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the data is no CloudEvent in JSON: {0}")]
pub struct NoEvent(String);

impl Publication<'_> {
    /// The envelope, in JSON, with its fields in the order of their names.
    ///
    /// # Errors
    ///
    /// The type of the data says that it is an envelope, and it is no JSON object.
    pub fn to_envelope(&self, now: SystemTime) -> Result<Bytes, NoEvent> {
        let mut fields = match Kind::of(self.content_type) {
            Kind::CloudEvent => self.complete(now)?,
            kind => self.wrap(kind, now),
        };
        fields.set("topic", self.topic);
        fields.set("pubsubname", self.pubsub);
        if let Some(expiration) = self.expiration {
            fields.set("expiration", rfc3339(expiration));
        }
        Ok(fields.to_json())
    }

    /// An envelope of the app's own with what it leaves out.
    fn complete(&self, now: SystemTime) -> Result<Fields<'_>, NoEvent> {
        let fields = Fields::read(self.data);
        let mut fields = fields.map_err(|error| NoEvent(error.to_string()))?;
        fields.fill("id", uuid::random);
        fields.fill("source", || UNNAMED_SOURCE);
        fields.fill("type", || EVENT_TYPE);
        fields.fill("specversion", || SPEC_VERSION);
        fields.fill("time", || rfc3339(now));
        if self.trace.parent.is_empty() {
            for name in ["traceid", "traceparent", "tracestate"] {
                fields.fill(name, || "");
            }
        } else {
            self.set_trace(&mut fields);
        }
        Ok(fields)
    }

    /// A new envelope.
    fn wrap(&self, kind: Kind, now: SystemTime) -> Fields<'_> {
        let mut fields = Fields::default();
        match kind {
            Kind::Binary => fields.set_binary_data(self.data),
            Kind::Json => match serde_json::from_slice::<&RawValue>(self.data) {
                Ok(json) => fields.set_data(json),
                Err(_) => fields.set_text_data(self.data),
            },
            Kind::CloudEvent | Kind::Text => fields.set_text_data(self.data),
        }
        let content_type = match self.content_type.trim() {
            "" => content_type::DEFAULT,
            named => named,
        };
        fields.set("datacontenttype", content_type);
        fields.set("id", uuid::random());
        fields.set("source", self.app_id);
        fields.set("specversion", SPEC_VERSION);
        fields.set("time", rfc3339(now));
        fields.set("type", EVENT_TYPE);
        self.set_trace(&mut fields);
        for name in OVERRIDES {
            if let Some(text) = self.overridden(name) {
                fields.set(name, text);
            }
        }
        fields
    }

    fn set_trace<'a>(&'a self, fields: &mut Fields<'a>) {
        fields.set("traceid", self.trace.parent.as_str());
        fields.set("traceparent", self.trace.parent.as_str());
        fields.set("tracestate", self.trace.state.as_str());
    }

    fn overridden(&self, field: &str) -> Option<&str> {
        let mut entries = self.metadata.iter();
        let found = entries.find(|(name, _)| name.strip_prefix(OVERRIDE_PREFIX) == Some(field));
        let text = found.map(|(_, text)| text.as_str());
        text.filter(|text| !text.is_empty())
    }
}
