//! What the API means, free of HTTP and gRPC.

pub mod error;
pub mod health;
pub mod invoke;
pub mod metadata;
pub mod pipeline;
pub mod secrets;
pub mod shutdown;
