//! Secret stores against real servers, on loopback: `tests/stores.sh` installs and names them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[cfg(feature = "aws")]
mod aws;
mod azure;
#[cfg(feature = "gcp")]
mod gcp;
mod quickstarts;
mod servers;
mod vault;
