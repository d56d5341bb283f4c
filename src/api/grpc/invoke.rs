//! `InvokeService`.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use dapr::dapr::proto::common::v1::http_extension::Verb;
use dapr::dapr::proto::common::v1::{HttpExtension, InvokeRequest, InvokeResponse};
use dapr::dapr::proto::runtime::v1::InvokeServiceRequest;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use prost_types::Any;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::{Code, Extensions, Request, Response, Status};

use super::status;
use crate::base::grpc_timeout::{self, GRPC_TIMEOUT};
use crate::base::method_path::MethodPath;
use crate::blocks::error::{Error, Reason};
use crate::blocks::invoke::headers::to_metadata;
use crate::blocks::invoke::{
    Answer, GrpcAnswer, Head, Invoke, Message, invalid_method, missing_target,
};
use crate::process::body::whole;

/// The status of an HTTP app's answer.
const HTTP_STATUS: &str = "dapr-http-status";

/// What cannot stand in a query (RFC 3986, section 3.4), so that it has to be escaped; escapes
/// that are there stay.
const NOT_QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');

/// The most characters of an app's answer in the details of a status, as in Dapr.
const MAX_ERROR_TEXT: usize = 63;

/// Calls the app that the message names. Its answer is held in memory, up to the limit of bodies.
pub(super) async fn service(
    invoke: Arc<Invoke>,
    request: Request<InvokeServiceRequest>,
) -> Result<Response<InvokeResponse>, Status> {
    let failed = |error: Error| status::failure(&error);
    let (metadata, _, InvokeServiceRequest { id, message }) = request.into_parts();
    if id.is_empty() {
        return Err(failed(missing_target()));
    }
    let message = message.ok_or_else(|| {
        let text = "the call has no message: field \"message\" is not set";
        failed(Error::new(Reason::MalformedRequest, text))
    })?;
    let message = call(&id, metadata, message).map_err(failed)?;
    match invoke.call(&id, message).await.map_err(failed)? {
        Answer::Grpc(answer) => from_grpc(answer),
        Answer::Http(answer) => {
            let (head, body) = answer.into_parts();
            let body = invoke.read_answer(&id, body).await.map_err(failed)?;
            from_http(head.status, head.headers, body)
        }
    }
}

fn call(target: &str, metadata: MetadataMap, message: InvokeRequest) -> Result<Message, Error> {
    let path = MethodPath::from_decoded(&message.method)
        .map_err(|error| invalid_method(target, &error))?;
    let Any { type_url, value } = message.data.unwrap_or_default();
    let mut headers = metadata.into_headers();
    let deadline = deadline(&mut headers);
    // That of the call itself says nothing of the message in it.
    headers.remove(CONTENT_TYPE);
    let content_type = match message.content_type.as_str() {
        "" if !type_url.is_empty() => "application/x-protobuf",
        given => given,
    };
    if !content_type.is_empty() {
        let value = HeaderValue::from_str(content_type).map_err(|_| {
            let text = format!("content type {content_type:?} cannot be sent as a header");
            Error::new(Reason::MalformedRequest, text)
        })?;
        headers.insert(CONTENT_TYPE, value);
    }
    let head = Head {
        path,
        method: message.http_extension.as_ref().and_then(method),
        query: query(message.http_extension.as_ref()),
        headers,
        type_url,
        over_http: false,
        deadline,
    };
    let body = whole(value);
    Ok(Message { head, body })
}

/// When the caller stops waiting. The header is its own: what comes after is told anew.
pub(in crate::api) fn deadline(headers: &mut HeaderMap) -> Option<Instant> {
    let value = headers.remove(GRPC_TIMEOUT)?;
    let time = grpc_timeout::parse(value.to_str().ok()?)?;
    Instant::now().checked_add(time)
}

/// `None` for the verb `NONE` and for numbers that are none of the verbs.
fn method(extension: &HttpExtension) -> Option<Method> {
    match Verb::try_from(extension.verb) {
        Ok(Verb::None) | Err(_) => None,
        Ok(verb) => verb.as_str_name().parse().ok(),
    }
}

fn query(extension: Option<&HttpExtension>) -> Option<String> {
    let text = extension?.querystring.as_str();
    (!text.is_empty()).then(|| utf8_percent_encode(text, NOT_QUERY).to_string())
}

/// The answer of a gRPC app, as it is.
fn from_grpc(answer: GrpcAnswer) -> Result<Response<InvokeResponse>, Status> {
    let metadata = MetadataMap::from_headers(answer.headers);
    match answer.outcome {
        Ok(message) => Ok(Response::from_parts(metadata, message, Extensions::new())),
        Err(failure) => Err(Status::with_details_and_metadata(
            Code::from_i32(failure.code),
            failure.message,
            failure.details,
            metadata,
        )),
    }
}

/// The answer of an HTTP app: a message with 2xx, else a status.
fn from_http(
    status: StatusCode,
    mut headers: HeaderMap,
    body: Bytes,
) -> Result<Response<InvokeResponse>, Status> {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    to_metadata(&mut headers);
    let mut metadata = MetadataMap::from_headers(headers);
    let number: MetadataValue<Ascii> = MetadataValue::from(status.as_u16());
    metadata.insert(HTTP_STATUS, number);
    if status.is_success() {
        let value = body.into();
        let data = Some(Any {
            type_url: String::new(),
            value,
        });
        let message = InvokeResponse { data, content_type };
        return Ok(Response::from_parts(metadata, message, Extensions::new()));
    }
    let reason = status.canonical_reason().unwrap_or_default();
    let text = String::from_utf8_lossy(&body);
    let text: String = text.chars().take(MAX_ERROR_TEXT).collect();
    let mut failure = status::with_info(grpc_code(status), reason, status.as_u16(), &text);
    *failure.metadata_mut() = metadata;
    Err(failure)
}

/// The code of gRPC for an HTTP status other than 2xx, as in Dapr.
fn grpc_code(status: StatusCode) -> Code {
    match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        408 => Code::Cancelled,
        409 => Code::AlreadyExists,
        429 => Code::ResourceExhausted,
        501 => Code::Unimplemented,
        503 => Code::Unavailable,
        504 => Code::DeadlineExceeded,
        _ => Code::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_escaped_where_it_has_to_be_and_nowhere_else() {
        for (text, expected) in [
            ("", None),
            ("a=b&c=%20+d", Some("a=b&c=%20+d")),
            ("a=b c#d\r\n", Some("a=b%20c%23d%0D%0A")),
            ("a=ä", Some("a=%C3%A4")),
        ] {
            let extension = HttpExtension {
                verb: Verb::Get.into(),
                querystring: text.to_owned(),
            };
            assert_eq!(query(Some(&extension)).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn verbs_have_the_names_of_methods() {
        for (verb, expected) in [
            (0, None),
            (1, Some("GET")),
            (5, Some("DELETE")),
            (9, Some("PATCH")),
            (10, None),
        ] {
            let extension = HttpExtension {
                verb,
                querystring: String::new(),
            };
            let method = method(&extension);
            assert_eq!(method.as_ref().map(Method::as_str), expected, "{verb}");
        }
    }
}
