//! The connections to other sidecars.

use std::sync::Arc;
use std::time::Duration;

use http::uri::Scheme;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::client::legacy::{Client as Pool, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use quick_cache::sync::Cache;

use super::identity::Mtls;
use super::name_resolution::Lookup;
use crate::process::body::Body;
use crate::process::connect_within::ConnectWithin;

/// How long a connection may take to open, and its handshake after that.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an idle connection is kept, and when the other side has to show that it is there
/// (Dapr 1.18).
const IDLE_TIMEOUT: Duration = Duration::from_secs(180);
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// The window of one stream: how much of an answer is held for a caller who reads slowly.
const STREAM_WINDOW: u32 = 256 * 1024;

/// The window of a connection, so large that its streams alone hold an answer back: all calls to a
/// sidecar share one connection, and slow readers must not stop the others.
const CONNECTION_WINDOW: u32 = 1024 * 1024 * 1024;

/// The most bytes of the headers of an answer.
const MAX_HEADER_BYTES: u32 = 64 * 1024;

/// The most apps to which connections are kept, with mutual TLS.
const MAX_APPS: usize = 1024;

/// The connections, by address. With mutual TLS a connection belongs to an app too: its sidecar has
/// proved to be that app's, and an address can pass from one app to another.
#[derive(Clone, Debug)]
pub(super) enum Pools {
    Plain(Box<Pool<HttpConnector, Body>>),
    Mutual(Arc<Mutual>),
}

type TlsPool = Pool<ConnectWithin<HttpsConnector<HttpConnector>>, Body>;

#[derive(Debug)]
pub(super) struct Mutual {
    mtls: Mtls,
    pools: Cache<(String, String), TlsPool>,
}

impl Pools {
    pub(super) fn new(mtls: Option<Mtls>) -> Self {
        match mtls {
            None => Self::Plain(Box::new(pool(tcp()))),
            Some(mtls) => Self::Mutual(Arc::new(Mutual {
                mtls,
                pools: Cache::new(MAX_APPS),
            })),
        }
    }

    pub(super) fn scheme(&self) -> Scheme {
        match self {
            Self::Plain(_) => Scheme::HTTP,
            Self::Mutual(_) => Scheme::HTTPS,
        }
    }

    /// Sends a request to the address in its URI, where the sidecar of the app has to be.
    pub(super) async fn send(
        &self,
        app: &Lookup<'_>,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, Error> {
        match self {
            Self::Plain(pool) => pool.request(request).await,
            Self::Mutual(mutual) => mutual.of(app).request(request).await,
        }
    }
}

impl Mutual {
    fn of(&self, app: &Lookup<'_>) -> TlsPool {
        let key = (app.namespace.to_owned(), app.app_id.to_owned());
        if let Some(pool) = self.pools.get(&key) {
            return pool;
        }
        let mut tcp = tcp();
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(self.mtls.client(app.app_id, app.namespace))
            .https_only()
            .enable_http2()
            .wrap_connector(tcp);
        let pool = pool(ConnectWithin::new(connector, 2 * CONNECT_TIMEOUT));
        self.pools.insert(key, pool.clone());
        pool
    }
}

fn tcp() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector
}

fn pool<C: Connect + Clone>(connector: C) -> Pool<C, Body> {
    Pool::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .http2_only(true)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .build(connector)
}
