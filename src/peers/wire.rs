//! Calls and answers in the form that they have between sidecars.

use bytes::Bytes;
use dapr::dapr::proto::common::v1::http_extension::Verb;
use dapr::dapr::proto::common::v1::{HttpExtension, InvokeRequest, InvokeResponse};
use dapr::google::rpc;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use prost::Message as _;
use prost_types::Any;

use super::message::{Head, Message};
use crate::base::method_path::{MethodPath, MethodPathError};
use crate::process::body::{Body, WithLength};
use crate::proto::grpc_answer::{GrpcAnswer, GrpcFailure};
use crate::proto::internals::{
    InternalInvokeRequest, InternalInvokeResponse, ListStringValue, Metadata, Status, V1,
};

/// What the names of the headers begin with that only a sidecar may set. Under another spelling
/// than this lower case they come from a client, past a sidecar that does not look.
const IDENTITY: [&str; 2] = ["dapr-caller-", "dapr-callee-"];

/// What the names of binary metadata end with.
const BINARY: &str = "-bin";

/// Why a message of a peer cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WireError {
    /// A part that every message has is not there.
    #[error("the message of the other sidecar has no {0}")]
    Missing(&'static str),
    /// The method is none.
    #[error(transparent)]
    Method(#[from] MethodPathError),
    /// An HTTP method that the protocol has no number for.
    #[error("HTTP method {0:?} cannot be sent to another sidecar")]
    Verb(String),
    /// A status that neither HTTP nor gRPC has.
    #[error("the other sidecar answered with status {0}")]
    Status(i32),
}

/// The head of a call, for the other sidecar.
pub fn encode_call(call: &Head) -> Result<InternalInvokeRequest, WireError> {
    let verb = match &call.method {
        None => Verb::None,
        Some(method) => Verb::from_str_name(method.as_str())
            .filter(|verb| *verb != Verb::None)
            .ok_or_else(|| WireError::Verb(method.to_string()))?,
    };
    let type_url = call.type_url.clone();
    let message = InvokeRequest {
        method: call.path.as_str().to_owned(),
        data: (!type_url.is_empty()).then(|| Any {
            type_url,
            value: Vec::new(),
        }),
        content_type: content_type(&call.headers),
        http_extension: Some(HttpExtension {
            verb: verb.into(),
            querystring: call.query.clone().unwrap_or_default(),
        }),
    };
    Ok(InternalInvokeRequest {
        ver: V1,
        metadata: encode_headers(&call.headers, call.over_http),
        message: Some(message),
    })
}

/// A call of another sidecar, with the body that belongs to it. A body in the message itself goes
/// before that one.
pub fn decode_call(call: InternalInvokeRequest, body: Body) -> Result<Message, WireError> {
    let message = call.message.ok_or(WireError::Missing("call"))?;
    let path = MethodPath::from_decoded(&message.method)?;
    let extension = message.http_extension.unwrap_or_default();
    let method = match Verb::try_from(extension.verb) {
        Ok(Verb::None) => None,
        Ok(verb) => verb.as_str_name().parse::<Method>().ok(),
        Err(_) => return Err(WireError::Verb(extension.verb.to_string())),
    };
    let Any { type_url, value } = message.data.unwrap_or_default();
    // Sidecars write the names of HTTP's headers with capitals, and those of metadata without.
    let is_http = |name: &String| name.bytes().any(|byte| byte.is_ascii_uppercase());
    let over_http = call.metadata.keys().any(is_http);
    let mut headers = decode_headers(call.metadata);
    set_content_type(&mut headers, &message.content_type);
    let body = if value.is_empty() {
        with_length(&headers, body)
    } else {
        crate::process::body::whole(value)
    };
    let head = Head {
        path,
        method,
        query: Some(extension.querystring).filter(|query| !query.is_empty()),
        headers,
        type_url,
        over_http,
        deadline: None,
    };
    Ok(Message { head, body })
}

/// The length that the caller announced, so that an app that cannot read chunked bodies gets it.
fn with_length(headers: &HeaderMap, body: Body) -> Body {
    let length = headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    match length {
        Some(length) if length > 0 && !http_body::Body::is_end_stream(&body) => {
            Body::new(WithLength::new(body, length))
        }
        _ => body,
    }
}

/// The head of the answer of an HTTP app.
pub fn encode_http(status: StatusCode, headers: &HeaderMap) -> InternalInvokeResponse {
    InternalInvokeResponse {
        status: Some(Status {
            code: status.as_u16().into(),
            ..Status::default()
        }),
        headers: encode_headers(headers, true),
        trailers: Metadata::new(),
        message: Some(InvokeResponse {
            data: None,
            content_type: content_type(headers),
        }),
    }
}

/// The head of the answer of a gRPC app, and its body.
pub fn encode_grpc(answer: GrpcAnswer) -> (InternalInvokeResponse, Bytes) {
    let headers = encode_headers(&answer.headers, false);
    let (status, message, body) = match answer.outcome {
        Ok(message) => {
            let Any { type_url, value } = message.data.unwrap_or_default();
            let data = (!type_url.is_empty()).then(|| Any {
                type_url,
                value: Vec::new(),
            });
            let content_type = message.content_type;
            let message = InvokeResponse { data, content_type };
            (Status::default(), message, Bytes::from(value))
        }
        Err(failure) => {
            let details = rpc::Status::decode(failure.details).unwrap_or_default();
            let status = Status {
                code: failure.code,
                message: failure.message,
                details: details.details,
            };
            (status, InvokeResponse::default(), Bytes::new())
        }
    };
    let response = InternalInvokeResponse {
        status: Some(status),
        headers,
        trailers: Metadata::new(),
        message: Some(message),
    };
    (response, body)
}

/// The head of an answer.
#[derive(Debug)]
pub enum AnswerHead {
    /// Of an app that speaks HTTP.
    Http(Response<()>),
    /// Of an app that speaks gRPC. The message has no data yet.
    Grpc(GrpcAnswer),
}

/// The head of the answer of another sidecar.
pub fn decode_answer(response: InternalInvokeResponse) -> Result<AnswerHead, WireError> {
    let status = response.status.ok_or(WireError::Missing("status"))?;
    let message = response.message.unwrap_or_default();
    let mut headers = decode_headers(response.headers);
    // An HTTP status has three digits, and the codes of gRPC end at 16.
    if status.code >= 100 {
        let bad = WireError::Status(status.code);
        let code = u16::try_from(status.code).ok();
        let code = code.and_then(|code| StatusCode::from_u16(code).ok());
        let code = code.filter(|code| !code.is_informational()).ok_or(bad)?;
        set_content_type(&mut headers, &message.content_type);
        let mut answer = Response::new(());
        *answer.status_mut() = code;
        *answer.headers_mut() = headers;
        return Ok(AnswerHead::Http(answer));
    }
    headers.extend(decode_headers(response.trailers));
    let outcome = match status.code {
        0 => Ok(message),
        code @ 1..=16 => Err(GrpcFailure {
            code,
            details: details(code, &status),
            message: status.message,
        }),
        code => return Err(WireError::Status(code)),
    };
    Ok(AnswerHead::Grpc(GrpcAnswer { headers, outcome }))
}

fn details(code: i32, status: &Status) -> Bytes {
    if status.details.is_empty() {
        return Bytes::new();
    }
    let whole = rpc::Status {
        code,
        message: status.message.clone(),
        details: status.details.clone(),
    };
    whole.encode_to_vec().into()
}

fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE);
    let value = value.and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

fn set_content_type(headers: &mut HeaderMap, content_type: &str) {
    headers.remove(CONTENT_TYPE);
    if let Ok(value) = HeaderValue::from_str(content_type)
        && !value.is_empty()
    {
        headers.insert(CONTENT_TYPE, value);
    }
}

/// The values of a header, whatever the spelling of its name.
pub fn values<'a>(metadata: &'a Metadata, name: &str) -> &'a [String] {
    let mut entries = metadata.iter();
    let found = entries.find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map_or(&[], |(_, list)| &list.values)
}

/// Dapr's sidecar looks for some headers of HTTP in Go's spelling only (`Accept`), and for what
/// sidecars write themselves in lower case only.
fn encode_headers(headers: &HeaderMap, over_http: bool) -> Metadata {
    let mut metadata = Metadata::new();
    for (name, value) in headers {
        let name = name.as_str();
        if name == CONTENT_TYPE {
            continue;
        }
        let is_own =
            IDENTITY.iter().any(|prefix| name.starts_with(prefix)) || name == "destination-app-id";
        let key = if over_http && !is_own {
            capitalised(name)
        } else {
            name.to_owned()
        };
        let text = if name.ends_with(BINARY) {
            padded(value)
        } else {
            text(value)
        };
        metadata.entry(key).or_default().values.push(text);
    }
    metadata
}

/// `x-own-name` as `X-Own-Name`.
fn capitalised(name: &str) -> String {
    let mut begins = true;
    let letters = name.chars().map(|letter| {
        let capital = begins;
        begins = letter == '-';
        if capital {
            letter.to_ascii_uppercase()
        } else {
            letter
        }
    });
    letters.collect()
}

/// Binary metadata, which is base64 with padding between sidecars, and may have none on the wire of
/// gRPC.
fn padded(value: &HeaderValue) -> String {
    let mut text = text(value);
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

/// A protobuf string is UTF-8. Bytes that are none are read as ISO 8859-1, as RFC 9110 (section
/// 5.5) says headers once were.
fn text(value: &HeaderValue) -> String {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.to_owned(),
        Err(_) => value.as_bytes().iter().copied().map(char::from).collect(),
    }
}

/// Names are compared in lower case. What cannot stand in a header is left out.
fn decode_headers(metadata: Metadata) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(metadata.len());
    for (name, ListStringValue { values }) in metadata {
        let lower = name.to_ascii_lowercase();
        if IDENTITY.iter().any(|prefix| lower.starts_with(prefix)) && lower != name {
            continue;
        }
        let Ok(name) = HeaderName::try_from(lower) else {
            continue;
        };
        let is_binary = name.as_str().ends_with(BINARY);
        for value in &values {
            let value = if is_binary {
                value.trim_end_matches('=')
            } else {
                value
            };
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.append(name.clone(), value);
            }
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::body::empty;

    fn head(over_http: bool, headers: &[(&'static str, &'static str)]) -> Head {
        let pair = |&(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        };
        Head {
            path: MethodPath::from_decoded("a b/c").unwrap(),
            method: Some(Method::PUT),
            query: Some("q=1".to_owned()),
            headers: headers.iter().map(pair).collect(),
            type_url: String::new(),
            over_http,
            deadline: None,
        }
    }

    fn keys(call: &InternalInvokeRequest) -> Vec<&str> {
        call.metadata.keys().map(String::as_str).collect()
    }

    #[test]
    fn names_have_the_spelling_that_daprs_sidecar_looks_for() {
        let headers = [
            ("accept", "a"),
            ("x-own", "b"),
            ("dapr-caller-app-id", "c"),
            ("destination-app-id", "d"),
        ];
        let call = encode_call(&head(true, &headers)).unwrap();
        let expected = [
            "Accept",
            "X-Own",
            "dapr-caller-app-id",
            "destination-app-id",
        ];
        assert_eq!(keys(&call), expected);
        let read = decode_call(call, empty()).unwrap().head;
        assert!(read.over_http);
        assert_eq!(read.headers, head(true, &headers).headers);
        let call = encode_call(&head(false, &headers)).unwrap();
        assert_eq!(keys(&call)[0], "accept");
        assert!(!decode_call(call, empty()).unwrap().head.over_http);
    }

    #[test]
    fn a_call_reads_as_it_was_written() {
        let call = encode_call(&head(true, &[("content-type", "text/x")])).unwrap();
        assert_eq!(call.ver, V1);
        let read = decode_call(call, empty()).unwrap().head;
        assert_eq!(read.path.as_str(), "a b/c");
        assert_eq!(
            (read.method, read.query),
            (Some(Method::PUT), Some("q=1".to_owned()))
        );
        assert_eq!(read.headers["content-type"], "text/x");
    }

    #[test]
    fn binary_metadata_is_padded_between_sidecars_only() {
        let call = encode_call(&head(false, &[("x-bin", "AQ"), ("y-bin", "AQID")])).unwrap();
        assert_eq!(values(&call.metadata, "X-Bin"), ["AQ=="]);
        assert_eq!(values(&call.metadata, "y-bin"), ["AQID"]);
        let read = decode_call(call, empty()).unwrap().head;
        assert_eq!(read.headers["x-bin"], "AQ");
    }

    #[test]
    fn what_no_sidecar_would_send_is_refused() {
        let status = |code| InternalInvokeResponse {
            status: Some(Status {
                code,
                ..Status::default()
            }),
            ..InternalInvokeResponse::default()
        };
        for code in [17, 99, 101, 1000, -1] {
            let error = decode_answer(status(code)).unwrap_err();
            assert_eq!(error, WireError::Status(code));
        }
        assert!(matches!(
            decode_answer(status(404)),
            Ok(AnswerHead::Http(_))
        ));
        assert!(matches!(decode_answer(status(16)), Ok(AnswerHead::Grpc(_))));
        let nothing = InternalInvokeResponse::default();
        assert_eq!(
            decode_answer(nothing).unwrap_err(),
            WireError::Missing("status")
        );
        let call = InternalInvokeRequest::default();
        assert_eq!(
            decode_call(call, empty()).unwrap_err(),
            WireError::Missing("call")
        );
    }
}
