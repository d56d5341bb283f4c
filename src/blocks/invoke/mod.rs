//! Service invocation. This build reaches one app, the sidecar's own; it never opens a connection
//! to any other host, whatever a caller names as its target.

pub mod headers;

pub use crate::app_channel::{GrpcAnswer, GrpcFailure};

use bytes::Bytes;
use dapr::dapr::proto::common::v1::http_extension::Verb;
use dapr::dapr::proto::common::v1::{HttpExtension, InvokeRequest};
use http::header::CONTENT_TYPE;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, Uri};
use prost_types::Any;

use super::error::{Error, Reason};
use crate::app_channel::{self, AppBody, AppChannel, RequestBody};
use crate::base::method_path::{MethodPath, MethodPathError};
use headers::Identity;

/// Calls methods of apps.
#[derive(Debug)]
pub struct Invoke {
    app: Option<AppChannel>,
    app_id: String,
    namespace: String,
    identity: Identity,
}

/// A call as a caller made it: nothing is stripped from the headers yet.
#[derive(Debug)]
pub struct Call<'a> {
    /// The id of the app, as `app` or `app.namespace`.
    pub target: &'a str,
    /// The path of its method.
    pub path: MethodPath,
    /// The HTTP method. Callers over gRPC may leave it out, for an app that speaks gRPC too.
    pub method: Option<Method>,
    /// The query, escaped, without `?`.
    pub query: Option<&'a str>,
    /// HTTP headers, or gRPC metadata with the content type of the message.
    pub headers: HeaderMap,
    /// The type of the body, where that is a protobuf message (`Any.type_url`); empty otherwise.
    pub type_url: String,
    /// The body.
    pub body: RequestBody,
}

/// The answer of an app, whatever its status, with the headers that its caller may see.
#[derive(Debug)]
pub enum Answer {
    /// Of an app that speaks HTTP.
    Http(Response<AppBody>),
    /// Of an app that speaks gRPC.
    Grpc(GrpcAnswer),
}

impl Invoke {
    /// Calls through `app`, where the sidecar has one. `namespace` may be empty.
    pub fn new(app: Option<AppChannel>, app_id: &str, namespace: &str) -> Self {
        Self {
            app,
            app_id: app_id.to_owned(),
            namespace: namespace.to_owned(),
            identity: Identity::new(app_id, namespace),
        }
    }

    /// Calls an app. Dropping the future, or the body of the answer, breaks the call to the app
    /// off.
    pub async fn call(&self, call: Call<'_>) -> Result<Answer, Error> {
        let target = call.target;
        let app = self.resolve(target)?;
        let failed = |error| channel_failure(target, error);
        if app.config().protocol.is_grpc() {
            let (metadata, message) = self.grpc_request(app, call).await?;
            let answer = app.invoke_grpc(metadata, message).await;
            let mut answer = answer.map_err(failed)?;
            headers::response_from_grpc(&mut answer.headers);
            Ok(Answer::Grpc(answer))
        } else {
            let request = self.http_request(call)?;
            let mut answer = app.invoke_http(request).await.map_err(failed)?;
            headers::response_from_http(answer.headers_mut());
            Ok(Answer::Http(answer))
        }
    }

    /// The whole body of an answer, for a caller who cannot take it as a stream.
    pub async fn read_answer(&self, target: &str, body: AppBody) -> Result<Bytes, Error> {
        let body = self.resolve(target)?.read_answer(body).await;
        body.map_err(|error| match error {
            // The request was not too large: nothing that the caller sends differently helps.
            app_channel::Error::BodyTooLarge { .. } => {
                failure(Reason::InvokeFailed, target, format!("answer: {error}"))
            }
            error => channel_failure(target, error),
        })
    }

    /// The road to the target, where it is the own app.
    fn resolve(&self, target: &str) -> Result<&AppChannel, Error> {
        let (id, namespace) = target.split_once('.').unwrap_or((target, &self.namespace));
        // A URL or the name of an HTTPEndpoint has dots and slashes too; nothing here serves them.
        if namespace.contains('.') && !target.contains("://") {
            let text = format!("invalid app id {target}");
            return Err(failure(Reason::InvokeTargetUnknown, target, text));
        }
        if id != self.app_id || namespace != self.namespace {
            let text = format!("couldn't find service: {target}");
            return Err(failure(Reason::InvokeTargetUnknown, target, text));
        }
        self.app.as_ref().ok_or_else(|| {
            let text = "cannot invoke local endpoint: app channel not initialized";
            failure(Reason::AppChannelMissing, target, text)
        })
    }

    fn http_request(&self, mut call: Call<'_>) -> Result<Request<RequestBody>, Error> {
        let invalid = |text: &str| failure(Reason::InvokeMethodInvalid, call.target, text);
        let method = match call.method {
            Some(Method::CONNECT) => return Err(invalid("method CONNECT opens a tunnel")),
            Some(method) => method,
            None => return Err(invalid("invalid HTTP verb")),
        };
        let path = call.path.encoded();
        let target = match call.query {
            Some(query) => format!("/{path}?{query}"),
            None => format!("/{path}"),
        };
        let target = PathAndQuery::try_from(target)
            .map_err(|_| invalid("path and query make no HTTP request target"))?;
        headers::request_to_http(&mut call.headers, &self.identity);
        let mut request = Request::new(call.body);
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from(target);
        *request.headers_mut() = call.headers;
        Ok(request)
    }

    async fn grpc_request(
        &self,
        app: &AppChannel,
        mut call: Call<'_>,
    ) -> Result<(HeaderMap, InvokeRequest), Error> {
        let body = app.read_request(call.body).await;
        let body = body.map_err(|error| channel_failure(call.target, error))?;
        let content_type = call.headers.get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let message = InvokeRequest {
            method: call.path.as_str().to_owned(),
            data: Some(Any {
                type_url: call.type_url,
                value: body.into(),
            }),
            content_type: content_type.unwrap_or_default().to_owned(),
            http_extension: call.method.map(|method| HttpExtension {
                verb: Verb::from_str_name(method.as_str())
                    .unwrap_or(Verb::None)
                    .into(),
                querystring: call.query.unwrap_or_default().to_owned(),
            }),
        };
        headers::request_to_grpc(&mut call.headers, &self.identity);
        Ok((call.headers, message))
    }
}

/// A call that names no app.
pub fn missing_target() -> Error {
    Error::new(
        Reason::InvokeTargetMissing,
        "failed getting app id either from the URL path or the header dapr-app-id",
    )
}

/// A call of a method that is none.
pub fn invalid_method(target: &str, error: &MethodPathError) -> Error {
    failure(Reason::InvokeMethodInvalid, target, error.to_string())
}

fn channel_failure(target: &str, error: app_channel::Error) -> Error {
    let reason = match error {
        app_channel::Error::BodyTooLarge { .. } => Reason::BodyTooLarge,
        app_channel::Error::BodyRead => Reason::BodyRead,
        app_channel::Error::Unhealthy => {
            // Dapr's words, in which clients look for the second half.
            let text = format!("rpc error: code = Internal desc = {error}");
            return failure(Reason::AppUnhealthy, target, text);
        }
        _ => Reason::InvokeFailed,
    };
    let text = format!("error invoking app channel: {error}");
    failure(reason, target, text)
}

fn failure(reason: Reason, target: &str, text: impl AsRef<str>) -> Error {
    let text = text.as_ref();
    Error::new(
        reason,
        format!("failed to invoke, id: {target}, err: {text}"),
    )
}
