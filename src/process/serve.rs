//! Serves HTTP/1 and HTTP/2 on a listener, with limits, until shutdown.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::listener::{Listener, Remote, Socket};
use super::tasks::BoxError;
use crate::base::spiffe_id::SpiffeId;

/// How long to wait after a failed `accept` (usually: too many open files) before the next one.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The window of one HTTP/2 stream: how much of a request is held for a handler that reads slowly.
const STREAM_WINDOW: u32 = 256 * 1024;

/// The largest window of a connection (RFC 9113, section 6.9.1).
const MAX_WINDOW: u32 = (1 << 31) - 1;

/// hyper refuses a smaller HTTP/1 buffer than this.
const MIN_HTTP1_BUFFER: usize = 8192;

/// The limits of one listener.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The most bytes of request headers. HTTP/1 answers 431 above it, and never has less than
    /// 8 KiB.
    pub header_bytes: usize,
    /// How long a client may take for the headers of a request. It runs on an idle connection too,
    /// so it is also the longest idle time of a kept-alive HTTP/1 connection.
    pub header_timeout: Duration,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// The most connections at once; more wait in the backlog of the socket.
    pub connections: usize,
    /// The most HTTP/2 streams at once on a connection.
    pub streams: u32,
    /// How long requests in flight may take after shutdown began.
    pub drain: Duration,
}

/// Turns an accepted socket into the stream that HTTP runs on: itself, or a TLS session.
pub trait Handshake: Clone + Send + Sync + 'static {
    /// The stream that HTTP runs on.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Does the handshake. Its time is limited by [`Limits::handshake_timeout`].
    fn handshake(&self, socket: Socket) -> impl Future<Output = io::Result<Self::Io>> + Send;

    /// The app at the other end, where the handshake proved one.
    fn peer(_: &Self::Io) -> Option<SpiffeId> {
        None
    }
}

/// No handshake: HTTP on the bare socket.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Handshake for Plain {
    type Io = Socket;

    async fn handshake(&self, socket: Socket) -> io::Result<Socket> {
        Ok(socket)
    }
}

/// Serves `service` on `listener` until `shutdown`, then finishes what is in flight within
/// [`Limits::drain`]. The [`Remote`] stands in each request's extensions, with the [`SpiffeId`]
/// that the handshake proved.
pub async fn serve<H, S, B>(
    listener: Listener,
    handshake: H,
    service: S,
    limits: Limits,
    shutdown: CancellationToken,
) -> Result<(), BoxError>
where
    H: Handshake,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let places = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let server = Arc::new(http_server(&limits));
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = shutdown.cancelled() => break,
        };
        let (socket, remote, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, address = %listener.address(), "Cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let (server, handshake) = (server.clone(), handshake.clone());
        let (watcher, timeout) = (graceful.watcher(), limits.handshake_timeout);
        let inner = service.clone();
        connections.spawn(async move {
            let _place = place;
            let io = match tokio::time::timeout(timeout, handshake.handshake(socket)).await {
                Ok(Ok(io)) => io,
                Ok(Err(error)) => return debug!(%error, %remote, "Handshake failed"),
                Err(_) => return debug!(%remote, "Handshake took too long"),
            };
            let peer = H::peer(&io);
            let service = WithRemote {
                inner,
                remote,
                peer,
            };
            let connection = server.serve_connection(TokioIo::new(io), service);
            if let Err(error) = watcher.watch(connection.into_owned()).await {
                debug!(%error, %remote, "Connection ended");
            }
        });
    }
    let address = listener.address().clone();
    drop(listener);
    if tokio::time::timeout(limits.drain, graceful.shutdown())
        .await
        .is_err()
    {
        warn!(%address, open = connections.len(), "Requests still in flight at the deadline");
    }
    Ok(())
}

async fn accept(
    listener: &Listener,
    places: &Arc<Semaphore>,
) -> io::Result<(Socket, Remote, tokio::sync::OwnedSemaphorePermit)> {
    let place = places
        .clone()
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (socket, remote) = listener.accept().await?;
    Ok((socket, remote, place))
}

fn http_server(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let header_bytes = limits.header_bytes;
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(header_bytes.max(MIN_HTTP1_BUFFER));
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        // The windows of the streams alone hold a client back: one slow handler must not stop the
        // other calls of its connection.
        .initial_connection_window_size(
            limits.streams.saturating_mul(STREAM_WINDOW).min(MAX_WINDOW),
        )
        .keep_alive_interval(Some(Duration::from_secs(60)));
    server
}

/// Puts the [`Remote`] of the connection into each request, and the app at its end.
#[derive(Clone)]
struct WithRemote<S> {
    inner: S,
    remote: Remote,
    peer: Option<SpiffeId>,
}

impl<S: Service<Request<Incoming>>> Service<Request<Incoming>> for WithRemote<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.remote);
        if let Some(peer) = &self.peer {
            request.extensions_mut().insert(peer.clone());
        }
        self.inner.call(request)
    }
}
