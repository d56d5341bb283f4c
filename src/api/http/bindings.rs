//! `POST /v1.0/bindings/{name}`.

use std::collections::BTreeMap;

use axum::body::{Body, Bytes};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::{self, Answer};
use crate::blocks::bindings::output::{BindingAnswer, BindingRequest, Failure};
use crate::blocks::error::{Error, Reason};
use crate::process::trace::context::{TRACEPARENT, TRACESTATE};

/// The body of a call. Every field may be missing.
#[derive(Deserialize)]
struct Call {
    operation: Option<String>,
    data: Option<Box<RawValue>>,
    metadata: Option<BTreeMap<String, String>>,
}

/// The request in the body of a call. The data goes on as the JSON that it is, a string with its
/// quotes (Dapr 1.18). Of the headers only the trace goes along.
pub(super) fn request(body: &[u8], headers: &HeaderMap) -> Result<BindingRequest, Error> {
    let malformed = |problem: String| {
        let text = format!("failed deserializing HTTP body: {problem}");
        Error::new(Reason::MalformedRequest, text)
    };
    if body.trim_ascii().is_empty() {
        return Err(malformed("EOF".to_owned()));
    }
    let call: Call = serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
    let data = call.data.map(|data| data.get().to_owned());
    let mut metadata = call.metadata.unwrap_or_default();
    for name in [TRACEPARENT, TRACESTATE] {
        if let Some(Ok(value)) = headers.get(&name).map(HeaderValue::to_str) {
            metadata.insert(name.to_string(), value.to_owned());
        }
    }
    Ok(BindingRequest {
        operation: call.operation.unwrap_or_default(),
        data: data.map(Bytes::from).unwrap_or_default(),
        metadata,
    })
}

/// 200 with the data of an answer, 204 without any, or its failure. The metadata is in headers.
pub(super) fn answer(
    outcome: Result<BindingAnswer, Failure>,
    failed: impl FnOnce(&Error) -> Answer,
) -> Answer {
    let (mut answer, metadata) = match outcome {
        Ok(BindingAnswer { data, metadata }) => (with_data(data), metadata),
        Err(failure) => (failed(&failure.error), failure.metadata),
    };
    let headers = answer::metadata_headers(metadata);
    answer.headers_mut().extend(headers);
    answer
}

fn with_data(data: Option<Bytes>) -> Answer {
    let Some(data) = data else {
        return answer::no_content();
    };
    let mut answer = Answer::new(Body::from(data));
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}
