//! Calls of the app beside this sidecar.

use std::time::Instant;

use dapr::dapr::proto::common::v1::http_extension::Verb;
use dapr::dapr::proto::common::v1::{HttpExtension, InvokeRequest};
use http::header::{CONTENT_TYPE, HeaderMap};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use prost_types::Any;

use super::headers::{self, Identity};
use super::{Answer, Failure, Message};
use crate::app_channel::{self, AppChannel};
use crate::base::grpc_timeout::{self, GRPC_TIMEOUT};
use crate::blocks::error::Reason;
use crate::process::body::{Body, boxed};

pub(super) async fn call(
    app: &AppChannel,
    message: Message,
    identity: &Identity,
) -> Result<Answer, Failure> {
    if app.config().protocol.is_grpc() {
        let deadline = message.head.deadline;
        let (mut metadata, message) = grpc_request(app, message, identity).await?;
        set_timeout(&mut metadata, deadline);
        let answer = app.invoke_grpc(metadata, message).await;
        let mut answer = answer.map_err(failure)?;
        headers::response_from_grpc(&mut answer.headers);
        Ok(Answer::Grpc(answer))
    } else {
        let request = http_request(message, identity)?;
        let mut answer = app.invoke_http(request).await.map_err(failure)?;
        headers::response_from_http(answer.headers_mut());
        Ok(Answer::Http(answer.map(boxed)))
    }
}

pub(super) fn failure(error: app_channel::Error) -> Failure {
    let reason = match error {
        app_channel::Error::BodyTooLarge { .. } => Reason::BodyTooLarge,
        app_channel::Error::BodyRead => Reason::BodyRead,
        app_channel::Error::Unhealthy => {
            return Failure::new(Reason::AppUnhealthy, error.to_string());
        }
        _ => Reason::InvokeFailed,
    };
    Failure::new(reason, format!("error invoking app channel: {error}"))
}

fn invalid(text: &str) -> Failure {
    Failure::new(Reason::InvokeMethodInvalid, text)
}

fn http_request(message: Message, identity: &Identity) -> Result<Request<Body>, Failure> {
    let Message { mut head, body } = message;
    let method = match head.method {
        Some(Method::CONNECT) => return Err(invalid("method CONNECT opens a tunnel")),
        Some(method) => method,
        None => return Err(invalid("invalid HTTP verb")),
    };
    let path = head.path.encoded();
    let target = match head.query {
        Some(query) => format!("/{path}?{query}"),
        None => format!("/{path}"),
    };
    let target = PathAndQuery::try_from(target)
        .map_err(|_| invalid("path and query make no HTTP request target"))?;
    headers::request_to_http(&mut head.headers, identity);
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from(target);
    *request.headers_mut() = head.headers;
    Ok(request)
}

async fn grpc_request(
    app: &AppChannel,
    message: Message,
    identity: &Identity,
) -> Result<(HeaderMap, InvokeRequest), Failure> {
    let Message { mut head, body } = message;
    let body = app.read_request(body).await.map_err(failure)?;
    let content_type = head.headers.get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let request = InvokeRequest {
        method: head.path.as_str().to_owned(),
        data: Some(Any {
            type_url: head.type_url,
            value: body.into(),
        }),
        content_type: content_type.unwrap_or_default().to_owned(),
        http_extension: head.method.map(|method| HttpExtension {
            verb: Verb::from_str_name(method.as_str())
                .unwrap_or(Verb::None)
                .into(),
            querystring: head.query.unwrap_or_default(),
        }),
    };
    headers::request_to_grpc(&mut head.headers, identity, head.over_http);
    Ok((head.headers, request))
}

/// Tells the app how long its caller still waits.
fn set_timeout(metadata: &mut HeaderMap, deadline: Option<Instant>) {
    let Some(deadline) = deadline else {
        return;
    };
    let left = deadline.saturating_duration_since(Instant::now());
    if let Ok(value) = HeaderValue::try_from(grpc_timeout::format(left)) {
        metadata.insert(HeaderName::from_static(GRPC_TIMEOUT), value);
    }
}
