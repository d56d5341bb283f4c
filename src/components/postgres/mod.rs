//! PostgreSQL: which server, connections to it with limits, and what went wrong.
//!
//! ```text
//! metadata → Settings → Database → connection (of the pool) → rows, count
//!                     → Listener (a connection of its own)
//! ```

mod connection_string;
mod database;
mod failure;
mod listener;
mod parameters;
mod settings;
mod table;
mod target;
mod tls;

pub(super) use database::{Connection, Database, Parameter, Repeat, exists};
pub(super) use failure::Failure;
pub(super) use listener::Listener;
pub(super) use settings::Settings;
pub(super) use table::{ACCEPTED as TABLE_ACCEPTED, Table};
