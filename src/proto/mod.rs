//! Messages between sidecars and with pluggable components, which the `dapr` crate lacks, and the
//! answer of a gRPC app, which goes through every layer.

pub mod components;
pub mod grpc_answer;
pub mod internals;
pub mod reflection;
pub mod sentry;
