//! Opens connections: names to addresses, TCP, TLS.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower::Service;

use super::addresses::is_refused;
use crate::process::tasks::BoxError;

/// How long a connection may take, with the look-up of its name and its TLS handshake.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one address may take where a name has several.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(5);

/// After how long without traffic the system asks whether the other side is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Which addresses may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// All: an operator named the host.
    Any,
    /// All but those of [`super::addresses`]: a caller named the host.
    Callers,
}

/// A name that stands for an address that a caller may not reach.
#[derive(Debug, thiserror::Error)]
#[error("the name stands for an address that a URL may not reach")]
pub(super) struct RefusedAddress;

/// Opens connections within a time limit, with TLS where the URL says so.
#[derive(Clone, Debug)]
pub(super) struct Connector(Road);

#[derive(Clone, Debug)]
enum Road {
    /// For URLs without TLS only.
    Plain(HttpConnector<Resolver>),
    Tls(HttpsConnector<HttpConnector<Resolver>>),
}

impl Connector {
    /// Without TLS, it fails for every URL that has it.
    pub(super) fn new(tls: Option<Arc<ClientConfig>>, reach: Reach) -> Self {
        let resolver = Resolver {
            system: GaiResolver::new(),
            reach,
        };
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEP_ALIVE));
        tcp.set_connect_timeout(Some(ADDRESS_TIMEOUT));
        Self(match tls {
            None => Road::Plain(tcp),
            Some(tls) => {
                tcp.enforce_http(false);
                Road::Tls(HttpsConnector::from((tcp, tls)))
            }
        })
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match &mut self.0 {
            Road::Plain(tcp) => tcp.poll_ready(cx).map_err(Into::into),
            Road::Tls(tls) => tls.poll_ready(cx),
        }
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let mut road = self.0.clone();
        Box::pin(async move {
            let connection = async {
                match &mut road {
                    Road::Plain(tcp) => Ok(MaybeHttpsStream::Http(tcp.call(uri).await?)),
                    Road::Tls(tls) => tls.call(uri).await,
                }
            };
            tokio::time::timeout(CONNECT_TIMEOUT, connection).await?
        })
    }
}

/// Finds the addresses of a name. One that a caller may not reach among them spoils the name: it
/// was made to point there.
#[derive(Clone, Debug)]
struct Resolver {
    system: GaiResolver,
    reach: Reach,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.system.poll_ready(cx)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (found, reach) = (self.system.call(name), self.reach);
        Box::pin(async move {
            let addresses: Vec<_> = found.await?.collect();
            let is_refused = |address: &SocketAddr| is_refused(address.ip());
            if reach == Reach::Callers && addresses.iter().any(is_refused) {
                return Err(io::Error::other(RefusedAddress));
            }
            Ok(addresses.into_iter())
        })
    }
}
