//! Sockets that accept connections, TCP or Unix.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// Where a listener listens, as bound: the port is the real one where 0 was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddr {
    /// An address and port.
    Tcp(SocketAddr),
    /// A socket file.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// A socket that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    address: ListenAddr,
    #[source]
    cause: io::Error,
}

impl BindError {
    /// Whether the host lacks the address or its whole family (an IPv4-only node has no `[::1]`).
    pub fn is_missing_address(&self) -> bool {
        // 97 is Linux's EAFNOSUPPORT, for which std has no kind.
        self.cause.kind() == io::ErrorKind::AddrNotAvailable
            || self.cause.raw_os_error() == Some(97)
    }
}

/// A bound socket.
#[derive(Debug)]
pub struct Listener {
    socket: BoundSocket,
    address: ListenAddr,
}

#[derive(Debug)]
enum BoundSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Binds an address. Port 0 takes a free one; [`Listener::address`] tells which.
    pub async fn bind_tcp(address: SocketAddr) -> Result<Self, BindError> {
        let fail = |cause| BindError {
            address: ListenAddr::Tcp(address),
            cause,
        };
        let socket = TcpListener::bind(address).await.map_err(fail)?;
        let bound = socket.local_addr().map_err(fail)?;
        Ok(Self {
            socket: BoundSocket::Tcp(socket),
            address: ListenAddr::Tcp(bound),
        })
    }

    /// Binds a socket file, in place of a stale one that nobody listens on, and gives it `mode`.
    pub async fn bind_unix(path: &Path, mode: u32) -> Result<Self, BindError> {
        let fail = |cause| BindError {
            address: ListenAddr::Unix(path.to_owned()),
            cause,
        };
        let socket = match UnixListener::bind(path) {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
                if UnixStream::connect(path).await.is_ok() {
                    return Err(fail(e));
                }
                std::fs::remove_file(path).map_err(fail)?;
                UnixListener::bind(path).map_err(fail)?
            }
            other => other.map_err(fail)?,
        };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(fail)?;
        Ok(Self {
            socket: BoundSocket::Unix(socket),
            address: ListenAddr::Unix(path.to_owned()),
        })
    }

    /// The address as bound.
    pub fn address(&self) -> &ListenAddr {
        &self.address
    }

    /// The next connection.
    pub async fn accept(&self) -> io::Result<(Socket, Remote)> {
        match &self.socket {
            BoundSocket::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Socket::Tcp(stream), Remote::Tcp(address)))
            }
            BoundSocket::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Socket::Unix(stream), Remote::Unix))
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let ListenAddr::Unix(path) = &self.address {
            // The file outlives the socket otherwise; nothing can be done about a failure here.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remote {
    /// An address and port.
    Tcp(SocketAddr),
    /// A process on this host.
    Unix,
}

impl Remote {
    /// Who sent the request with these extensions.
    pub fn of(extensions: &http::Extensions) -> Self {
        extensions.get().copied().unwrap_or(Self::Unix)
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// A connection.
#[derive(Debug)]
pub enum Socket {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a socket file.
    Unix(UnixStream),
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_an_error_with_the_address_in_it() {
        let first = Listener::bind_tcp("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let ListenAddr::Tcp(address) = first.address() else {
            panic!("not TCP")
        };
        let error = Listener::bind_tcp(*address).await.unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen on {address}"));
        assert!(!error.is_missing_address());
    }

    #[tokio::test]
    async fn replaces_a_stale_socket_file_but_not_a_live_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.socket");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let live = Listener::bind_unix(&path, 0o666).await.unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o666);
        assert!(Listener::bind_unix(&path, 0o666).await.is_err());
        drop(live);
        assert!(!path.exists());
    }
}
