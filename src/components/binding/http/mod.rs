//! `bindings.http`: requests to an HTTP service.

use std::borrow::Cow;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use tokio::time::timeout;
use tracing::warn;

use super::{BindingAnswer, BindingFailure, BindingRequest, CREATE, Metadata, OutputBinding};
use crate::base::hop_by_hop;
use crate::base::truthy::is_truthy;
use crate::components::Error;
use crate::components::client_tls::{self, Given, Names};
use crate::components::http_client::{Failed, HttpClient};
use crate::components::metadata::{self, Reader};
use crate::process::log_rate::LogRate;
use crate::process::tasks::with_causes;
use address::Address;

mod address;

/// The most bytes of an answer, unless the component says otherwise (Dapr 1.18).
const MAX_ANSWER_BYTES: u64 = 100 << 20;
/// How long an answer may take, unless the component says otherwise.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5 * 60);
const TLS: Names = Names {
    authority: "MTLSRootCA",
    certificate: "MTLSClientCert",
    key: "MTLSClientKey",
};

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// The operations. There is no `trace`: its answer would show the security token.
const OPERATIONS: &[&str] = &[
    CREATE, "get", "head", "post", "put", "patch", "delete", "options",
];

/// Entries of a request's metadata that are headers, though they begin with a small letter.
const TRACE_HEADERS: [&str; 3] = ["traceparent", "tracestate", "baggage"];

/// The binding.
pub(in crate::components) struct Http {
    client: HttpClient,
    address: Address,
    token: Option<(HeaderName, HeaderValue)>,
    error_if_not_2xx: bool,
    response_timeout: Duration,
    max_answer_bytes: usize,
    failures: LogRate,
}

impl Http {
    /// Reads `url` and what goes with it.
    pub(in crate::components) async fn start(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let url = reader.required(&["url"], "url not set")?;
        let address = Address::parse(url);
        let address = address.map_err(|problem| Error::Init(format!("url: {problem}")))?;
        let error_if_not_2xx = reader.text(&["errorIfNot2XX"])?;
        let response_timeout = reader.duration(&["responseTimeout"])?;
        let max_answer_bytes = match reader.bytes(&["maxResponseBodySize"])? {
            Some(0) => u64::MAX,
            limit => limit.unwrap_or(MAX_ANSWER_BYTES),
        };
        Ok(Self {
            client: client(reader).await?,
            address,
            token: token(reader)?,
            error_if_not_2xx: error_if_not_2xx
                .is_none_or(|text| text.is_empty() || is_truthy(text)),
            response_timeout: response_timeout.unwrap_or(RESPONSE_TIMEOUT),
            max_answer_bytes: usize::try_from(max_answer_bytes).unwrap_or(usize::MAX),
            failures: LogRate::default(),
        })
    }

    fn request(&self, request: BindingRequest) -> Result<Request<Bytes>, BindingFailure> {
        let path = request.metadata.get("path").map_or("", String::as_str);
        let uri = self.address.below(path);
        let uri = uri.map_err(|problem| refused(format!("metadata \"path\": {problem}")))?;
        let method = match request.operation.as_str() {
            CREATE => Method::POST,
            operation => Method::from_bytes(operation.to_uppercase().as_bytes())
                .map_err(|_| refused(format!("invalid operation: {operation}")))?,
        };
        let has_body = matches!(method, Method::POST | Method::PUT | Method::PATCH);
        let mut headers = headers(&request.metadata)?;
        headers.entry(ACCEPT).or_insert(JSON);
        if has_body {
            headers.entry(CONTENT_TYPE).or_insert(JSON);
        }
        if let Some((name, token)) = &self.token {
            headers.insert(name, token.clone());
        }
        let body = if has_body { request.data } else { Bytes::new() };
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, BindingFailure> {
        let answer = self.client.send(request, self.max_answer_bytes);
        match timeout(self.response_timeout, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(failed)) => Err(self.failure(&failed)),
            Err(_) => Err(BindingFailure {
                text: format!("no answer within {:?}", self.response_timeout),
                metadata: Metadata::new(),
                may_heal: true,
            }),
        }
    }

    /// The client hears what kind of failure it was, and the log of which server.
    fn failure(&self, failed: &Failed) -> BindingFailure {
        if let Some(left_out) = self.failures.pass() {
            warn!(error = %failed, left_out, "An HTTP binding got no answer");
        }
        let (text, may_heal) = match failed {
            Failed::TooLarge { .. } => (failed.to_string(), false),
            Failed::Unreachable(_) => ("the server cannot be reached".to_owned(), true),
            Failed::Request(_) => ("the request cannot be sent".to_owned(), false),
        };
        BindingFailure {
            text,
            metadata: Metadata::new(),
            may_heal,
        }
    }
}

#[async_trait]
impl OutputBinding for Http {
    fn operations(&self) -> Cow<'_, [&str]> {
        OPERATIONS.into()
    }

    async fn invoke(&self, request: BindingRequest) -> Result<BindingAnswer, BindingFailure> {
        let asked = request.metadata.get("errorIfNot2XX");
        let asked = asked.filter(|text| !text.is_empty());
        let error_if_not_2xx = asked.map_or(self.error_if_not_2xx, |text| is_truthy(text));
        let answer = self.send(self.request(request)?).await?;
        let status = answer.status();
        let metadata = told(&answer);
        if error_if_not_2xx && !status.is_success() {
            return Err(BindingFailure {
                text: format!("received status code {}", status.as_u16()),
                metadata,
                may_heal: status.is_server_error() || matches!(status.as_u16(), 408 | 429),
            });
        }
        let data = answer.into_body();
        Ok(BindingAnswer {
            data: (!data.is_empty()).then_some(data),
            metadata,
        })
    }
}

/// A request that would fail again.
fn refused(text: String) -> BindingFailure {
    BindingFailure {
        text,
        metadata: Metadata::new(),
        may_heal: false,
    }
}

/// The headers that a request's metadata holds: entries that begin with a capital letter, as in
/// Dapr 1.18, and those of tracing. What belongs to the connection is left out.
fn headers(metadata: &Metadata) -> Result<HeaderMap, BindingFailure> {
    let mut headers = HeaderMap::new();
    for (name, value) in metadata {
        let is_capital = name.starts_with(|first: char| first.is_ascii_uppercase());
        if !is_capital && !TRACE_HEADERS.contains(&name.as_str()) {
            continue;
        }
        let header = HeaderName::try_from(name).ok();
        let value = HeaderValue::try_from(value).ok();
        let (Some(header), Some(value)) = (header, value) else {
            return Err(refused(format!("metadata {name:?} is not a header")));
        };
        headers.insert(header, value);
    }
    hop_by_hop::strip(&mut headers);
    headers.remove(HOST);
    headers.remove(CONTENT_LENGTH);
    Ok(headers)
}

/// The status and the headers of an answer, in the spelling that Go gives to names.
fn told(answer: &Response<Bytes>) -> Metadata {
    let status = answer.status();
    let mut told = Metadata::new();
    for name in answer.headers().keys() {
        let values = answer.headers().get_all(name).iter();
        let values: Vec<_> = values
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        told.insert(spelt(name), values.join(", "));
    }
    let reason = status.canonical_reason().unwrap_or_default();
    let line = format!("{} {reason}", status.as_u16());
    told.insert("statusCode".to_owned(), status.as_u16().to_string());
    told.insert("status".to_owned(), line.trim_end().to_owned());
    told
}

/// `content-type` as `Content-Type`.
fn spelt(name: &HeaderName) -> String {
    let words = name.as_str().split('-').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        format!("{}{rest}", first.to_ascii_uppercase())
    });
    words.collect::<Vec<_>>().join("-")
}

/// The header with the security token. Its name may go on with what stands before the token, as
/// `Authorization: Bearer` in Dapr's documentation.
fn token(reader: &mut Reader<'_>) -> Result<Option<(HeaderName, HeaderValue)>, Error> {
    let name = reader.text(&["securityTokenHeader"])?.unwrap_or_default();
    let token = reader.text(&["securityToken"])?.unwrap_or_default();
    if name.is_empty() && token.is_empty() {
        return Ok(None);
    }
    if name.is_empty() || token.is_empty() {
        let problem = "\"securityToken\" and \"securityTokenHeader\" go together: give both";
        return Err(Error::Init(problem.to_owned()));
    }
    let (name, prefix) = name.split_once(':').unwrap_or((name, ""));
    let invalid = |name, accepted| metadata::Error::Invalid { name, accepted };
    let name = HeaderName::try_from(name.trim())
        .map_err(|_| invalid("securityTokenHeader", "the name of a header"))?;
    let value = match prefix.trim() {
        "" => token.to_owned(),
        prefix => format!("{prefix} {token}"),
    };
    let mut value = HeaderValue::try_from(value)
        .map_err(|_| invalid("securityToken", "a text that a header can hold"))?;
    value.set_sensitive(true);
    Ok(Some((name, value)))
}

/// The client, with the certificates of the component. None of them is reloaded.
async fn client(reader: &mut Reader<'_>) -> Result<HttpClient, Error> {
    let Given { trust, identity } = client_tls::given(reader, TLS).await?;
    if reader
        .text(&["MTLSRenegotiation"])?
        .is_some_and(|text| text != "RenegotiateNever")
    {
        warn!("\"MTLSRenegotiation\" has no effect: TLS 1.3 has no renegotiation");
    }
    let client = match identity {
        None => HttpClient::new(&trust),
        Some(identity) => HttpClient::showing(&trust, &identity),
    };
    client.map_err(|error| Error::Init(with_causes(&error)))
}

#[cfg(test)]
mod tests;
