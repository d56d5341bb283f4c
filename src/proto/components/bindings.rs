//! The messages of `dapr.proto.components.v1.InputBinding` and `OutputBinding`.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::common::AckError;

/// What became of an event.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct ReadRequest {
    /// What the app answered.
    #[prost(bytes = "bytes", tag = "1")]
    pub response_data: Bytes,
    /// Which event.
    #[prost(string, tag = "2")]
    pub message_id: String,
    /// Why it is not dealt with.
    #[prost(message, optional, tag = "3")]
    pub response_error: Option<AckError>,
}

/// An event.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct ReadResponse {
    /// Its data.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
    /// What is known of it.
    #[prost(btree_map = "string, string", tag = "2")]
    pub metadata: BTreeMap<String, String>,
    /// The type of the data.
    #[prost(string, tag = "3")]
    pub content_type: String,
    /// Tells it from the others of the stream.
    #[prost(string, tag = "4")]
    pub message_id: String,
}

/// The operations that a binding has.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct ListOperationsResponse {
    /// Their names.
    #[prost(string, repeated, tag = "1")]
    pub operations: Vec<String>,
}

/// An operation to do.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct InvokeRequest {
    /// With what.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
    /// How.
    #[prost(btree_map = "string, string", tag = "2")]
    pub metadata: BTreeMap<String, String>,
    /// What to do.
    #[prost(string, tag = "3")]
    pub operation: String,
}

/// What an operation gave.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct InvokeResponse {
    /// Its data.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
    /// What else there is to tell.
    #[prost(btree_map = "string, string", tag = "2")]
    pub metadata: BTreeMap<String, String>,
    /// The type of the data.
    #[prost(string, tag = "3")]
    pub content_type: String,
}
