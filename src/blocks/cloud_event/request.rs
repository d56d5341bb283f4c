//! Messages in the forms of gRPC.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use dapr::dapr::proto::runtime::v1::topic_event_bulk_request_entry::Event as Content;
use dapr::dapr::proto::runtime::v1::{
    TopicEventBulkRequestEntry, TopicEventCeRequest, TopicEventRequest,
};
use prost_types::value::Kind as Shape;
use prost_types::{ListValue, Struct, Value as Wire};
use serde_json::Value;

use super::content_type::{self, Kind};
use super::{Event, Undecodable};
use crate::components::message::Metadata;

/// The fields that have a place of their own; all others are extensions (Dapr 1.18).
const NAMED: [&str; 7] = [
    "data",
    "data_base64",
    "datacontenttype",
    "id",
    "source",
    "specversion",
    "type",
];

impl Event {
    /// The message for a gRPC app, or for a stream.
    ///
    /// # Errors
    ///
    /// `data_base64` is no base64.
    pub fn to_request(
        &self,
        path: &str,
        pubsub: &str,
        topic: &str,
    ) -> Result<TopicEventRequest, Undecodable> {
        Ok(TopicEventRequest {
            id: self.id().to_owned(),
            source: self.text("source"),
            r#type: self.text("type"),
            spec_version: self.text("specversion"),
            data_content_type: self.text("datacontenttype"),
            data: self.data()?,
            topic: topic.to_owned(),
            pubsub_name: pubsub.to_owned(),
            path: path.to_owned(),
            extensions: Some(self.extensions()),
        })
    }

    /// The message as one of several for a gRPC app.
    ///
    /// # Errors
    ///
    /// `data_base64` is no base64.
    pub fn to_bulk_entry(
        &self,
        entry_id: &str,
        metadata: &Metadata,
    ) -> Result<TopicEventBulkRequestEntry, Undecodable> {
        let event = TopicEventCeRequest {
            id: self.id().to_owned(),
            source: self.text("source"),
            r#type: self.text("type"),
            spec_version: self.text("specversion"),
            data_content_type: self.text("datacontenttype"),
            data: self.data()?,
            extensions: Some(self.extensions()),
        };
        let metadata: HashMap<_, _> = metadata.clone().into_iter().collect();
        Ok(TopicEventBulkRequestEntry {
            entry_id: entry_id.to_owned(),
            content_type: content_type::CLOUD_EVENT.to_owned(),
            metadata,
            event: Some(Content::CloudEvent(event)),
        })
    }

    /// The data as published: JSON as it is written, texts and bytes as they are.
    fn data(&self) -> Result<Vec<u8>, Undecodable> {
        let undecodable = |error: &dyn std::fmt::Display| Undecodable(error.to_string());
        let fields = super::read(self.envelope()).map_err(|error| undecodable(&error))?;
        let field = |name| fields.get(name).filter(|json| json.get() != "null");
        if let Some(json) = field("data_base64") {
            let text: String =
                serde_json::from_str(json.get()).map_err(|error| undecodable(&error))?;
            return BASE64.decode(text).map_err(|error| undecodable(&error));
        }
        let Some(json) = field("data") else {
            return Ok(Vec::new());
        };
        let content_type = self.text("datacontenttype");
        // Without a type it is JSON (CloudEvents 1.0, JSON format, 2.4).
        let is_json = content_type.is_empty()
            || matches!(Kind::of(&content_type), Kind::Json | Kind::CloudEvent);
        if !is_json && let Ok(text) = serde_json::from_str::<String>(json.get()) {
            return Ok(text.into_bytes());
        }
        Ok(json.get().as_bytes().to_vec())
    }

    fn extensions(&self) -> Struct {
        let fields = self.fields().iter();
        let others = fields.filter(|(name, _)| !NAMED.contains(&name.as_str()));
        Struct {
            fields: others
                .map(|(name, value)| (name.clone(), wire(value)))
                .collect(),
        }
    }

    fn text(&self, name: &str) -> String {
        let field = self.fields().get(name).and_then(Value::as_str);
        field.unwrap_or_default().to_owned()
    }
}

/// A JSON value in the form of `google.protobuf.Value`, which has no numbers but `double`.
fn wire(value: &Value) -> Wire {
    let shape = match value {
        Value::Null => Shape::NullValue(0),
        Value::Bool(truth) => Shape::BoolValue(*truth),
        Value::Number(number) => Shape::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Shape::StringValue(text.clone()),
        Value::Array(values) => Shape::ListValue(ListValue {
            values: values.iter().map(wire).collect(),
        }),
        Value::Object(fields) => Shape::StructValue(Struct {
            fields: fields
                .iter()
                .map(|(name, value)| (name.clone(), wire(value)))
                .collect(),
        }),
    };
    Wire { kind: Some(shape) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::cloud_event::tests::{metadata, plain};

    #[test]
    fn a_grpc_app_gets_data_as_published_and_extensions() {
        let text = r#"{"id":"1","source":"s","type":"y","specversion":"1.0","data":{"n": 1.0},
            "datacontenttype":"application/json","topic":"t","ok":true,"list":[1,"a",null]}"#;
        let request = plain(text.as_bytes())
            .to_request("/path", "p", "t")
            .unwrap();
        assert_eq!(
            (
                request.id.as_str(),
                request.source.as_str(),
                request.r#type.as_str()
            ),
            ("1", "s", "y")
        );
        assert_eq!(request.data, br#"{"n": 1.0}"#);
        assert_eq!(request.path, "/path");
        let extensions = request.extensions.unwrap().fields;
        let names: Vec<_> = extensions.keys().map(String::as_str).collect();
        assert_eq!(names, ["list", "ok", "topic"]);
        assert_eq!(extensions["ok"].kind, Some(Shape::BoolValue(true)));
        let Some(Shape::ListValue(list)) = &extensions["list"].kind else {
            panic!("no list")
        };
        assert_eq!(list.values[0].kind, Some(Shape::NumberValue(1.0)));

        let data = |envelope: &str| {
            let request = plain(envelope.as_bytes()).to_request("", "p", "t");
            request.map(|request| String::from_utf8(request.data).unwrap())
        };
        for (envelope, expected) in [
            (r#"{"data":"a","datacontenttype":"text/plain"}"#, "a"),
            (
                r#"{"data":"a","datacontenttype":"application/json"}"#,
                "\"a\"",
            ),
            (r#"{"data":"a"}"#, "\"a\""),
            (
                r#"{"data":{"a":1},"datacontenttype":"text/plain"}"#,
                r#"{"a":1}"#,
            ),
            (r#"{"data_base64":"aGk="}"#, "hi"),
            (r#"{"data":null}"#, ""),
            ("{}", ""),
        ] {
            assert_eq!(data(envelope).unwrap(), expected, "{envelope}");
        }
        assert!(data(r#"{"data_base64":"!"}"#).is_err());

        let entry = plain(text.as_bytes());
        let entry = entry.to_bulk_entry("e1", &metadata(&[("k", "v")])).unwrap();
        assert_eq!(
            (entry.entry_id.as_str(), entry.metadata["k"].as_str()),
            ("e1", "v")
        );
        assert_eq!(entry.content_type, "application/cloudevents+json");
    }
}
