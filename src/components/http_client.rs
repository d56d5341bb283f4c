//! The one HTTP client of back ends that are reached over the network.
//!
//! Answers have a limit, redirects are answers and not followed (a credential must not travel to
//! another host), and proxies are those of the environment (`HTTPS_PROXY`, `NO_PROXY`).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use rustls::ClientConfig;

use super::retry_after::retry_after;
use super::secret_store::StoreError;
use crate::process::tasks::with_causes;
use crate::tls::client::{Trust, TrustError, client_config};
use crate::tls::client_identity::ClientIdentity;

/// How long a connection, its TLS handshake with it, may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection that nobody uses stays open.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How many connections that nobody uses stay open.
const MAX_IDLE: usize = 8;

/// A client. Cheap to clone. It takes memory, so make it when it is first needed.
#[derive(Clone, Debug)]
pub(crate) struct HttpClient(reqwest::Client);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("no TLS client can be made")]
    Trust(#[from] TrustError),
    #[error("no HTTP client can be made")]
    Client(#[from] reqwest::Error),
}

/// Why there is no answer. The texts are for operators.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error("the answer has more than {limit} bytes")]
    TooLarge { limit: usize },
    /// Nobody was there, or the answer broke off: the next try may succeed.
    #[error("{0}")]
    Unreachable(String),
    /// No URL, or another request that cannot be sent.
    #[error("{0}")]
    Request(String),
}

impl HttpClient {
    /// A client that believes the servers of `trust`.
    pub(crate) fn new(trust: &Trust) -> Result<Self, ClientError> {
        Self::build(client_config(trust)?, reqwest::Client::builder())
    }

    /// The same, showing a certificate to servers that ask for one.
    pub(crate) fn showing(trust: &Trust, identity: &ClientIdentity) -> Result<Self, ClientError> {
        let config = identity.shown_by(client_config(trust)?);
        Self::build(config, reqwest::Client::builder())
    }

    /// The same without the proxies of the environment, for servers of the machine itself.
    pub(crate) fn direct(trust: &Trust) -> Result<Self, ClientError> {
        let builder = reqwest::Client::builder().no_proxy();
        Self::build(client_config(trust)?, builder)
    }

    fn build(config: ClientConfig, builder: reqwest::ClientBuilder) -> Result<Self, ClientError> {
        let client = builder
            .tls_backend_preconfigured(config)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE)
            .build()?;
        Ok(Self(client))
    }

    /// Sends a request and reads the whole answer, of `limit` bytes at most. The URI has to be
    /// absolute. Setting a limit on the time is the caller's.
    ///
    /// The path must not have segments `.` and `..` in any spelling: they would be taken for the
    /// ways up that they look like.
    pub(crate) async fn send(
        &self,
        request: Request<Bytes>,
        limit: usize,
    ) -> Result<Response<Bytes>, Failed> {
        let server = server(request.uri());
        let request = reqwest::Request::try_from(request)
            .map_err(|error| Failed::Request(with_causes(&error.without_url())))?;
        // Of the URL only the server is told.
        let unreachable = |error: reqwest::Error| {
            let cause = with_causes(&error.without_url());
            Failed::Unreachable(format!("{server}: {cause}"))
        };
        let mut answer = self.0.execute(request).await.map_err(unreachable)?;
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > limit {
                return Err(Failed::TooLarge { limit });
            }
            body.extend_from_slice(&chunk);
        }
        *response.body_mut() = body.freeze();
        Ok(response)
    }
}

/// Host and port, without a user's name.
fn server(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    match uri.port_u16() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

impl From<Failed> for StoreError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Unreachable(text) => Self::Unavailable {
                text,
                retry_after: None,
            },
            other => Self::Failed(other.to_string()),
        }
    }
}

/// The error of an answer that is no success. One that another try may heal (408, 429, 5xx) is
/// `Unavailable`, with the time that the server asks for.
pub(crate) fn refused(status: StatusCode, headers: &HeaderMap, text: String) -> StoreError {
    let is_temporary = status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT;
    if is_temporary {
        StoreError::Unavailable {
            text,
            retry_after: retry_after(headers),
        }
    } else {
        StoreError::Failed(text)
    }
}

/// What the client that a library brings along says of a failure, without the URL and the answer.
#[cfg(feature = "gcp")]
pub(crate) fn told_by_library(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let error: &reqwest::Error = error.downcast_ref()?;
    if error.is_decode() {
        return Some("the answer is not understood".to_owned());
    }
    let status = error.status()?;
    Some(format!("the server answered {}", status.as_u16()))
}

/// One segment of a path, of any text but `.` and `..`, which no server could tell from a way up.
pub(crate) fn path_segment(text: &str) -> Option<String> {
    /// What RFC 3986 leaves as it is (`unreserved`); everything else is escaped.
    const ESCAPED: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    let is_way = matches!(text, "" | "." | "..");
    (!is_way).then(|| percent_encoding::utf8_percent_encode(text, ESCAPED).to_string())
}

/// A URL as the client takes it.
#[cfg(test)]
pub(crate) fn normalised(url: &str) -> String {
    reqwest::Url::parse(url).unwrap().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::fake_app::FakeApp;
    use http_body_util::Full;
    use proptest::prelude::*;

    fn client() -> HttpClient {
        let trust = Trust {
            skip_verification: true,
            ..Trust::default()
        };
        HttpClient::new(&trust).unwrap()
    }

    #[tokio::test]
    async fn reads_answers_up_to_their_limit_and_follows_no_redirect() {
        let app = FakeApp::answering(|request| {
            let response = Response::builder().header("location", "/elsewhere");
            let status = if request.uri.path() == "/moved" {
                307
            } else {
                200
            };
            response
                .status(status)
                .body(Full::new(Bytes::from(vec![b'x'; 100])))
                .unwrap()
        })
        .await;
        let client = client();
        let send = |path: &str, limit| {
            let uri = format!("http://{}{path}", app.address());
            client.send(Request::get(uri).body(Bytes::new()).unwrap(), limit)
        };
        assert_eq!(send("/", 100).await.unwrap().body().len(), 100);
        let error = send("/", 99).await.unwrap_err();
        assert_eq!(error.to_string(), "the answer has more than 99 bytes");
        assert_eq!(send("/moved", 100).await.unwrap().status(), 307);
        assert_eq!(app.recorded().len(), 3);
    }

    proptest! {
        #[test]
        fn a_segment_stays_one_segment(text in ".*") {
            match path_segment(&text) {
                None => prop_assert!(matches!(text.as_str(), "" | "." | "..")),
                Some(segment) => {
                    let url = format!("http://h/a/{segment}/b");
                    let url = reqwest::Url::parse(&url).unwrap();
                    let segments: Vec<_> = url.path_segments().unwrap().collect();
                    prop_assert_eq!(segments, ["a", &segment, "b"]);
                    let back = percent_encoding::percent_decode_str(&segment);
                    prop_assert_eq!(back.decode_utf8().unwrap(), text);
                }
            }
        }
    }
}
