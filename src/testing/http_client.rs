//! One request on one connection, with every byte of the target under the test's control.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::process::tasks::BoxError;

/// Far above what a slow machine needs for a large answer: it only keeps a broken test from
/// hanging.
const PATIENCE: Duration = Duration::from_secs(300);

/// Sends a request over HTTP/1.1 and reads the whole answer. The request's URI is sent as it is; a
/// `Host` header is added where there is none.
pub async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> Response<Bytes> {
    try_send(address, request).await.unwrap()
}

/// The same to a server that may not be there, or end meanwhile.
///
/// # Errors
///
/// No connection, or none until the end of the answer.
pub async fn try_send(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, BoxError> {
    try_send_on(TcpStream::connect(address).await?, request).await
}

/// [`send`] on a connection that is open already: a TLS session or a Unix socket.
pub async fn send_on<S>(stream: S, request: Request<Full<Bytes>>) -> Response<Bytes>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    try_send_on(stream, request).await.unwrap()
}

async fn try_send_on<S>(
    stream: S,
    mut request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let host = http::HeaderValue::from_static("localhost");
    request
        .headers_mut()
        .entry(http::header::HOST)
        .or_insert(host);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    whole(sender.send_request(request)).await
}

/// Sends a request over cleartext HTTP/2, which takes absolute URIs only.
pub async fn send_h2c(address: SocketAddr, request: Request<Full<Bytes>>) -> Response<Bytes> {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let executor = TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, stream)
        .await
        .unwrap();
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    whole(sender.send_request(request)).await.unwrap()
}

async fn whole(
    answer: impl Future<Output = hyper::Result<Response<hyper::body::Incoming>>>,
) -> Result<Response<Bytes>, BoxError> {
    let answer = async {
        let (head, body) = answer.await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    };
    tokio::time::timeout(PATIENCE, answer).await?
}
