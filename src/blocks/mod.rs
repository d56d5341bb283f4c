//! What the API means, free of HTTP and gRPC.

pub mod error;
