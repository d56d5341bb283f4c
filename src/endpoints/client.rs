//! The HTTP client of services, with its pool of connections.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Request, Response, Uri, Version};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tracing::warn;

use super::body::{WithoutTrailers, answer};
use super::connect::{Connector, Reach, RefusedAddress};
use super::headers::{self, Outgoing};
use super::observe;
use super::{Body, Error};
use crate::process::log_rate::LogRate;
use crate::process::tasks::with_causes;

/// How long an idle connection is kept: well below the minute after which most gateways close one,
/// since a request that meets such a close is lost.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// The most idle connections to one host.
const MAX_IDLE: usize = 64;

/// The most bytes of the headers of an answer. hyper looks between reads, so that up to twice as
/// many may pass.
const MAX_HEADER_BYTES: u16 = u16::MAX;

/// The most headers of an answer.
const MAX_HEADERS: usize = 256;

/// The window of one HTTP/2 stream: how much of an answer is held for a caller who reads slowly.
const STREAM_WINDOW: u32 = 1024 * 1024;

/// The window of a whole HTTP/2 connection: so large that slow readers of some streams do not stop
/// the others.
const CONNECTION_WINDOW: u32 = 1024 * 1024 * 1024;

/// After how long without traffic an HTTP/2 connection with open calls is asked for a sign of
/// life, and how long that may take.
const PING_AFTER: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Sends requests. It follows no redirect.
#[derive(Debug)]
pub(super) struct Client {
    client: legacy::Client<Connector, WithoutTrailers>,
    /// The metric label of its calls.
    label: Arc<str>,
    failures: LogRate,
}

impl Client {
    /// Without TLS, calls to `https` URLs fail.
    pub(super) fn new(label: &str, tls: Option<Arc<ClientConfig>>, reach: Reach) -> Self {
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .http1_max_buf_size(usize::from(MAX_HEADER_BYTES))
            .http1_max_headers(MAX_HEADERS)
            .http2_max_header_list_size(u32::from(MAX_HEADER_BYTES))
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(PING_AFTER)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .build(Connector::new(tls, reach));
        Self {
            client,
            label: label.into(),
            failures: LogRate::default(),
        }
    }

    /// Sends a request: the one function through which anything reaches a service. The headers of
    /// the answer are those that its caller may see. Dropping the future, or the body of the
    /// answer, breaks the call off.
    pub(super) async fn send(
        &self,
        method: Method,
        uri: Uri,
        headers: Outgoing,
        body: Body,
    ) -> Result<Response<Body>, Error> {
        if matches!(method, Method::CONNECT | Method::TRACE) {
            return Err(Error::Method(method));
        }
        let host = uri.host().unwrap_or_default().to_owned();
        let mut request = Request::new(WithoutTrailers(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers.into_inner();
        // The client speaks what the connection speaks.
        *request.version_mut() = Version::HTTP_11;
        let start = Instant::now();
        let outcome = self.client.request(request).await;
        let status = outcome.as_ref().ok().map(Response::status);
        observe::call(&self.label, start, status);
        match outcome {
            // 101: an upgrade that nobody asked for. What follows is no HTTP.
            Ok(response) if response.status().is_informational() => Err(Error::Exchange { host }),
            Ok(response) => {
                let (mut head, body) = response.into_parts();
                headers::strip(&mut head.headers);
                Ok(Response::from_parts(head, answer(body)))
            }
            Err(error) => Err(self.failure(host, &error)),
        }
    }

    fn failure(&self, host: String, error: &legacy::Error) -> Error {
        if holds::<RefusedAddress>(error) {
            return Error::AddressRefused { host };
        }
        if let Some(left_out) = self.failures.pass() {
            warn!(
                endpoint = &*self.label,
                host,
                error = %with_causes(error),
                left_out,
                "Call to a service without a sidecar failed"
            );
        }
        if holds::<rustls::Error>(error) {
            Error::Tls { host }
        } else if error.is_connect() {
            Error::Connect { host }
        } else {
            Error::Exchange { host }
        }
    }
}

/// Whether an error of this type is among the causes. The source of an `io::Error` is not the
/// error that it wraps but the source of that.
fn holds<E: StdError + 'static>(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        if cause.is::<E>() {
            return true;
        }
        let io = cause.downcast_ref::<io::Error>();
        next = match io.and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => cause.source(),
        };
    }
    false
}
