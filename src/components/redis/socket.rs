//! Streams to servers: TCP, with the one TLS stack of the program where TLS is on.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::hosts::Host;

/// Both ways of a stream.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Opens a stream to a server.
pub(super) async fn open(
    host: &Host,
    tls: Option<&Arc<ClientConfig>>,
) -> io::Result<Box<dyn Duplex>> {
    let stream = TcpStream::connect((host.name.as_str(), host.port)).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = tls else {
        return Ok(Box::new(stream));
    };
    let name = ServerName::try_from(host.name.clone())
        .map_err(|_| io::Error::other("the host is no name that a certificate has"))?;
    let connector = TlsConnector::from(Arc::clone(tls));
    Ok(Box::new(connector.connect(name, stream).await?))
}
