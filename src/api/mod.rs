//! What the API looks like on the wire: one table of routes, one table of statuses, and the two
//! protocols.
//!
//! Invariant: no call reaches a building block before its token was judged, whatever the listener,
//! protocol and path. The judgement is made once, at the door of each protocol: [`http`] and
//! [`grpc`].

use std::sync::Arc;

use crate::auth::tokens::ApiTokens;
use crate::blocks::bindings::output::OutputBindings;
use crate::blocks::configuration::Configurations;
use crate::blocks::health::Health;
use crate::blocks::invoke::Invoke;
use crate::blocks::lock::Locks;
use crate::blocks::metadata::Metadata;
use crate::blocks::pipeline::Pipeline;
use crate::blocks::publish::Publish;
use crate::blocks::secrets::Secrets;
use crate::blocks::shutdown::Shutdown;
use crate::blocks::state::State;
use crate::blocks::subscriptions::streaming::Streaming;
use crate::process::trace::Tracer;

pub mod access;
pub mod call_log;
#[cfg(test)]
mod errors_page;
pub mod grpc;
pub mod http;
pub mod internal;
pub mod routes;
pub mod status;

/// The building blocks behind the API. Cheap to clone.
#[derive(Clone)]
pub struct Blocks {
    /// Operations of output bindings.
    pub bindings: Arc<OutputBindings>,
    /// The items of configuration stores.
    pub configurations: Arc<Configurations>,
    /// The health checks.
    pub health: Health,
    /// Calls methods of apps.
    pub invoke: Arc<Invoke>,
    /// Locks that processes share.
    pub locks: Arc<Locks>,
    /// What the sidecar says of itself.
    pub metadata: Arc<Metadata>,
    /// The middlewares that calls of the HTTP API go through.
    pub pipeline: Pipeline,
    /// Publishes messages.
    pub publish: Arc<Publish>,
    /// The secrets of the stores that run.
    pub secrets: Secrets,
    /// Ends the process.
    pub shutdown: Shutdown,
    /// Values of state stores.
    pub state: Arc<State>,
    /// Subscriptions that are streams.
    pub streaming: Arc<Streaming>,
}

/// The rules at the door of every listener of the API.
#[derive(Clone, Debug, Default)]
pub struct Door {
    /// The accepted tokens.
    pub tokens: ApiTokens,
    /// The APIs that the Configuration allows.
    pub access: access::Access,
    /// The most bytes of the body of a request, and of a gRPC message.
    pub max_body: usize,
    /// Whether calls are logged, and how.
    pub call_log: Option<call_log::CallLog>,
    /// Whether failures are counted by their code (`spec.metrics.recordErrorCodes`).
    pub counts_error_codes: bool,
    /// Makes the spans of calls.
    pub tracer: Tracer,
}
