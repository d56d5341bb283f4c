//! NATS JetStream, for pub/sub and for bindings.
//!
//! ```text
//! connection → Nats → publish | consumer → Pump → Intake
//! ```

pub(super) mod connection;
pub(super) mod held;
pub(super) mod intake;
