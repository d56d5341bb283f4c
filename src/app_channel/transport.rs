//! The HTTP client of the app, with its pool of connections.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri, Version};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tower::Service;
use tracing::debug;

use super::body::AppBody;
use super::limit::Limit;
use super::roads::Road;
use super::token::AppToken;
use super::{AddressError, AppChannelConfig, Error, RequestBody, observe, tls};
use crate::process::connect_within::ConnectWithin;
use crate::process::tasks::with_causes;

/// How long a connection to the app may take, with its TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an idle connection is kept. Servers close idle connections too (gunicorn after 2 s,
/// Node.js and uvicorn after 5 s), and a request that meets such a close is lost, so ours goes
/// first. A new connection on the same host costs little.
const IDLE_TIMEOUT: Duration = Duration::from_millis(1500);

/// The most idle connections.
const MAX_IDLE: usize = 1024;

/// The most bytes of the headers of an answer. hyper looks between reads, so that up to twice as
/// many may pass.
const MAX_HEADER_BYTES: u16 = u16::MAX;

/// The most headers of an answer.
const MAX_HEADERS: usize = 256;

/// The window of one HTTP/2 stream: how much of an answer is held for a caller who reads slowly.
const STREAM_WINDOW: u32 = 1024 * 1024;

/// The window of a whole HTTP/2 connection: so large that the windows of its streams alone hold an
/// app back. All calls share one connection, and slow readers must not stop the others.
const CONNECTION_WINDOW: u32 = 1024 * 1024 * 1024;

/// The HTTP client of the app.
#[derive(Debug)]
pub(super) struct Transport {
    client: Client<ConnectWithin<HttpsConnector<AppAddress>>, RequestBody>,
    scheme: Scheme,
    authority: Authority,
    token: AppToken,
    limit: Limit,
}

impl Transport {
    pub(super) fn new(config: &AppChannelConfig) -> Result<Self, AddressError> {
        let bad = || AddressError(config.address.clone());
        let host = config.address.trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned()).map_err(|_| bad())?;
        let authority = match name {
            ServerName::IpAddress(_) if host.contains(':') => format!("[{host}]:{}", config.port),
            _ => format!("{host}:{}", config.port),
        };
        let address = AppAddress {
            host: host.into(),
            port: config.port,
        };
        let is_tls = config.protocol.is_tls();
        let connector = HttpsConnector::new(
            address,
            tls::unverified(),
            is_tls,
            Arc::new(FixedServerNameResolver::new(name)),
        );
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .http1_max_buf_size(usize::from(MAX_HEADER_BYTES))
            .http1_max_headers(MAX_HEADERS)
            .http2_max_header_list_size(u32::from(MAX_HEADER_BYTES))
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_only(config.protocol.is_http2_only())
            .build(ConnectWithin::new(connector, CONNECT_TIMEOUT));
        Ok(Self {
            client,
            scheme: if is_tls { Scheme::HTTPS } else { Scheme::HTTP },
            authority: authority.parse().map_err(|_| bad())?,
            token: AppToken::new(config.token.as_ref()),
            limit: Limit::new(config.max_concurrency),
        })
    }

    /// Sends a request to the app: the one function through which anything reaches it. It sets the
    /// app token, and waits for a place where the number of calls at once is limited.
    ///
    /// Of the request's URI, path and query count.
    pub(super) async fn send(
        &self,
        road: Road,
        mut request: Request<RequestBody>,
    ) -> Result<Response<AppBody>, Error> {
        let place = if road.row().is_limited {
            self.limit.place().await
        } else {
            None
        };
        self.token.attach(request.headers_mut());
        let target = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(target.unwrap_or_else(|| PathAndQuery::from_static("/")))
            .build()
            .map_err(|_| Error::Request)?;
        // The client speaks what the connection speaks, whatever version the caller spoke.
        *request.version_mut() = Version::HTTP_11;
        let method = observe::method_label(request.method());
        let start = Instant::now();
        let answer = self.client.request(request).await;
        observe::call(
            road,
            method,
            start,
            answer.as_ref().ok().map(Response::status),
        );
        match answer {
            // 101: an upgrade that nobody asked for. What follows is no HTTP.
            Ok(response) if response.status().is_informational() => Err(Error::Exchange),
            Ok(response) => Ok(response.map(|body| AppBody::new(body, place))),
            Err(error) => {
                let road = road.row().name;
                debug!(error = %with_causes(&error), road, "Call to the app failed");
                Err(if error.is_connect() {
                    Error::Connect
                } else {
                    Error::Exchange
                })
            }
        }
    }
}

/// Connects to the app, whatever URI it is asked for.
#[derive(Clone, Debug)]
struct AppAddress {
    host: Arc<str>,
    port: u16,
}

impl Service<Uri> for AppAddress {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { host, port } = self.clone();
        Box::pin(async move {
            let stream = TcpStream::connect((&*host, port)).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        })
    }
}
