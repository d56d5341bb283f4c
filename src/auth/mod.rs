//! Who may call the sidecar's API. Knows neither HTTP nor gRPC: it judges bytes.

pub mod refusal;
pub mod tokens;
