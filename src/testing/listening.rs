//! A server of a test's own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::process::listener::{ListenAddr, Listener};
use crate::process::serve::{self, Handshake, Limits};
use crate::process::tasks::BoxError;

/// Serves on a free port of 127.0.0.1, with limits that no test meets, until the set is dropped.
pub async fn listen<H, S, B>(handshake: H, service: S) -> (SocketAddr, JoinSet<()>)
where
    H: Handshake,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let listener = Listener::bind_tcp(([127, 0, 0, 1], 0).into())
        .await
        .unwrap();
    let &ListenAddr::Tcp(address) = listener.address() else {
        unreachable!("bound to TCP above")
    };
    let limits = Limits {
        header_bytes: 64 * 1024,
        header_timeout: Duration::from_secs(60),
        handshake_timeout: Duration::from_secs(60),
        connections: 1024,
        streams: 256,
        drain: Duration::ZERO,
    };
    let mut task = JoinSet::new();
    task.spawn(async move {
        serve::serve(
            listener,
            handshake,
            service,
            limits,
            CancellationToken::new(),
        )
        .await
        .unwrap();
    });
    (address, task)
}
