//! Connections for the client: it is handed a stream of the one TLS stack of the program.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
pub(super) trait Duplex:
    tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin
{
}

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

/// The socket of a connection that does not stand yet.
pub(super) type Slot = Arc<Mutex<Option<std::net::TcpStream>>>;

/// A try to connect. Dropped before the connection stands it closes the socket, since the thread
/// that the client has for it would wait on.
#[derive(Debug, Default)]
pub(super) struct Attempt(Slot);

impl Attempt {
    /// Where the socket goes.
    pub(super) fn slot(&self) -> Slot {
        Arc::clone(&self.0)
    }

    /// The connection stands: the client closes it from here on.
    pub(super) fn succeeds(self) {
        locked(&self.0).take();
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(stream) = locked(&self.0).take() {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn locked(slot: &Slot) -> MutexGuard<'_, Option<std::net::TcpStream>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens a stream to the server.
pub(super) async fn open(server: Arc<Server>, slot: Slot) -> io::Result<AsyncTcpStream<Socket>> {
    let address = (server.host(), server.port());
    let stream = TcpStream::connect(address).await?.into_std()?;
    *locked(&slot) = Some(stream.try_clone()?);
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
