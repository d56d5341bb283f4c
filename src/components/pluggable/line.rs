//! One connection to a socket, and gRPC over it.

use std::error::Error as _;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::Streaming;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::process::tasks::with_causes;

/// The most bytes of a message of a component.
pub(super) const MAX_MESSAGE: usize = 16 << 20;
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The most bytes that wait here for one stream that nobody reads. What is above it waits at the
/// component.
const STREAM_WINDOW: u32 = 128 << 10;
/// The same for all streams of a connection: streams that nobody reads must not hold up others.
const CONNECTION_WINDOW: u32 = 32 << 20;
/// The most bytes of metadata of an answer.
const MAX_HEADERS: u32 = 64 << 10;
/// By it a component tells those apart that it serves (Dapr 1.18).
const INSTANCE: &str = "x-component-instance";

/// The name of a component, for [`INSTANCE`].
pub(super) type Instance = MetadataValue<Ascii>;

/// The far side could not be reached, or what it said makes no sense.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub(super) struct Broken(pub(super) String);

/// A connection. It has to be polled, by [`Line::ended`] or [`Line::during`]; dropped, all that
/// goes over it breaks off, whatever the other side does.
pub(super) struct Line {
    pub(super) wire: Wire,
    driver: Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>,
    scope: Scope,
}

impl Line {
    /// Connects to a socket, on behalf of an instance of a component.
    pub(super) async fn connect(path: &Path, instance: Option<Instance>) -> Result<Self, Broken> {
        let broken = |error: &dyn std::error::Error| {
            Broken(format!("it cannot be reached: {}", with_causes(error)))
        };
        let scope = Scope::default();
        let connecting = async {
            let stream = UnixStream::connect(path).await.map_err(|e| broken(&e))?;
            http2::Builder::new(scope.clone())
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_header_list_size(MAX_HEADERS)
                .handshake(TokioIo::new(stream))
                .await
                .map_err(|e| broken(&e))
        };
        let late = |_| Broken("it does not accept connections".to_owned());
        let (sender, driver) = timeout(CONNECT_TIMEOUT, connecting).await.map_err(late)??;
        Ok(Self {
            wire: Wire { sender, instance },
            driver: Box::pin(driver),
            scope,
        })
    }

    /// Waits until the connection ends, and tells why.
    pub(super) async fn ended(&mut self) -> Broken {
        match self.driver.as_mut().await {
            Ok(()) => Broken("it closed the connection".to_owned()),
            Err(error) => Broken(with_causes(&error)),
        }
    }

    /// Does something over the connection.
    pub(super) async fn during<T, E: From<Broken>>(
        &mut self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        tokio::select! {
            biased;
            done = work => done,
            broken = self.ended() => Err(broken.into()),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.scope.lock().abort_all();
    }
}

/// Runs the tasks of one connection, until that is dropped.
#[derive(Clone, Default)]
struct Scope(Arc<Mutex<JoinSet<()>>>);

impl Scope {
    fn lock(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F> hyper::rt::Executor<F> for Scope
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        let mut tasks = self.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            task.await;
        });
    }
}

/// Makes calls over a connection. Cheap to clone.
#[derive(Clone)]
pub(super) struct Wire {
    sender: http2::SendRequest<Body>,
    instance: Option<Instance>,
}

impl Wire {
    /// A call with one message each way, that of the answer of `most` bytes.
    pub(super) async fn unary<Q, A>(
        &self,
        path: PathAndQuery,
        message: Q,
        most: usize,
    ) -> Result<A, Status>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let mut grpc = self.grpc(most).await?;
        let request = self.request(message);
        let answer = grpc.unary(request, path, ProstCodec::<Q, A>::default());
        Ok(answer.await?.into_inner())
    }

    /// A call with any number of messages each way. The answer begins when the component has
    /// something to say.
    pub(super) async fn streaming<Q, A>(
        &self,
        path: PathAndQuery,
        messages: impl Stream<Item = Q> + Send + 'static,
    ) -> Result<Streaming<A>, Status>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let mut grpc = self.grpc(MAX_MESSAGE).await?;
        let request = self.request(messages);
        let answer = grpc.streaming(request, path, ProstCodec::<Q, A>::default());
        Ok(answer.await?.into_inner())
    }

    fn request<M>(&self, message: M) -> tonic::Request<M> {
        let mut request = tonic::Request::new(message);
        if let Some(instance) = &self.instance {
            request.metadata_mut().insert(INSTANCE, instance.clone());
        }
        request
    }

    async fn grpc(&self, most: usize) -> Result<Grpc<Sender>, Status> {
        let origin = Uri::from_static("http://localhost");
        let mut grpc =
            Grpc::with_origin(Sender(self.sender.clone()), origin).max_decoding_message_size(most);
        let ready = grpc.ready().await;
        ready.map_err(|error| Status::from_error(Box::new(error)))?;
        Ok(grpc)
    }
}

/// Whether a status is not the component's word, but of a connection that broke.
pub(super) fn is_broken(status: &Status) -> bool {
    status.source().is_some()
}

/// Whether a component lacks a method.
pub(super) fn is_unknown_method(status: &Status) -> bool {
    status.code() == Code::Unimplemented && !is_broken(status)
}

/// The sender in the form that tonic wants.
struct Sender(http2::SendRequest<Body>);

impl Service<Request<Body>> for Sender {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
