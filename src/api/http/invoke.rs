//! Service invocation over HTTP: by header, by basic authentication, or by path.

use std::borrow::Cow;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dapr::google::rpc;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use prost::Message as _;
use prost_types::Any;
use serde_json::{Value, json};

use crate::base::method_path::MethodPath;
use crate::blocks::error::Error;
use crate::blocks::invoke::headers::{APP_ID, to_http};
use crate::blocks::invoke::{
    self, GrpcAnswer, GrpcFailure, Head, Invoke, Message, invalid_method, missing_target,
};
use crate::process::body::boxed;

/// What the path of an invocation begins with.
const PREFIX: &str = "/v1.0/invoke/";

/// Calls the app that a request names, and hands its answer on as it comes: the bodies of HTTP
/// apps stream both ways. The path of the request is the escaped one.
///
/// # Errors
///
/// [`missing_target`] where the request names no app. Whatever the app answers is no error.
pub(super) async fn handle(
    invoke: &Invoke,
    request: Request<Body>,
) -> Result<Response<Body>, Error> {
    let (head, body) = request.into_parts();
    let (target, path) = find_target(&head.headers, head.uri.path()).ok_or_else(missing_target)?;
    let path = MethodPath::from_encoded(path).map_err(|error| invalid_method(&target, &error))?;
    let message = Message {
        head: Head {
            path,
            method: Some(head.method),
            query: head.uri.query().map(str::to_owned),
            headers: head.headers,
            type_url: String::new(),
            over_http: true,
            deadline: None,
        },
        body: boxed(body),
    };
    Ok(match invoke.call(&target, message).await? {
        invoke::Answer::Http(answer) => answer.map(Body::new),
        invoke::Answer::Grpc(answer) => from_grpc(answer),
    })
}

/// The answer of an app that speaks gRPC: the bytes of its message, or its status as JSON.
fn from_grpc(answer: GrpcAnswer) -> Response<Body> {
    let mut headers = answer.headers;
    to_http(&mut headers);
    let (status, content_type, body) = match answer.outcome {
        Ok(message) => {
            let data = message.data.map(|data| data.value).unwrap_or_default();
            (StatusCode::OK, message.content_type, Body::from(data))
        }
        Err(failure) => {
            let body = Body::from(status_json(&failure).to_string());
            let content_type = "application/json".to_owned();
            (http_status(failure.code), content_type, body)
        }
    };
    if let Ok(content_type) = HeaderValue::try_from(content_type)
        && !content_type.is_empty()
    {
        headers.insert(CONTENT_TYPE, content_type);
    }
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// `google.rpc.Status` as JSON. Of a detail, the type and the encoded message stand there.
fn status_json(failure: &GrpcFailure) -> Value {
    let mut status = json!({"code": failure.code, "message": failure.message});
    let details = rpc::Status::decode(failure.details.clone()).unwrap_or_default();
    if !details.details.is_empty() {
        let detail = |any: &Any| {
            let value = STANDARD.encode(&any.value);
            json!({"@type": any.type_url, "value": value})
        };
        status["details"] = details.details.iter().map(detail).collect();
    }
    status
}

/// The HTTP status of a code of gRPC, as in Dapr and grpc-gateway.
fn http_status(code: i32) -> StatusCode {
    match code {
        0 => StatusCode::OK,
        1 => StatusCode::REQUEST_TIMEOUT,
        3 | 9 | 11 => StatusCode::BAD_REQUEST,
        4 => StatusCode::GATEWAY_TIMEOUT,
        5 => StatusCode::NOT_FOUND,
        6 | 10 => StatusCode::CONFLICT,
        7 => StatusCode::FORBIDDEN,
        8 => StatusCode::TOO_MANY_REQUESTS,
        12 => StatusCode::NOT_IMPLEMENTED,
        14 => StatusCode::SERVICE_UNAVAILABLE,
        16 => StatusCode::UNAUTHORIZED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The id of the app, and the path of its method, still escaped. The header goes before basic
/// authentication, and both before the path.
fn find_target<'a>(headers: &HeaderMap, path: &'a str) -> Option<(Cow<'a, str>, &'a str)> {
    let named = headers
        .get(APP_ID)
        .and_then(|id| id.to_str().ok())
        .filter(|id| !id.is_empty())
        .map(str::to_owned)
        .or_else(|| basic_auth_target(headers));
    match named {
        Some(id) => Some((Cow::Owned(id), path)),
        None => path_target(path),
    }
}

/// The password of basic authentication whose user is `dapr-app-id`.
fn basic_auth_target(headers: &HeaderMap) -> Option<String> {
    let (scheme, credentials) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (user, id) = decoded.split_once(':')?;
    let is_target = user.eq_ignore_ascii_case(APP_ID.as_str()) && !id.is_empty();
    is_target.then(|| id.to_owned())
}

/// `/v1.0/invoke/<id>/method/<path>`. An id may be escaped, so that it can hold slashes.
fn path_target(path: &str) -> Option<(Cow<'_, str>, &str)> {
    let rest = path.strip_prefix(PREFIX)?;
    // A path at the door has lost its last slash, so that the empty method ends with the word.
    let (id, method) = rest
        .split_once("/method/")
        .or_else(|| Some((rest.strip_suffix("/method")?, "")))?;
    if id.is_empty() {
        return None;
    }
    Some((percent_decode_str(id).decode_utf8_lossy(), method))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn finds_the_target_in_a_path() {
        for (path, expected) in [
            ("/v1.0/invoke/app/method/x", Some(("app", "x"))),
            ("/v1.0/invoke/app/method/a%2Fb", Some(("app", "a%2Fb"))),
            ("/v1.0/invoke/app/method", Some(("app", ""))),
            (
                "/v1.0/invoke/app/method/method/x",
                Some(("app", "method/x")),
            ),
            ("/v1.0/invoke/a%2Db/method/x", Some(("a-b", "x"))),
            (
                "/v1.0/invoke/http%3A%2F%2Fhost/method/x",
                Some(("http://host", "x")),
            ),
            (
                "/v1.0/invoke/http:/host/method/x",
                Some(("http:/host", "x")),
            ),
            ("/v1.0/invoke/app", None),
            ("/v1.0/invoke/app/x", None),
            ("/v1.0/invoke/method/x", None),
            ("/v1.0/invoke/app%2Fmethod%2Fx", None),
            ("/v1.0/invoke", None),
            ("/v1.0/other", None),
            ("/", None),
        ] {
            let found = find_target(&HeaderMap::new(), path);
            let expected = expected.map(|(id, path)| (Cow::Borrowed(id), path));
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn a_header_goes_before_basic_authentication_and_both_before_the_path() {
        let path = "/v1.0/invoke/by-path/method/x";
        let basic = format!("Basic {}", STANDARD.encode("Dapr-App-Id:by-auth"));
        let other = format!("Basic {}", STANDARD.encode("user:password"));
        for (header, auth, id, method) in [
            (None, None, "by-path", "x"),
            (Some("by-header"), None, "by-header", path),
            (Some("by-header"), Some(&basic), "by-header", path),
            (None, Some(&basic), "by-auth", path),
            (Some(""), Some(&basic), "by-auth", path),
            (None, Some(&other), "by-path", "x"),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(id) = header {
                headers.insert(APP_ID, HeaderValue::from_static(id));
            }
            if let Some(auth) = auth {
                headers.insert(AUTHORIZATION, HeaderValue::from_str(auth).unwrap());
            }
            let found = find_target(&headers, path).unwrap();
            assert_eq!(found, (Cow::Borrowed(id), method));
        }
    }
}
