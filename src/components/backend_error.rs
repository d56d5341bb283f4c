//! What goes wrong with a back end that runs.

/// A broker or a store that could not do what it was asked for. The text is for operators and goes
/// to the log, not to clients. It holds no address with a password in it, no message and no value.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum BackendError {
    /// It refused, and would refuse again.
    #[error("{0}")]
    Refused(String),
    /// It cannot be reached, is busy, or answered something that another try may heal.
    #[error("{0}")]
    Unavailable(String),
}
