//! The messages of `dapr.proto.internals.v1.ServiceInvocation`, which sidecars speak with each
//! other. The numbers of the fields are those of Dapr 1.18; fields that only actors use are left
//! out, and what a peer sends in them is skipped.

use std::collections::BTreeMap;

use bytes::Bytes;
use dapr::dapr::proto::common::v1::{InvokeRequest, InvokeResponse};
use prost_types::Any;

/// The path of the call whose bodies stream both ways.
pub const CALL_LOCAL_STREAM: &str = "/dapr.proto.internals.v1.ServiceInvocation/CallLocalStream";

/// The path of the call with whole bodies, which older sidecars use.
pub const CALL_LOCAL: &str = "/dapr.proto.internals.v1.ServiceInvocation/CallLocal";

/// What the path of every call of the service begins with.
pub const SERVICE: &str = "/dapr.proto.internals.v1.ServiceInvocation/";

/// The one version of the API.
pub const V1: i32 = 1;

/// The values of one header or key of metadata.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct ListStringValue {
    /// The values, in their order.
    #[prost(string, repeated, tag = "1")]
    pub values: Vec<String>,
}

/// Headers or metadata, by name.
pub type Metadata = BTreeMap<String, ListStringValue>;

/// A call of a method of the app of another sidecar.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct InternalInvokeRequest {
    /// The version of the API, [`V1`].
    #[prost(int32, tag = "1")]
    pub ver: i32,
    /// The caller's headers or metadata.
    #[prost(btree_map = "string, message", tag = "2")]
    pub metadata: Metadata,
    /// The method, and in `CallLocal` the body.
    #[prost(message, optional, tag = "3")]
    pub message: Option<InvokeRequest>,
}

/// The status of an answer.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Status {
    /// A status of HTTP (100 and above) of an HTTP app, or a code of gRPC of a gRPC app.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// The text of a gRPC status.
    #[prost(string, tag = "2")]
    pub message: String,
    /// The details of a gRPC status.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

/// The answer of an app.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct InternalInvokeResponse {
    /// Its status.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    /// Its headers or initial metadata.
    #[prost(btree_map = "string, message", tag = "2")]
    pub headers: Metadata,
    /// Its trailing metadata.
    #[prost(btree_map = "string, message", tag = "3")]
    pub trailers: Metadata,
    /// The type of its body, and in `CallLocal` the body.
    #[prost(message, optional, tag = "4")]
    pub message: Option<InvokeResponse>,
}

/// A piece of a body (`dapr.proto.common.v1.StreamPayload`).
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct StreamPayload {
    /// Some bytes, or none.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
    /// The number of the piece, from 0.
    #[prost(uint64, tag = "2")]
    pub seq: u64,
}

/// A piece of a call: the first one has the request, all may have a piece of its body.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct InternalInvokeRequestStream {
    /// The call, without its body.
    #[prost(message, optional, tag = "1")]
    pub request: Option<InternalInvokeRequest>,
    /// A piece of the body.
    #[prost(message, optional, tag = "2")]
    pub payload: Option<StreamPayload>,
}

/// A piece of an answer: the first one has the response, all may have a piece of its body.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct InternalInvokeResponseStream {
    /// The answer, without its body.
    #[prost(message, optional, tag = "1")]
    pub response: Option<InternalInvokeResponse>,
    /// A piece of the body.
    #[prost(message, optional, tag = "2")]
    pub payload: Option<StreamPayload>,
}
