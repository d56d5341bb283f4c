//! Requests to the server.

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use tokio::sync::OnceCell;

use super::trust::TrustFiles;
use crate::base::secret::Secret;
use crate::components::http_client::{Failed, HttpClient, refused};
use crate::components::secret_store::StoreError;
use crate::process::tasks::with_causes;

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
/// Every client of Vault sends it: a proxy may refuse requests without it, which a browser or
/// another program was led to make.
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");
/// How many redirects of one request are followed: a standby names the active server.
const MAX_REDIRECTS: usize = 3;

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    scheme: Scheme,
    authority: Authority,
    /// What stands before the paths of the API, without a slash at its end.
    base: String,
}

impl Address {
    /// `None` for what is no URL of a server.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.contains(['@', '#', '?']) {
            return None;
        }
        let parts = text.parse::<Uri>().ok()?.into_parts();
        let scheme = parts.scheme?;
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return None;
        }
        let path = parts.path_and_query?;
        Some(Self {
            scheme,
            authority: parts.authority?,
            base: path.path().trim_end_matches('/').to_owned(),
        })
    }

    /// The path is escaped already.
    fn uri(&self, path: &str) -> Result<Uri, StoreError> {
        let path = format!("{}/v1/{path}", self.base);
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path);
        uri.build()
            .map_err(|_| StoreError::Failed("the name makes no URL".to_owned()))
    }
}

/// One request of the API.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// What stands after `/v1/`, escaped, its query with it.
    pub(super) path: &'a str,
    pub(super) token: Option<&'a Secret>,
    pub(super) body: Bytes,
}

impl<'a> Call<'a> {
    pub(super) fn get(path: &'a str, token: &'a Secret) -> Self {
        Self {
            method: Method::GET,
            path,
            token: Some(token),
            body: Bytes::new(),
        }
    }
}

/// The server. Its client is made when it is first asked, since most apps never ask.
pub(super) struct Server {
    pub(super) address: Address,
    pub(super) namespace: Option<HeaderValue>,
    pub(super) trust: TrustFiles,
    pub(super) max_answer_bytes: usize,
    pub(super) client: OnceCell<HttpClient>,
}

impl Server {
    /// Sends a request, wherever the active server is. What a later try may heal is an error; any
    /// other answer is handed back, whatever its status.
    pub(super) async fn send(&self, call: &Call<'_>) -> Result<Response<Bytes>, StoreError> {
        let client = self.client.get_or_try_init(|| self.make_client()).await?;
        let mut uri = self.address.uri(call.path)?;
        for _ in 0..=MAX_REDIRECTS {
            let request = self.request(call, uri.clone())?;
            let answer = client.send(request, self.max_answer_bytes).await;
            let answer = answer.map_err(explained)?;
            match answer.status() {
                StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {
                    uri = redirected(&uri, answer.headers())?;
                }
                _ => return judged(&uri, answer),
            }
        }
        let text = format!("the server redirects more than {MAX_REDIRECTS} times");
        Err(StoreError::Failed(text))
    }

    async fn make_client(&self) -> Result<HttpClient, StoreError> {
        let trust = self.trust.read().await.map_err(StoreError::Failed)?;
        HttpClient::new(&trust).map_err(|error| StoreError::Failed(with_causes(&error)))
    }

    fn request(&self, call: &Call<'_>, uri: Uri) -> Result<Request<Bytes>, StoreError> {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST, HeaderValue::from_static("true"));
        if let Some(namespace) = &self.namespace {
            headers.insert(NAMESPACE, namespace.clone());
        }
        if let Some(token) = call.token {
            headers.insert(TOKEN, token_header(token)?);
        }
        let mut request = Request::new(call.body.clone());
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

fn token_header(token: &Secret) -> Result<HeaderValue, StoreError> {
    // Exposed to the server that it is for.
    let mut header = HeaderValue::from_str(token.expose()).map_err(|_| {
        StoreError::Unauthenticated("the token has characters that no token has".to_owned())
    })?;
    header.set_sensitive(true);
    Ok(header)
}

/// Where a redirect leads: from plain HTTP to both, from TLS to TLS only.
fn redirected(from: &Uri, headers: &HeaderMap) -> Result<Uri, StoreError> {
    let location = headers.get(http::header::LOCATION);
    let location = location.and_then(|location| location.to_str().ok());
    let to = location.and_then(|location| location.parse::<Uri>().ok());
    let failed = |text: &str| Err(StoreError::Failed(text.to_owned()));
    let Some(to) = to else {
        return failed("the server redirects to nowhere");
    };
    let mut parts = to.into_parts();
    match (&parts.scheme, &parts.authority) {
        // Only a path: on the same server.
        (None, None) => {
            parts.scheme = from.scheme().cloned();
            parts.authority = from.authority().cloned();
        }
        (Some(scheme), Some(authority)) if !authority.as_str().contains('@') => {
            let is_downgrade = from.scheme() == Some(&Scheme::HTTPS) && *scheme != Scheme::HTTPS;
            if is_downgrade || (*scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) {
                return failed("the server redirects from https to another scheme");
            }
        }
        _ => return failed("the server redirects to no URL"),
    }
    Uri::from_parts(parts).or_else(|_| failed("the server redirects to no URL"))
}

/// Why there is no answer, with what to do about it where that is plain.
fn explained(failed: Failed) -> StoreError {
    let Failed::Unreachable(text) = failed else {
        return failed.into();
    };
    // A CA that was made anew under its old name gives a bad signature.
    let is_foreign = text.contains("UnknownIssuer") || text.contains("BadSignature");
    let advice = if is_foreign {
        "; no CA certificate of \"caPem\", \"caPath\", \"caCert\" or the system signed the server's"
    } else if text.contains("not valid for name") || text.contains("NotValidForName") {
        "; name the server with \"tlsServerName\" as its certificate does"
    } else if text.contains("corrupt message") {
        "; it may speak no TLS at the port of \"vaultAddr\""
    } else {
        ""
    };
    Failed::Unreachable(format!("{text}{advice}")).into()
}

/// An answer that a later try may heal is an error, as is one to the wrong scheme.
fn judged(uri: &Uri, answer: Response<Bytes>) -> Result<Response<Bytes>, StoreError> {
    let (status, body) = (answer.status(), answer.body());
    let says = |words: &[u8]| body.windows(words.len()).any(|window| window == words);
    let is_plain = uri.scheme() == Some(&Scheme::HTTP);
    if status == StatusCode::BAD_REQUEST && is_plain && says(b"request to an HTTPS server") {
        let text = "the server speaks TLS: begin \"vaultAddr\" with \"https://\"";
        return Err(StoreError::Failed(text.to_owned()));
    }
    // It says so with 400, for a moment after the engine was mounted.
    if status == StatusCode::BAD_REQUEST && says(b"Upgrading from non-versioned") {
        return Err(StoreError::Unavailable {
            text: "the engine is being made one of version 2".to_owned(),
            retry_after: None,
        });
    }
    let text = match status {
        StatusCode::SERVICE_UNAVAILABLE if says(b"sealed") => {
            "the server is sealed; it answers when it is unsealed".to_owned()
        }
        _ => format!("the server answered {status}"),
    };
    match refused(status, answer.headers(), text) {
        temporary @ StoreError::Unavailable { .. } => Err(temporary),
        _ => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;
    use crate::components::secret_store::vault::trust::Roots;
    use crate::testing::fake_app::{FakeApp, Recorded};

    #[test]
    fn an_address_is_a_url_of_a_server() {
        for (text, uri) in [
            ("https://v:8200", Some("https://v:8200/v1/x?list=true")),
            ("HTTP://v/", Some("http://v/v1/x?list=true")),
            (
                "http://[::1]:8200",
                Some("http://[::1]:8200/v1/x?list=true"),
            ),
            ("https://h/vault/", Some("https://h/vault/v1/x?list=true")),
            ("v:8200", None),
            ("v", None),
            ("/v", None),
            ("unix:///s", None),
            ("https://user@v", None),
            ("https://v?x", None),
            ("https://v#x", None),
            ("", None),
        ] {
            let address = Address::parse(text);
            let found = address.map(|address| address.uri("x?list=true").unwrap().to_string());
            assert_eq!(found.as_deref(), uri, "{text}");
        }
    }

    #[test]
    fn a_redirect_never_leaves_tls() {
        for (from, location, to) in [
            (
                "https://a/v1/x",
                "https://b:1/v1/x?v",
                Some("https://b:1/v1/x?v"),
            ),
            ("http://a/v1/x", "http://b/v1/x", Some("http://b/v1/x")),
            ("http://a/v1/x", "https://b/v1/x", Some("https://b/v1/x")),
            ("https://a/v1/x", "/v1/y", Some("https://a/v1/y")),
            ("https://a/v1/x", "http://a/v1/x", None),
            ("https://a/v1/x", "ftp://a/v1/x", None),
            ("http://a/v1/x", "file:///etc/passwd", None),
            ("https://a/v1/x", "https://u@b/v1/x", None),
            ("https://a/v1/x", "", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(http::header::LOCATION, location.parse().unwrap());
            let found = redirected(&from.parse().unwrap(), &headers);
            let found = found.ok().map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), to, "{from} to {location}");
        }
        assert!(redirected(&"http://a/".parse().unwrap(), &HeaderMap::new()).is_err());
    }

    #[tokio::test]
    async fn follows_a_standby_to_the_active_server_and_no_circle() {
        let answer = |location: String| {
            move |_: &Recorded| {
                let response = Response::builder()
                    .status(307)
                    .header("location", &location);
                response.body(Full::default()).unwrap()
            }
        };
        let active = FakeApp::start().await;
        let to_active = format!("http://{}/v1/secret/data/x", active.address());
        let standby = FakeApp::answering(answer(to_active)).await;
        let circle = FakeApp::answering(answer("/v1/x".to_owned())).await;
        let server = |app: &FakeApp| Server {
            address: Address::parse(&format!("http://{}", app.address())).unwrap(),
            namespace: Some(HeaderValue::from_static("team")),
            trust: TrustFiles {
                roots: Roots::System,
                server_name: None,
                skip_verification: true,
            },
            max_answer_bytes: 1000,
            client: OnceCell::new(),
        };
        let token = Secret::new("t");
        let call = Call::get("secret/data/x", &token);
        assert_eq!(server(&standby).send(&call).await.unwrap().status(), 200);
        let asked = active.recorded();
        assert_eq!(asked[0].uri.path(), "/v1/secret/data/x");
        for (name, value) in [
            ("x-vault-token", "t"),
            ("x-vault-namespace", "team"),
            ("x-vault-request", "true"),
        ] {
            assert_eq!(asked[0].header(name), [value]);
        }
        let error = server(&circle).send(&call).await.unwrap_err();
        assert_eq!(error.to_string(), "the server redirects more than 3 times");
        assert_eq!(circle.recorded().len(), 4);
    }

    #[test]
    fn tells_what_a_later_try_may_heal() {
        let upgrading = r#"{"errors": ["Upgrading from non-versioned to versioned data. This"]}"#;
        for (status, body, expected) in [
            (
                503,
                r#"{"errors": ["Vault is sealed"]}"#,
                Some("the server is sealed; it answers"),
            ),
            (503, "", Some("the server answered 503 Service Unavailable")),
            (429, "", Some("the server answered 429 Too Many Requests")),
            (
                400,
                upgrading,
                Some("the engine is being made one of version 2"),
            ),
            (400, "", None),
            (403, "", None),
            (404, "", None),
        ] {
            let answer = Response::builder().status(status);
            let answer = answer.body(Bytes::from(body)).unwrap();
            match (judged(&Uri::from_static("http://v/"), answer), expected) {
                (Err(error @ StoreError::Unavailable { .. }), Some(expected)) => {
                    assert!(error.to_string().starts_with(expected), "{error}");
                }
                (found, expected) => assert!(found.is_ok() && expected.is_none(), "{status}"),
            }
        }
    }

    #[test]
    fn a_token_that_can_be_no_header_is_refused_without_its_text() {
        let error = token_header(&Secret::new("hunter2\n")).unwrap_err();
        assert!(matches!(error, StoreError::Unauthenticated(_)));
        assert!(!error.to_string().contains("hunter2"));
        assert!(token_header(&Secret::new("t")).unwrap().is_sensitive());
    }
}
