//! The way of Azure's SDK to the network: our one HTTP client, and what the SDK has no setting for.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::headers::{HeaderName, HeaderValue, Headers};
use azure_core::http::request::Body;
use azure_core::http::{
    AsyncRawResponse, ClientOptions, HttpClient as SdkClient, Request, RetryOptions, Transport, Url,
};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;

use super::config::Server;
use crate::components::http_client::{HttpClient, refused};
use crate::components::secret_store::StoreError;

/// The host of the metadata service of Azure's machines.
const METADATA_HOST: &str = "169.254.169.254";
/// The longest text of Entra that an error repeats.
const MAX_TEXT: usize = 300;

/// A road to one server.
#[derive(Debug)]
pub(super) struct Road {
    pub(super) client: HttpClient,
    /// The most bytes of an answer.
    pub(super) limit: usize,
    pub(super) to: Destination,
}

/// Where a road leads. It leads nowhere else, whatever URL the SDK comes to have.
#[derive(Clone, Debug)]
pub(super) enum Destination {
    Vault(Server),
    /// The token endpoint.
    Entra(Server),
    /// The identity of the machine, where another server may take the place of its own.
    Identity(Option<Url>),
}

/// An identity that the machine does not have, so that the next way is tried.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotThere(pub(super) String);

impl Road {
    /// The settings with which the SDK takes this road, once for each request.
    pub(super) fn options(self) -> ClientOptions {
        ClientOptions {
            retry: RetryOptions::none(),
            transport: Some(Transport::new(Arc::new(self))),
            ..ClientOptions::default()
        }
    }

    /// Whether anything answers at the end of it, whatever it answers.
    pub(super) async fn is_there(&self, url: &Url) -> bool {
        let Ok(url) = self.url(url) else {
            return false;
        };
        match http::Request::get(url.as_str()).body(Bytes::new()) {
            Ok(request) => self.client.send(request, self.limit).await.is_ok(),
            Err(_) => false,
        }
    }

    fn url(&self, url: &Url) -> Result<Url, StoreError> {
        let elsewhere =
            || StoreError::Failed("a link to another server, which is not followed".to_owned());
        match &self.to {
            Destination::Vault(server) | Destination::Entra(server) => {
                server.real(url).ok_or_else(elsewhere)
            }
            Destination::Identity(Some(instead)) if url.host_str() == Some(METADATA_HOST) => {
                let mut url = url.clone();
                let is_replaced = url.set_scheme(instead.scheme()).is_ok()
                    && url.set_host(instead.host_str()).is_ok()
                    && url.set_port(instead.port()).is_ok();
                is_replaced.then_some(url).ok_or_else(elsewhere)
            }
            Destination::Identity(_) => Ok(url.clone()),
        }
    }

    fn request(&self, request: &Request) -> Result<http::Request<Bytes>, StoreError> {
        let Body::Bytes(body) = request.body() else {
            return Err(StoreError::Failed("a request of unknown length".to_owned()));
        };
        let mut built = http::Request::builder()
            .method(request.method().as_str())
            .uri(self.url(request.url())?.as_str());
        for (name, value) in request.headers().iter() {
            let value = http::HeaderValue::from_str(value.as_str());
            let mut value = value
                .map_err(|_| StoreError::Failed("a credential is no text of ASCII".to_owned()))?;
            value.set_sensitive(matches!(
                name.as_str(),
                "authorization" | "x-identity-header" | "secret"
            ));
            built = built.header(name.as_str(), value);
        }
        built
            .body(body.clone())
            .map_err(|_| StoreError::Failed("a request that cannot be sent".to_owned()))
    }
}

#[async_trait]
impl SdkClient for Road {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let request = self.request(request).map_err(denied)?;
        let answer = match self.client.send(request, self.limit).await {
            Ok(answer) => answer,
            Err(failed) => {
                let error = StoreError::from(failed);
                return Err(match self.to {
                    Destination::Vault(_) => denied(told("the vault", error)),
                    Destination::Entra(_) => denied(told("the token endpoint", error)),
                    Destination::Identity(_) => denied(told("the identity endpoint", error)),
                });
            }
        };
        let (head, body) = answer.into_parts();
        if !head.status.is_success()
            && let Some(error) = self.failure(head.status, &head.headers, &body)
        {
            return Err(error);
        }
        let mut headers = Headers::new();
        for (name, value) in &head.headers {
            if let Ok(value) = value.to_str() {
                let name = HeaderName::from(name.as_str().to_owned());
                headers.insert(name, HeaderValue::from(value.to_owned()));
            }
        }
        let status = head.status.as_u16().into();
        Ok(AsyncRawResponse::from_bytes(status, headers, body))
    }
}

impl Road {
    /// The error of an answer that is no success, but for those of the vault that depend on what
    /// it was asked. The SDK would lose the status where the body is not as it expects.
    fn failure(
        &self,
        status: StatusCode,
        headers: &http::HeaderMap,
        body: &[u8],
    ) -> Option<azure_core::Error> {
        let answered = |who: &str| refused(status, headers, format!("{who} answered {status}"));
        match &self.to {
            Destination::Vault(_) => match answered("the vault") {
                error @ StoreError::Unavailable { .. } => Some(denied(error)),
                _ => None,
            },
            Destination::Entra(_) => Some(denied(match answered("the token endpoint") {
                error @ StoreError::Unavailable { .. } => error,
                _ => {
                    let said = said_by_entra(body);
                    let said =
                        said.unwrap_or_else(|| format!("the token endpoint answered {status}"));
                    StoreError::Unauthenticated(said)
                }
            })),
            // 410: the service is being updated (Microsoft's page on its errors).
            Destination::Identity(_) => Some(match answered("the identity endpoint") {
                error @ StoreError::Unavailable { .. } => denied(error),
                StoreError::Failed(text) if status == StatusCode::GONE => {
                    denied(StoreError::Unavailable {
                        text,
                        retry_after: None,
                    })
                }
                _ if status == StatusCode::BAD_REQUEST => azure_core::Error::new(
                    ErrorKind::Other,
                    NotThere("the machine does not have this identity".to_owned()),
                ),
                error => azure_core::Error::new(ErrorKind::Other, NotThere(error.to_string())),
            }),
        }
    }
}

fn told(who: &str, error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable { text, retry_after } => StoreError::Unavailable {
            text: format!("{who} cannot be reached: {text}"),
            retry_after,
        },
        error => StoreError::Failed(format!("{who}: {error}")),
    }
}

/// An error of ours as one of the SDK, of a kind that it does not retry.
pub(super) fn denied(error: StoreError) -> azure_core::Error {
    azure_core::Error::new(ErrorKind::Other, error)
}

/// The error of ours that an error of the SDK has among its causes.
pub(super) fn cause<E: std::error::Error + 'static>(error: &azure_core::Error) -> Option<&E> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

#[derive(Deserialize)]
struct EntraError {
    #[serde(default)]
    error_description: String,
}

/// What Entra says of a refusal, from its code on (`AADSTS7000215: …`) to where the ids of the
/// request begin. Whatever has no such code is not repeated.
fn said_by_entra(body: &[u8]) -> Option<String> {
    let EntraError { error_description } = serde_json::from_slice(body).ok()?;
    let (code, _) = error_description.split_once(':')?;
    let number = code.strip_prefix("AADSTS")?;
    let is_code = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let line = error_description.lines().next()?;
    let line = line.split(" Trace ID:").next()?.trim_end();
    let text: String = line
        .chars()
        .filter(|char| !char.is_control())
        .take(MAX_TEXT)
        .collect();
    is_code.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_of_entra_only_what_has_its_code() {
        let said = |text: &str| {
            let body = serde_json::json!({"error": "e", "error_description": text});
            said_by_entra(body.to_string().as_bytes())
        };
        for (text, expected) in [
            (
                "AADSTS700016: Application with identifier 'x' was not found. Trace ID: 1",
                Some("AADSTS700016: Application with identifier 'x' was not found."),
            ),
            (
                "AADSTS90002: Tenant 'x' not found.\r\nTrace ID: 1",
                Some("AADSTS90002: Tenant 'x' not found."),
            ),
            ("AADSTS: hunter2", None),
            ("AADSTSx1: hunter2", None),
            ("hunter2", None),
            ("", None),
        ] {
            assert_eq!(said(text).as_deref(), expected);
        }
        let long = format!("AADSTS1: {}", "x".repeat(1000));
        assert_eq!(said(&long).unwrap().len(), MAX_TEXT);
        assert_eq!(said_by_entra(b"hunter2"), None);
    }
}
