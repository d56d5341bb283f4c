//! Components in processes of their own, which speak Dapr's protocol over Unix sockets.
//!
//! ```text
//! type → socket of that name in the folder → reflection: which services → connection, Init
//!      → PubSub | InputBinding | OutputBinding | SecretStore | StateStore
//! ```
//! A type is looked for when a component of it is loaded, and only where this build has none of
//! that name. Everybody who may write to the folder is a component, and gets the settings of the
//! resources that name its type.

mod binding;
mod build;
mod connection;
mod discovery;
mod line;
mod pubsub;
mod pull;
mod reflection;
mod scrub;
mod secret_store;
mod service;
mod socket;
mod state;
mod state_messages;

pub(super) use build::{binding, pubsub, secret_store, state};
pub use discovery::{folder, report};
