//! RabbitMQ, for pub/sub and for bindings.
//!
//! ```text
//! settings → Server → Link (one connection) → Publisher | Declarations → Consumption → Intake
//! ```

use crate::components::BackendError;
use lapin::types::ShortString;

pub(super) mod declarations;
pub(super) mod intake;
pub(super) mod link;
pub(super) mod properties;
pub(super) mod publisher;
pub(super) mod server;
mod socket;

/// The codes that another try does not heal: no access, and a declaration that does not fit what is
/// there (AMQP 0-9-1, 1.2).
const REFUSALS: [u16; 2] = [403, declarations::PRECONDITION_FAILED];

/// What an error of the client means. The texts of the client hold no address.
fn broker_error(what: &str, error: &lapin::Error) -> BackendError {
    let text = format!("{what}: {error}");
    match error.kind() {
        lapin::ErrorKind::AuthProviderError(_) | lapin::ErrorKind::InvalidProtocolVersion(_) => {
            BackendError::Refused(text)
        }
        lapin::ErrorKind::ProtocolError(error) if REFUSALS.contains(&error.get_id()) => {
            BackendError::Refused(text)
        }
        _ => BackendError::Unavailable(text),
    }
}

/// A name for the protocol.
///
/// # Errors
///
/// More than 255 bytes.
pub(super) fn short(what: &str, text: &str) -> Result<ShortString, BackendError> {
    ShortString::try_new(text)
        .map_err(|_| BackendError::Refused(format!("the {what} has more than 255 bytes")))
}
