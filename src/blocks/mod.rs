//! What the API means, free of HTTP and gRPC.

pub mod bindings;
pub mod cloud_event;
pub mod configuration;
pub mod error;
pub mod health;
mod in_flight;
mod intake;
pub mod invoke;
pub mod lock;
pub mod metadata;
mod metadata_headers;
pub mod pipeline;
pub mod publish;
mod request_metadata;
pub mod secrets;
pub mod shutdown;
pub mod state;
pub mod subscriptions;
mod verdict;
