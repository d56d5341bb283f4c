//! What an app that speaks gRPC answers to an invocation.

use bytes::Bytes;
use dapr::dapr::proto::common::v1::InvokeResponse;
use http::HeaderMap;

/// The answer of a gRPC app.
#[derive(Debug)]
pub struct GrpcAnswer {
    /// Its metadata, initial and trailing.
    pub headers: HeaderMap,
    /// Its message, or its status.
    pub outcome: Result<InvokeResponse, GrpcFailure>,
}

/// A status of gRPC other than OK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcFailure {
    /// The code, 1 to 16.
    pub code: i32,
    /// The message.
    pub message: String,
    /// `grpc-status-details-bin`, decoded: an encoded `google.rpc.Status`, or empty.
    pub details: Bytes,
}
