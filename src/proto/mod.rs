//! Messages between sidecars, which the `dapr` crate lacks, and the answer of a gRPC app, which
//! goes through every layer.

pub mod grpc_answer;
pub mod internals;
pub mod sentry;
