//! Secret stores against real servers, on loopback: `tests/stores.sh` installs and names them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod aws;
mod azure;
mod gcp;
mod quickstarts;
mod references;
mod servers;
mod vault;
