//! Secret stores against real servers, on loopback: `tests/stores.sh` installs and names them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod quickstarts;
mod servers;
