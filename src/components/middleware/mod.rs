//! What a pipeline does with the head of a request before anybody answers it.

use std::sync::Arc;

use async_trait::async_trait;
use http::request::Parts;
use http::{HeaderMap, StatusCode};

use crate::process::listener::Remote;

#[cfg(feature = "remote")]
pub mod bearer;
pub mod ratelimit;
pub mod routeralias;

/// A component of a pipeline. It may change the head, and it may end the request; it never sees a
/// body.
#[async_trait]
pub trait Middleware: Send + Sync {
    /// Looks at a request. `caller` is who opened the connection: what a header says of callers is
    /// not to be believed.
    async fn handle(&self, head: &mut Parts, caller: Remote) -> Result<(), Rejection>;
}

/// The answer to a request that ends here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Its status.
    pub status: StatusCode,
    /// Headers beside those that the text has.
    pub headers: HeaderMap,
    /// A text for the client, which tells nothing of the inside.
    pub body: &'static str,
}

impl Rejection {
    /// An answer without headers of its own.
    pub fn new(status: StatusCode, body: &'static str) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body,
        }
    }
}

/// A middleware that others share.
pub type SharedMiddleware = Arc<dyn Middleware>;
