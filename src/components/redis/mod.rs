//! Redis, and servers that speak its protocol: which server has a key, and one connection to each
//! that comes back by itself.
//!
//! ```text
//! metadata → Settings → Client → ask, ask_each → Errand → Servers (one, or Cluster) → Line
//!                              → open: a connection of one's own
//! ```

mod client;
mod cluster;
mod connection;
mod errand;
mod failure;
mod hosts;
mod line;
mod replicas;
mod script;
mod sentinel;
mod servers;
mod settings;
mod slots;
mod socket;

pub(super) use client::Client;
pub(super) use connection::Connection;
pub(super) use errand::Repeat;
pub(super) use failure::{code, failure};
pub(super) use line::Confirm;
pub(super) use script::Script;
pub(super) use settings::Settings;
