//! The HTTP client of exporters, which knows collectors only. It follows no redirect, so that the
//! headers of a collector go nowhere else.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use tonic::body::Body;

use super::ExportError;
use crate::process::tasks::with_causes;
use crate::process::trace::endpoint::server;

/// How long a connection may take, and how long an idle one is kept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// The most bytes of an answer, which has no more than a short message.
const MAX_ANSWER: usize = 64 * 1024;

pub(super) type HttpClient = Client<HttpsConnector<HttpConnector>, Body>;

/// A client. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Transport(HttpClient);

impl Transport {
    /// Without `tls` no server is believed.
    pub(super) fn new(tls: Option<Arc<ClientConfig>>, http2_only: bool) -> Self {
        let tls = tls.unwrap_or_else(believe_nobody);
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(1)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .http2_only(http2_only)
            .build(HttpsConnector::from((connector, tls)));
        Self(client)
    }

    /// The client as it is, for gRPC.
    pub(super) fn client(&self) -> HttpClient {
        self.0.clone()
    }

    /// Sends a request, and reads the answer of one that was taken.
    pub(super) async fn send(
        &self,
        request: Request<Bytes>,
        timeout: Duration,
    ) -> Result<Bytes, ExportError> {
        let uri = request.uri().clone();
        let request = request.map(|body| Body::new(Full::new(body)));
        let exchange = async {
            let answer = self.0.request(request).await;
            let answer = answer.map_err(|error| failed(&uri, with_causes(&error), true))?;
            let status = answer.status();
            if !status.is_success() {
                let problem = format!("the collector answered {}", status.as_u16());
                return Err(failed(&uri, problem, is_temporary(status)));
            }
            Ok(whole(answer).await)
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(timed_out(&uri, timeout)),
        }
    }
}

/// An answer that breaks off or is too long is taken for an empty one: the spans arrived.
async fn whole(answer: Response<hyper::body::Incoming>) -> Bytes {
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    body.map(http_body_util::Collected::to_bytes)
        .unwrap_or_default()
}

/// The answers after which another try may succeed (OTLP, "Retryable Response Codes").
fn is_temporary(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

pub(super) fn failed(uri: &Uri, problem: String, is_temporary: bool) -> ExportError {
    ExportError {
        server: server(uri),
        problem,
        is_temporary,
    }
}

pub(super) fn timed_out(uri: &Uri, timeout: Duration) -> ExportError {
    failed(uri, format!("no answer within {timeout:?}"), true)
}

fn believe_nobody() -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the cipher suites of both versions");
    let config = config.with_root_certificates(RootCertStore::empty());
    Arc::new(config.with_no_client_auth())
}
