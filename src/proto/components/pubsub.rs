//! The messages of `dapr.proto.components.v1.PubSub`.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::common::AckError;

/// A message to publish.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct PublishRequest {
    /// Its data.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
    /// The name of the component.
    #[prost(string, tag = "2")]
    pub pubsub_name: String,
    /// The topic.
    #[prost(string, tag = "3")]
    pub topic: String,
    /// What the publisher says of it.
    #[prost(btree_map = "string, string", tag = "4")]
    pub metadata: BTreeMap<String, String>,
    /// The type of the data.
    #[prost(string, tag = "5")]
    pub content_type: String,
}

/// Several messages to publish.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct BulkPublishRequest {
    /// The messages, in their order.
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<BulkMessageEntry>,
    /// The name of the component.
    #[prost(string, tag = "2")]
    pub pubsub_name: String,
    /// The topic.
    #[prost(string, tag = "3")]
    pub topic: String,
    /// What the publisher says of all of them.
    #[prost(btree_map = "string, string", tag = "4")]
    pub metadata: BTreeMap<String, String>,
}

/// One of several messages.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct BulkMessageEntry {
    /// Tells it from the others of the request.
    #[prost(string, tag = "1")]
    pub entry_id: String,
    /// Its data.
    #[prost(bytes = "bytes", tag = "2")]
    pub event: Bytes,
    /// The type of the data.
    #[prost(string, tag = "3")]
    pub content_type: String,
    /// What the publisher says of it.
    #[prost(btree_map = "string, string", tag = "4")]
    pub metadata: BTreeMap<String, String>,
}

/// What became of several messages.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct BulkPublishResponse {
    /// Those that were not published.
    #[prost(message, repeated, tag = "1")]
    pub failed_entries: Vec<BulkPublishResponseFailedEntry>,
}

/// A message that was not published.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct BulkPublishResponseFailedEntry {
    /// Which one.
    #[prost(string, tag = "1")]
    pub entry_id: String,
    /// Why.
    #[prost(string, tag = "2")]
    pub error: String,
}

/// A topic that the messages of are wanted.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct Topic {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What the subscription says.
    #[prost(btree_map = "string, string", tag = "2")]
    pub metadata: BTreeMap<String, String>,
}

/// First the topic, then what became of each message.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct PullMessagesRequest {
    /// The topic, in the first message only.
    #[prost(message, optional, tag = "1")]
    pub topic: Option<Topic>,
    /// Which message is dealt with.
    #[prost(string, tag = "2")]
    pub ack_message_id: String,
    /// Why it is not.
    #[prost(message, optional, tag = "3")]
    pub ack_error: Option<AckError>,
}

/// A message of the topic.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct PullMessagesResponse {
    /// Its data.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
    /// The topic that it comes from.
    #[prost(string, tag = "2")]
    pub topic_name: String,
    /// What is known of it.
    #[prost(btree_map = "string, string", tag = "3")]
    pub metadata: BTreeMap<String, String>,
    /// The type of the data.
    #[prost(string, tag = "4")]
    pub content_type: String,
    /// Tells it from the others of the stream.
    #[prost(string, tag = "5")]
    pub id: String,
}
