//! The TLS side of an accepted connection.

use std::io;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::identity::Identity;
use crate::process::listener::Socket;
use crate::process::serve::Handshake;

/// Accepts TLS with the identity of the moment: a connection that begins after a reload gets the
/// new certificate, those that are open keep theirs.
#[derive(Clone, Debug)]
pub struct TlsHandshake {
    identity: watch::Receiver<Arc<Identity>>,
}

impl TlsHandshake {
    /// Follows `identity`.
    pub fn new(identity: watch::Receiver<Arc<Identity>>) -> Self {
        Self { identity }
    }
}

impl Handshake for TlsHandshake {
    type Io = TlsStream<Socket>;

    async fn handshake(&self, socket: Socket) -> io::Result<Self::Io> {
        let config = self.identity.borrow().config.clone();
        TlsAcceptor::from(config).accept(socket).await
    }
}
