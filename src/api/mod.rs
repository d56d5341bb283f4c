//! What the API looks like on the wire: one table of routes, one table of statuses, and the two
//! protocols.
//!
//! Invariant: no call reaches a building block before its token was judged, whatever the listener,
//! protocol and path. The judgement is made once, at the door of each protocol: [`http`] and
//! [`grpc`].

use std::sync::Arc;

use crate::blocks::health::Health;
use crate::blocks::invoke::Invoke;
use crate::blocks::metadata::Metadata;
use crate::blocks::secrets::Secrets;
use crate::blocks::shutdown::Shutdown;

pub mod access;
pub mod grpc;
pub mod http;
pub mod routes;
pub mod status;

/// The building blocks behind the API. Cheap to clone.
#[derive(Clone)]
pub struct Blocks {
    /// The health checks.
    pub health: Health,
    /// Calls methods of apps.
    pub invoke: Arc<Invoke>,
    /// What the sidecar says of itself.
    pub metadata: Arc<Metadata>,
    /// The secrets of the stores that run.
    pub secrets: Secrets,
    /// Ends the process.
    pub shutdown: Shutdown,
}
