//! The messages of `dapr.proto.components.v1`, which pluggable components speak. The names and
//! numbers of the fields are those of Dapr 1.18; messages without fields are `()`.

pub mod bindings;
pub mod common;
pub mod details;
pub mod pubsub;
pub mod secret_store;
pub mod state;
