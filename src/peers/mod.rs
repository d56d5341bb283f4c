//! The road to other sidecars: where they are, and the gRPC calls that sidecars make to each
//! other. Every call here leads to a sidecar and none to an app, so no token has a place on it.

pub mod access_control;
mod client;
pub mod identity;
pub mod message;
pub mod name_resolution;
mod pools;
mod replay;
mod stream;
pub mod wire;

pub use replay::Replay;
pub use stream::{joined, pieces};

use std::sync::Arc;
use std::time::Instant;

use http::{Request, Response};

use crate::process::body::{Body, boxed};
use crate::proto::grpc_answer::GrpcFailure;
use crate::proto::internals::InternalInvokeRequest;
use client::Client;
use identity::Mtls;
use message::Answer;
use name_resolution::address::PeerAddress;
use name_resolution::{Lookup, ResolveError, Resolver};
use wire::WireError;

/// Why another sidecar gave no answer of its app. The texts are for clients; inner errors go to
/// the log.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Nobody knows where the app is.
    #[error(transparent)]
    Resolve(#[from] Arc<ResolveError>),
    /// No connection to the sidecar.
    #[error("cannot connect to the other sidecar")]
    Connect,
    /// One side of the connection did not prove to be whom the other one expects.
    #[error("mutual TLS with the sidecar of the app failed")]
    Identity,
    /// The connection broke before there was an answer.
    #[error("the other sidecar did not answer")]
    Broken,
    /// The call cannot be sent.
    #[error("the call cannot be sent to the other sidecar")]
    Request,
    /// The answer is larger than a caller takes who needs it whole.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The sidecar refused the call, or could not call its app.
    #[error("the other sidecar refused the call")]
    Refused(GrpcFailure),
    /// A message that does not follow the protocol.
    #[error(transparent)]
    Wire(#[from] Arc<WireError>),
}

impl From<ResolveError> for Error {
    fn from(error: ResolveError) -> Self {
        Self::Resolve(Arc::new(error))
    }
}

impl From<WireError> for Error {
    fn from(error: WireError) -> Self {
        Self::Wire(Arc::new(error))
    }
}

/// A sidecar that may be that of an app.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// The app.
    pub app: &'a Lookup<'a>,
    /// The address of the sidecar.
    pub address: &'a PeerAddress,
}

/// Reaches other sidecars. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Peers {
    resolver: Arc<dyn Resolver>,
    client: Client,
}

impl Peers {
    /// Reaches the sidecars that `resolver` finds, over mutual TLS where that is given. An answer
    /// that has to be held in memory may have so many bytes.
    pub fn new(resolver: Arc<dyn Resolver>, max_body_bytes: usize, mtls: Option<Mtls>) -> Self {
        Self {
            resolver,
            client: Client::new(max_body_bytes, mtls),
        }
    }

    /// The addresses of the sidecars of an app, in the order in which to try them.
    pub async fn find(&self, app: &Lookup<'_>) -> Result<Vec<PeerAddress>, Error> {
        Ok(self.resolver.resolve(app).await?)
    }

    /// Calls a method of the app of a sidecar, once.
    ///
    /// Dropping the future, or the body of the answer, breaks the call off, in the other sidecar
    /// and in its app too.
    pub async fn invoke(
        &self,
        peer: Peer<'_>,
        head: InternalInvokeRequest,
        body: Body,
        deadline: Option<Instant>,
    ) -> Result<Answer, Error> {
        self.client.invoke(peer, head, body, deadline).await
    }

    /// Sends a gRPC call of the app's own service to a sidecar, as it is, once.
    pub async fn proxy(
        &self,
        peer: Peer<'_>,
        request: Request<Body>,
    ) -> Result<Response<Body>, Error> {
        Ok(self.client.send(peer, request).await?.map(boxed))
    }
}
