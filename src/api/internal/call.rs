//! `CallLocalStream` and `CallLocal`.

use std::sync::Arc;

use futures_util::stream::{self, Stream, StreamExt as _};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Request, Response};
use hyper::body::Incoming;
use prost_types::Any;
use tonic::Status;
use tonic::body::Body;
use tonic::codec::{EncodeBody, SingleMessageCompressionOverride, Streaming};
use tonic_prost::{ProstDecoder, ProstEncoder};

use super::caller;
use crate::api::grpc::invoke::deadline;
use crate::api::grpc::status;
use crate::blocks::invoke::{Answer, Invoke};
use crate::peers::wire::{WireError, decode_call, encode_grpc, encode_http, values};
use crate::peers::{joined, pieces};
use crate::process::body::{self, collect, empty, whole};
use crate::proto::internals::{
    InternalInvokeRequest, InternalInvokeRequestStream, InternalInvokeResponse,
    InternalInvokeResponseStream,
};

/// Calls the own app with bodies that stream both ways. A message has at most `limit` bytes.
pub(super) async fn streaming(
    invoke: &Invoke,
    request: Request<Incoming>,
    limit: usize,
) -> Response<Body> {
    match answer(invoke, request, limit).await {
        Ok((head, body)) => respond(head, body),
        Err(status) => status.into_http(),
    }
}

async fn answer(
    invoke: &Invoke,
    request: Request<Incoming>,
    limit: usize,
) -> Result<(InternalInvokeResponse, body::Body), Status> {
    let (mut head, body) = request.into_parts();
    let mut messages: Streaming<InternalInvokeRequestStream> =
        Streaming::new_request(ProstDecoder::default(), body, None, Some(limit));
    let first = messages.message().await?;
    let first = first.ok_or_else(|| malformed(&WireError::Missing("call")))?;
    let call = first
        .request
        .ok_or_else(|| malformed(&WireError::Missing("call")))?;
    let length = values(&call.metadata, CONTENT_LENGTH.as_str());
    let is_announced = length.iter().any(|text| text != "0");
    let body = match first.payload {
        None if !is_announced => unannounced(messages).await?,
        payload => joined(payload, messages),
    };
    let mut message = decode_call(call, body).map_err(|error| malformed(&error))?;
    message.head.deadline = deadline(&mut head.headers);
    take_trace(&mut message.head.headers, &head.headers);
    let caller = caller(&head.extensions);
    match invoke.serve(caller.as_ref(), message).await {
        Err(error) => Err(status::failure(&error)),
        Ok(Answer::Http(answer)) => {
            let (head, body) = answer.into_parts();
            Ok((encode_http(head.status, &head.headers), body))
        }
        Ok(Answer::Grpc(answer)) => {
            let (head, body) = encode_grpc(answer);
            Ok((
                head,
                if body.is_empty() {
                    empty()
                } else {
                    whole(body)
                },
            ))
        }
    }
}

/// A body of which nothing is known yet. Most often there is none, and an app must not be sent a
/// GET with a body that then is empty: so the first piece is waited for.
async fn unannounced(
    mut messages: Streaming<InternalInvokeRequestStream>,
) -> Result<body::Body, Status> {
    match messages.message().await? {
        None => Ok(empty()),
        Some(InternalInvokeRequestStream {
            request: Some(_), ..
        }) => Err(Status::invalid_argument("a second head in the stream")),
        Some(message) => Ok(joined(message.payload, messages)),
    }
}

/// The call itself has the newer trace: the span of this sidecar, or that of its peer. In the
/// message is what came from the peer's client.
fn take_trace(headers: &mut HeaderMap, metadata: &HeaderMap) {
    const TRACE: &str = "traceparent";
    if let Some(trace) = metadata.get(TRACE) {
        headers.insert(TRACE, trace.clone());
    }
}

fn respond(head: InternalInvokeResponse, body: body::Body) -> Response<Body> {
    let messages = EncodeBody::new_server(
        ProstEncoder::default(),
        messages(head, body),
        None,
        SingleMessageCompressionOverride::default(),
        None,
    );
    let mut response = Response::new(Body::new(messages));
    let content_type = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn messages(
    head: InternalInvokeResponse,
    body: body::Body,
) -> impl Stream<Item = Result<InternalInvokeResponseStream, Status>> + Send {
    let first = InternalInvokeResponseStream {
        response: Some(head),
        payload: None,
    };
    let rest = pieces(body).map(|piece| {
        piece.map(|payload| InternalInvokeResponseStream {
            response: None,
            payload: Some(payload),
        })
    });
    stream::once(async { Ok(first) }).chain(rest)
}

/// Calls the own app with whole bodies, for sidecars that cannot stream.
pub(super) async fn unary(
    invoke: Arc<Invoke>,
    limit: usize,
    request: tonic::Request<InternalInvokeRequest>,
) -> Result<tonic::Response<InternalInvokeResponse>, Status> {
    let (metadata, extensions, call) = request.into_parts();
    let mut metadata = metadata.into_headers();
    let mut message = decode_call(call, empty()).map_err(|error| malformed(&error))?;
    message.head.deadline = deadline(&mut metadata);
    take_trace(&mut message.head.headers, &metadata);
    let caller = caller(&extensions);
    let answer = invoke.serve(caller.as_ref(), message).await;
    let (mut head, body) = match answer.map_err(|error| status::failure(&error))? {
        Answer::Grpc(answer) => encode_grpc(answer),
        Answer::Http(answer) => {
            let (head, body) = answer.into_parts();
            let body = collect(body, limit)
                .await
                .map_err(|error| Status::internal(format!("the answer of the app: {error}")))?;
            (encode_http(head.status, &head.headers), body)
        }
    };
    let message = head.message.get_or_insert_default();
    let type_url = message.data.take().unwrap_or_default().type_url;
    let value = body.into();
    message.data = Some(Any { type_url, value });
    Ok(tonic::Response::new(head))
}

fn malformed(error: &WireError) -> Status {
    Status::invalid_argument(error.to_string())
}
