//! The messages of `dapr.proto.components.v1.StateStore`, `TransactionalStateStore` and
//! `TransactionalStoreMultiMaxSize`.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Which write a value is of.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct Etag {
    /// In the store's own form.
    #[prost(string, tag = "1")]
    pub value: String,
}

/// When a write counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum StateConcurrency {
    /// As the store says.
    Unspecified = 0,
    /// Where nothing was written since.
    FirstWrite = 1,
    /// Whatever is there.
    LastWrite = 2,
}

/// How old an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum StateConsistency {
    /// As the store says.
    Unspecified = 0,
    /// Writes before it may be missing.
    Eventual = 1,
    /// It holds every write before it.
    Strong = 2,
}

/// How a write is done.
#[derive(Clone, Copy, PartialEq, Eq, ::prost::Message)]
pub struct StateOptions {
    /// When it counts.
    #[prost(enumeration = "StateConcurrency", tag = "1")]
    pub concurrency: i32,
    /// How many replicas have it at its end.
    #[prost(enumeration = "StateConsistency", tag = "2")]
    pub consistency: i32,
}

/// A key to read.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct GetRequest {
    /// The key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// What the request says beside.
    #[prost(btree_map = "string, string", tag = "2")]
    pub metadata: BTreeMap<String, String>,
    /// How old the answer may be.
    #[prost(enumeration = "StateConsistency", tag = "3")]
    pub consistency: i32,
}

/// A value; without data and ETag, there is none.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct GetResponse {
    /// The bytes that were written.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
    /// Which write they are of.
    #[prost(message, optional, tag = "2")]
    pub etag: Option<Etag>,
    /// What the store says beside.
    #[prost(btree_map = "string, string", tag = "3")]
    pub metadata: BTreeMap<String, String>,
    /// The type of the value.
    #[prost(string, tag = "4")]
    pub content_type: String,
}

/// A key to delete.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct DeleteRequest {
    /// The key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Which write has to be the last.
    #[prost(message, optional, tag = "2")]
    pub etag: Option<Etag>,
    /// What the request says beside.
    #[prost(btree_map = "string, string", tag = "3")]
    pub metadata: BTreeMap<String, String>,
    /// How it is done.
    #[prost(message, optional, tag = "4")]
    pub options: Option<StateOptions>,
}

/// A value to write.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct SetRequest {
    /// The key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The value.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    /// Which write has to be the last.
    #[prost(message, optional, tag = "3")]
    pub etag: Option<Etag>,
    /// What the request says beside, such as `ttlInSeconds`.
    #[prost(btree_map = "string, string", tag = "4")]
    pub metadata: BTreeMap<String, String>,
    /// How it is done.
    #[prost(message, optional, tag = "5")]
    pub options: Option<StateOptions>,
    /// The type of the value.
    #[prost(string, tag = "6")]
    pub content_type: String,
}

/// How several keys are read or written.
#[derive(Clone, Copy, PartialEq, Eq, ::prost::Message)]
pub struct BulkOptions {
    /// How many at once. Each request has the same message under a name of its own.
    #[prost(int64, tag = "1")]
    pub parallelism: i64,
}

/// Keys to read.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct BulkGetRequest {
    /// Each of them.
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<GetRequest>,
    /// How.
    #[prost(message, optional, tag = "2")]
    pub options: Option<BulkOptions>,
}

/// One value of several.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct BulkStateItem {
    /// The key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The bytes that were written.
    #[prost(bytes = "bytes", tag = "2")]
    pub data: Bytes,
    /// Which write they are of.
    #[prost(message, optional, tag = "3")]
    pub etag: Option<Etag>,
    /// Why it was not read, or empty.
    #[prost(string, tag = "4")]
    pub error: String,
    /// What the store says beside.
    #[prost(btree_map = "string, string", tag = "5")]
    pub metadata: BTreeMap<String, String>,
    /// The type of the value.
    #[prost(string, tag = "6")]
    pub content_type: String,
}

/// Values of several keys, in any order.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct BulkGetResponse {
    /// Each of them.
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<BulkStateItem>,
}

/// Keys to delete.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct BulkDeleteRequest {
    /// Each of them.
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<DeleteRequest>,
    /// How.
    #[prost(message, optional, tag = "2")]
    pub options: Option<BulkOptions>,
}

/// Values to write.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct BulkSetRequest {
    /// Each of them.
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<SetRequest>,
    /// How.
    #[prost(message, optional, tag = "2")]
    pub options: Option<BulkOptions>,
}

/// One write of a transaction.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct TransactionalStateOperation {
    /// Which one.
    #[prost(oneof = "TransactionalRequest", tags = "1, 2")]
    pub request: Option<TransactionalRequest>,
}

/// What a write of a transaction does.
#[derive(Clone, PartialEq, Eq, ::prost::Oneof)]
pub enum TransactionalRequest {
    /// Deletes a key.
    #[prost(message, tag = "1")]
    Delete(DeleteRequest),
    /// Writes a value.
    #[prost(message, tag = "2")]
    Set(SetRequest),
}

/// Writes, all or none.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct TransactionalStateRequest {
    /// Each of them, in their order.
    #[prost(message, repeated, tag = "1")]
    pub operations: Vec<TransactionalStateOperation>,
    /// What the request says beside.
    #[prost(btree_map = "string, string", tag = "2")]
    pub metadata: BTreeMap<String, String>,
}

/// How many writes a transaction may have.
#[derive(Clone, Copy, PartialEq, Eq, ::prost::Message)]
pub struct MultiMaxSizeResponse {
    /// At most so many; without a limit where it is not above zero.
    #[prost(int64, tag = "1")]
    pub max_size: i64,
}
