//! Connections for the client: it is handed a stream of the one TLS stack of the program.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_util::Stream;
use futures_util::io::{AsyncRead, AsyncWrite};
use lapin::AsyncTcpStream;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use super::server::Server;

/// A plain or a TLS stream.
pub(super) type Socket = Compat<Box<dyn Duplex>>;

/// Both ways of a stream.
pub(super) trait Duplex: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Duplex for T {}

/// The runtime that the client runs in: this one, with sockets of our own.
pub(super) type SocketRuntime = Runtime<RuntimeParts<Tokio, Sockets>>;

pub(super) fn runtime() -> SocketRuntime {
    let tokio = Tokio::current();
    Runtime::new(RuntimeParts::new(tokio.clone(), Sockets(tokio)))
}

/// Timers are tokio's; sockets come from [`open`] only.
#[derive(Clone, Debug)]
pub(super) struct Sockets(Tokio);

impl Reactor for Sockets {
    type TcpStream = Socket;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        Err::<Socket, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        _: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        std::future::ready(Err(io::ErrorKind::Unsupported.into()))
    }
}

/// Closes the socket of a connection that is given up before it stands. The thread that the client
/// has for it would wait on.
#[derive(Clone, Debug, Default)]
pub(super) struct GivenUp(Arc<Mutex<Option<std::net::TcpStream>>>);

impl GivenUp {
    /// The connection stands: the client closes it from here on.
    pub(super) fn disarm(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn arm(&self, stream: std::net::TcpStream) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
    }

    /// Closes it.
    pub(super) fn close(&self) {
        let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(stream) = stream {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Opens a stream to the server.
pub(super) async fn open(
    server: Arc<Server>,
    given_up: GivenUp,
) -> io::Result<AsyncTcpStream<Socket>> {
    let address = (server.host(), server.port());
    let stream = TcpStream::connect(address).await?.into_std()?;
    given_up.arm(stream.try_clone()?);
    let stream = TcpStream::from_std(stream)?;
    stream.set_nodelay(true)?;
    let stream: Box<dyn Duplex> = match server.tls() {
        None => Box::new(stream),
        Some(config) => {
            let name = ServerName::try_from(server.host().to_owned())
                .map_err(|_| io::Error::other("the host is no name that a certificate has"))?;
            Box::new(TlsConnector::from(config).connect(name, stream).await?)
        }
    };
    Ok(AsyncTcpStream::Plain(stream.compat()))
}
