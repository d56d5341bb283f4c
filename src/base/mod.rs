//! Values without I/O and without async: names, secrets, tokens, durations, quantities.
//!
//! Everything here is pure, so every other layer may use it.

pub mod app_id;
pub mod back_off;
pub mod duration;
pub mod environment;
pub mod expression;
pub mod grpc_method;
pub mod grpc_timeout;
pub mod hop_by_hop;
pub mod http_url;
pub mod method_path;
pub mod names;
pub mod operation_pattern;
pub mod quantity;
pub mod secret;
pub mod spiffe_id;
pub mod timestamp;
pub mod token;
pub mod truthy;
pub mod uuid;
