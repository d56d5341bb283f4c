//! Calls of HTTP services without a sidecar: an HTTPEndpoint by its name, or a URL.

use std::sync::Arc;

use http::{Method, Response};

use super::headers;
use super::{Answer, Failure, Message, judge_answer, unreadable};
use crate::blocks::error::Reason;
use crate::endpoints::{self, Call, Endpoint, External, ExternalUrls, RawUrl};
use crate::peers::Replay;
use crate::process::body::{Body, Limited};
use crate::resiliency::{Policy, Verdict};

/// A service outside.
pub(super) enum Outside<'a> {
    /// A resource describes it.
    Endpoint(Arc<Endpoint>),
    /// The caller names it, where the policy lets it.
    Url(&'a External, RawUrl, ExternalUrls),
}

impl Outside<'_> {
    /// Calls a method of the service, with a body of at most so many bytes.
    pub(super) async fn call(
        &self,
        message: Message,
        policy: &Policy,
        max_body_bytes: usize,
    ) -> Result<Answer, Failure> {
        let Message { head, body } = message;
        let method = head
            .method
            .as_ref()
            .ok_or_else(|| Failure::new(Reason::InvokeMethodInvalid, "invalid HTTP verb"))?;
        let too_large = || {
            let text = format!("the body is larger than {max_body_bytes} bytes");
            Failure::new(Reason::BodyTooLarge, text)
        };
        let (body, exceeded) = Limited::new(body, max_body_bytes).ok_or_else(too_large)?;
        let keep = if policy.retries() { max_body_bytes } else { 0 };
        let body = Replay::new(Body::new(body), keep).await;
        let body = body.map_err(unreadable)?;
        let send = |_| {
            let call = Call {
                method: method.clone(),
                path: &head.path,
                query: head.query.as_deref(),
                headers: head.headers.clone(),
                body: body.attempt(),
            };
            Box::pin(self.send(call))
        };
        let judge = |answer: &Result<Answer, endpoints::Error>| match answer {
            Ok(answer) => judge_answer(answer, &body),
            Err(error) => judge_error(error, &body, method),
        };
        let answer = policy.run(send, judge).await?;
        answer.map_err(|error| {
            if exceeded.is_set() {
                return too_large();
            }
            let reason = match error {
                endpoints::Error::UrlsDenied | endpoints::Error::AddressRefused { .. } => {
                    Reason::InvokeDenied
                }
                endpoints::Error::Method(_) => Reason::InvokeMethodInvalid,
                _ => Reason::InvokeFailed,
            };
            Failure::new(reason, error.to_string())
        })
    }

    async fn send(&self, call: Call<'_>) -> Result<Answer, endpoints::Error> {
        let mut answer: Response<Body> = match self {
            Self::Endpoint(endpoint) => endpoint.send(call).await?,
            Self::Url(external, url, urls) => external.send(*urls, url, call).await?,
        };
        headers::response_from_http(answer.headers_mut());
        Ok(Answer::Http(answer))
    }
}

/// What a failed call says: there may be another one where nothing was sent, or what was may be
/// sent twice.
fn judge_error(error: &endpoints::Error, body: &Replay, method: &Method) -> Verdict {
    use endpoints::Error::{Connect, Exchange, Tls};
    match error {
        Connect { .. } | Tls { .. } if body.is_complete() => Verdict::Failure(None),
        Exchange { .. } if method.is_idempotent() && body.is_complete() => Verdict::Failure(None),
        Connect { .. } | Tls { .. } | Exchange { .. } => Verdict::Final,
        _ => Verdict::Success,
    }
}
