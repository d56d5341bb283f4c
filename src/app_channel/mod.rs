//! The road to the application, the only holder of the app token.
//!
//! Every call to the app, over HTTP or gRPC, is one HTTP request that goes through
//! `Transport::send`, under one of the names of [`Road`]. That function sets
//! the app token in place of whatever the request held, and its connections lead to the app's
//! address whatever the request's URI says. So no call can lack the token, and none can carry it
//! elsewhere (CVE-2024-35223).

mod body;
mod config;
mod grpc;
mod health;
mod limit;
mod observe;
mod ready;
mod roads;
mod tls;
mod token;
mod transport;

pub use body::AppBody;
pub use config::{AddressError, AppChannelConfig, AppProtocol, HealthConfig, ProtocolError};
pub use health::HealthProbe;
pub use roads::{ROADS, Road, Row, Speech};

use std::sync::Arc;

use bytes::Bytes;
use dapr::dapr::proto::common::v1::InvokeRequest;
use http::{HeaderMap, Request, Response};
use tokio::sync::watch;
use tracing::warn;

use crate::process::body::{
    Body as RequestBody, CollectError, Exceeded, Limited, boxed, collect, whole,
};
use crate::proto::grpc_answer::{GrpcAnswer, GrpcFailure};
use transport::Transport;

/// Why a call to the app did not get an answer. The texts are for clients; the inner error goes to
/// the log.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The app does not pass its health checks.
    #[error("app is not in a healthy state")]
    Unhealthy,
    /// The request cannot be written as HTTP.
    #[error("the request cannot be sent to the app")]
    Request,
    /// No connection to the app.
    #[error("cannot connect to the app")]
    Connect,
    /// The body is larger than allowed. The app got none of it, or no end of it.
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// A body that had to be held in memory broke off.
    #[error("the body could not be read to its end")]
    BodyRead,
    /// The answer is larger than allowed.
    #[error("the answer of the app is larger than {limit} bytes")]
    AnswerTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The connection broke before the app had answered.
    #[error("the app did not answer")]
    Exchange,
}

/// The road to the application. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AppChannel(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: AppChannelConfig,
    transport: Transport,
    healthy: watch::Sender<bool>,
}

impl AppChannel {
    /// A road to the app. Nothing is connected yet.
    pub fn new(config: AppChannelConfig) -> Result<Self, AddressError> {
        if config.protocol.is_tls() {
            let (protocol, address) = (config.protocol.as_str(), &config.address);
            warn!(protocol, %address, "The certificate of the app is not verified");
        }
        let transport = Transport::new(&config)?;
        let healthy = watch::Sender::new(config.health.is_none());
        Ok(Self(Arc::new(Inner {
            config,
            transport,
            healthy,
        })))
    }

    /// What it was made with.
    pub fn config(&self) -> &AppChannelConfig {
        &self.0.config
    }

    /// The task that checks the health of the app, where that is on. Start it once the app
    /// listens.
    pub fn health_probe(&self) -> Option<HealthProbe> {
        let config = self.config().health.clone()?;
        Some(HealthProbe::new(self.clone(), config))
    }

    /// Whether the app is healthy, as it changes. Always true where it is not checked.
    pub fn healthy(&self) -> watch::Receiver<bool> {
        self.0.healthy.subscribe()
    }

    /// Calls a method of an app that speaks HTTP. Of the request's URI, path and query count.
    ///
    /// Dropping the future, or the body of the answer, breaks the call to the app off.
    pub async fn invoke_http(
        &self,
        request: Request<RequestBody>,
    ) -> Result<Response<AppBody>, Error> {
        self.check_health()?;
        let (head, body) = request.into_parts();
        let (body, exceeded) = self.limited(body)?;
        let request = Request::from_parts(head, RequestBody::new(body));
        let answer = self.send(Road::InvokeHttp, request).await;
        answer.map_err(|error| {
            if exceeded.is_set() {
                self.too_large()
            } else {
                error
            }
        })
    }

    /// Calls a method of an app that speaks gRPC (`AppCallback/OnInvoke`).
    pub async fn invoke_grpc(
        &self,
        metadata: HeaderMap,
        message: InvokeRequest,
    ) -> Result<GrpcAnswer, Error> {
        self.check_health()?;
        grpc::invoke(self, metadata, message).await
    }

    /// Passes a call of a gRPC app's own service on, as it is: messages of any kind and number,
    /// both ways, with the metadata before and after them. Nothing of it is held, so that it has
    /// no limit of size.
    pub async fn proxy_grpc(
        &self,
        request: Request<RequestBody>,
    ) -> Result<Response<AppBody>, Error> {
        self.check_health()?;
        self.send(Road::ProxyGrpc, request).await
    }

    /// Makes a call of the sidecar's own to an HTTP app, whose whole answer counts. Of the
    /// request's URI, path and query count.
    pub async fn call_http(
        &self,
        road: Road,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, Error> {
        let answer = self.send(road, request.map(whole)).await?;
        let (head, body) = answer.into_parts();
        let body = collect(boxed(body), self.config().max_body_bytes).await;
        let body = body.map_err(|error| match error {
            CollectError::TooLarge { limit } => Error::AnswerTooLarge { limit },
            CollectError::Broken => Error::Exchange,
        })?;
        Ok(Response::from_parts(head, body))
    }

    /// Makes a call of the sidecar's own to a gRPC app: metadata and a message go to the method
    /// `path`, a message or the status that the app gave comes back.
    pub async fn callback<M, R>(
        &self,
        road: Road,
        path: &'static str,
        metadata: HeaderMap,
        message: M,
    ) -> Result<Result<R, GrpcFailure>, Error>
    where
        M: prost::Message + Send + Sync + 'static,
        R: prost::Message + Default + Send + Sync + 'static,
    {
        grpc::callback(self, (road, path), metadata, message).await
    }

    /// Reads a request body that has to be held in memory.
    pub async fn read_request(&self, body: RequestBody) -> Result<Bytes, Error> {
        collect(body, self.config().max_body_bytes)
            .await
            .map_err(|error| match error {
                CollectError::TooLarge { limit } => Error::BodyTooLarge { limit },
                CollectError::Broken => Error::BodyRead,
            })
    }

    async fn send(
        &self,
        road: Road,
        request: Request<RequestBody>,
    ) -> Result<Response<AppBody>, Error> {
        self.0.transport.send(road, request).await
    }

    /// Sets whether the app is healthy. Hands back whether that changed.
    fn set_healthy(&self, healthy: bool) -> bool {
        self.0.healthy.send_replace(healthy) != healthy
    }

    fn check_health(&self) -> Result<(), Error> {
        if *self.0.healthy.borrow() {
            Ok(())
        } else {
            Err(Error::Unhealthy)
        }
    }

    fn limited(&self, body: RequestBody) -> Result<(Limited, Exceeded), Error> {
        Limited::new(body, self.config().max_body_bytes).ok_or_else(|| self.too_large())
    }

    fn too_large(&self) -> Error {
        let limit = self.config().max_body_bytes;
        Error::BodyTooLarge { limit }
    }
}
