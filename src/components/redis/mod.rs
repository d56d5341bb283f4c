//! Redis, and servers that speak its protocol: which server, and one connection to it that comes
//! back by itself.
//!
//! ```text
//! metadata → Settings → Client → ask (shared connection) | open (one of one's own)
//! ```

mod client;
mod failure;
mod hosts;
mod sentinel;
mod settings;
mod socket;

pub(super) use client::{Client, Connection, Repeat};
pub(super) use failure::{code, failure};
pub(super) use settings::Settings;
