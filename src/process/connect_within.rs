//! Connections that have to be open within a time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use tokio::time::timeout;
use tower::Service;

use super::tasks::BoxError;

/// A connector with a limit on the time of a connection, its handshake included.
#[derive(Clone, Debug)]
pub struct ConnectWithin<C> {
    connector: C,
    limit: Duration,
}

impl<C> ConnectWithin<C> {
    /// Gives a connector its limit.
    pub fn new(connector: C, limit: Duration) -> Self {
        Self { connector, limit }
    }
}

impl<C> Service<Uri> for ConnectWithin<C>
where
    C: Service<Uri>,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connection = timeout(self.limit, self.connector.call(uri));
        Box::pin(async move { connection.await?.map_err(Into::into) })
    }
}
