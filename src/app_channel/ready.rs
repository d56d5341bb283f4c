//! The start: waiting for the app, and asking it for its configuration.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::{AppChannel, RequestBody, Road};

/// The time from one attempt to connect to the next.
const POLL: Duration = Duration::from_millis(100);

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(1);

/// How often to say that the app is still waited for.
const REMINDER: Duration = Duration::from_secs(10);

/// How long the app may take to answer `GET /dapr/config`. It may be slow at its start, but a
/// sidecar that never gets ready helps nobody.
const DISCOVERY: Duration = Duration::from_secs(60);

impl AppChannel {
    /// Waits until the app accepts TCP connections, however long that takes.
    pub async fn wait_until_listening(&self) {
        let config = self.config();
        let (protocol, port) = (config.protocol, config.port);
        let host = config.address.trim_matches(['[', ']']);
        let mut remind_at = Instant::now();
        loop {
            if let Ok(Ok(_)) = timeout(ATTEMPT, TcpStream::connect((host, port))).await {
                break info!("application discovered on port {port}");
            }
            if Instant::now() >= remind_at {
                remind_at += REMINDER;
                // Dapr's words, with its two spaces: people look for them.
                info!(
                    "application protocol: {protocol}. waiting on port {port}.  This will block \
                     until the app is listening on that port."
                );
            }
            sleep(POLL).await;
        }
    }

    /// Asks an HTTP app for its configuration (`GET /dapr/config`), as Dapr does at start. An app
    /// need not have any. What it says is only looked at for actors, which this build lacks.
    pub async fn discover_config(&self) {
        if self.config().protocol.is_grpc() {
            return;
        }
        match timeout(DISCOVERY, self.fetch_config()).await {
            Ok(Ok(config)) => {
                let entities = config.pointer("/entities").and_then(Value::as_array);
                if entities.is_some_and(|entities| !entities.is_empty()) {
                    warn!("The app has actors, which this sidecar does not serve");
                }
            }
            Ok(Err(error)) => warn!(error, "The app's configuration cannot be read"),
            Err(_) => warn!("The app did not answer GET /dapr/config in time"),
        }
    }

    async fn fetch_config(&self) -> Result<Value, String> {
        let mut request = Request::new(RequestBody::new(Empty::new().map_err(Into::into)));
        *request.uri_mut() = Uri::from_static("/dapr/config");
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(app_id) = HeaderValue::from_str(&self.config().app_id) {
            headers.insert("dapr-app-id", app_id);
        }
        let answer = self.send(Road::ConfigDiscovery, request).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), self.config().max_body_bytes);
        let body = body.collect().await.map_err(|error| error.to_string())?;
        match status {
            StatusCode::NOT_FOUND => Ok(Value::Null),
            status if status.is_success() => {
                let body = body.to_bytes();
                if body.trim_ascii().is_empty() {
                    return Ok(Value::Null);
                }
                serde_json::from_slice(&body).map_err(|error| format!("not JSON: {error}"))
            }
            status => Err(format!("status code {}", status.as_u16())),
        }
    }
}
