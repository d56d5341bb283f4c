//! Small things that commands on one machine need: tokens, one request.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::base::secret::Secret;

/// How often to ask a process that starts whether it is ready.
const PAUSE: Duration = Duration::from_millis(10);

/// The address of a port on this machine.
pub(super) fn address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A new token: 128 random bits, which can stand in a header and on a command line.
pub(super) fn new_token() -> anyhow::Result<Secret> {
    let mut bytes = [0_u8; 16];
    crate::tls::provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| anyhow::anyhow!("the system hands out no random bytes"))?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Secret::new(text))
}

/// Sends one request over HTTP/1.1 and reads the whole answer.
pub(super) async fn send(
    port: u16,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<Response<Bytes>> {
    send_on(TcpStream::connect(address(port)).await?, request).await
}

/// The same on a connection that is open already.
pub(super) async fn send_on<S>(
    stream: S,
    mut request: Request<Full<Bytes>>,
) -> anyhow::Result<Response<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_static("localhost"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async move {
        let (head, body) = sender.send_request(request).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    };
    let (answer, _) = tokio::join!(exchange, connection);
    answer
}

/// Waits until `GET path` answers with success.
pub(super) async fn ready(port: u16, path: &'static str) {
    loop {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = http::Uri::from_static(path);
        let answer = send(port, request).await;
        if answer.is_ok_and(|answer| StatusCode::is_success(&answer.status())) {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_tokens_differ_and_are_usable() {
        let [a, b] = std::array::from_fn(|_| new_token().unwrap());
        assert_ne!(a.expose(), b.expose());
        let usable = crate::base::token::Token::parse("A", Some(a.expose()));
        assert!(usable.unwrap().is_some());
        assert_eq!(a.expose().len(), 32);
    }
}
