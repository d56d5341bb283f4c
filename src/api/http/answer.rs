//! The forms of answers.

use std::collections::BTreeMap;

use axum::body::{Body, Bytes};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;

use super::details;
use crate::api::status;
use crate::blocks::error::{Error, Reason};
use crate::blocks::pipeline::Rejection;

/// An answer of the HTTP API.
pub(crate) type Answer = Response<Body>;

/// What the names of headers begin with that tell the metadata of an answer.
const METADATA_PREFIX: &str = "metadata.";

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

#[derive(Serialize)]
struct ErrorBody<'a> {
    #[serde(rename = "errorCode")]
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<details::Detail<'a>>,
}

/// Dapr's JSON body of a failure, or nothing with 204.
pub(crate) fn failure(error: &Error) -> Answer {
    let row = status::of(error.reason());
    if row.http == StatusCode::NO_CONTENT {
        return no_content();
    }
    let body = ErrorBody {
        code: row.code,
        message: error.message(),
        details: details::of(error, &row),
    };
    json_with(row.http, &body)
}

/// A status with a JSON body.
pub(super) fn json_with(status: StatusCode, value: &impl Serialize) -> Answer {
    let mut answer = json(value);
    *answer.status_mut() = status;
    answer
}

/// 200 with a JSON body.
pub(crate) fn json(value: &impl Serialize) -> Answer {
    // Fails for maps whose keys are no strings; no answer of this API has one.
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    with_type(StatusCode::OK, JSON, Body::from(bytes))
}

/// 204.
pub(crate) fn no_content() -> Answer {
    let mut answer = Answer::new(Body::empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}

/// 401 in the words of Dapr, which clients compare.
pub(crate) fn unauthorized() -> Answer {
    text(StatusCode::UNAUTHORIZED, "invalid api token\n")
}

/// What a middleware answers.
pub(crate) fn rejected(rejection: Rejection) -> Answer {
    let mut answer = text(rejection.status, rejection.body);
    answer.headers_mut().extend(rejection.headers);
    answer
}

/// A path with an escape that is none.
pub(crate) fn bad_path() -> Answer {
    text(StatusCode::BAD_REQUEST, "400 Bad Request")
}

/// A path that the public port does not serve.
pub(crate) fn page_not_found() -> Answer {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

fn text(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = with_type(status, TEXT, Body::from(text));
    let headers = answer.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    answer
}

fn with_type(status: StatusCode, content_type: HeaderValue, body: Body) -> Answer {
    let mut answer = Answer::new(body);
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    answer
}

/// The metadata of an answer in headers. Entries that cannot stand in a header are left out.
pub(super) fn metadata_headers(
    metadata: BTreeMap<String, String>,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    metadata.into_iter().filter_map(|(name, value)| {
        let name = HeaderName::try_from(format!("{METADATA_PREFIX}{name}")).ok()?;
        Some((name, HeaderValue::try_from(value).ok()?))
    })
}

/// Leaves out the body of an answer to HEAD, and keeps its length. hyper does so over HTTP/1 only.
pub(super) fn drop_body(answer: &mut Answer) {
    if let Some(length) = answer.body().size_hint().exact() {
        let headers = answer.headers_mut();
        headers
            .entry(header::CONTENT_LENGTH)
            .or_insert(length.into());
    }
    *answer.body_mut() = Body::empty();
}

/// The whole body, where it is at most `limit` bytes.
pub(crate) async fn read(body: Body, limit: usize) -> Result<Bytes, Error> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::new(
            Reason::BodyTooLarge,
            format!("request body is above {limit} bytes"),
        )),
        Err(_) => Err(Error::new(
            Reason::BodyRead,
            "failed to read the request body",
        )),
    }
}
