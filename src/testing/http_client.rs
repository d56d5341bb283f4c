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

/// Far above what a slow machine needs for a large answer: it only keeps a broken test from hanging.
const PATIENCE: Duration = Duration::from_secs(300);

/// Sends a request over HTTP/1.1 and reads the whole answer. The request's URI is sent as it is; a
/// `Host` header is added where there is none.
pub async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> Response<Bytes> {
    let stream = TcpStream::connect(address).await.unwrap();
    send_on(stream, request).await
}

/// The same on a connection that is open already: a TLS session or a Unix socket.
pub async fn send_on<S>(stream: S, mut request: Request<Full<Bytes>>) -> Response<Bytes>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let host = http::HeaderValue::from_static("localhost");
    request
        .headers_mut()
        .entry(http::header::HOST)
        .or_insert(host);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    within(whole(sender.send_request(request))).await
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
    within(whole(sender.send_request(request))).await
}

async fn whole(
    answer: impl Future<Output = hyper::Result<Response<hyper::body::Incoming>>>,
) -> Response<Bytes> {
    let (head, body) = answer.await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Response::from_parts(head, body)
}

async fn within<T>(answer: impl Future<Output = T>) -> T {
    let answer = tokio::time::timeout(PATIENCE, answer).await;
    answer.expect("the whole answer comes within minutes")
}
