//! The gRPC client of other sidecars, with its pool of connections.

use std::time::Instant;

use futures_util::stream::{self, StreamExt as _};
use http::header::{CONTENT_TYPE, TE};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Request, Response, Uri, Version};
use hyper::body::Incoming;
use tonic::codec::{EncodeBody, Streaming};
use tonic_prost::{ProstDecoder, ProstEncoder};
use tracing::debug;

use super::identity::Mtls;
use super::message::Answer;
use super::pools::Pools;
use super::stream::{joined, pieces};
use super::wire::{AnswerHead, WireError, decode_answer, values};
use super::{Error, Peer};
use crate::base::grpc_timeout::{self, GRPC_TIMEOUT};
use crate::process::body::{Body, CollectError, boxed, collect};
use crate::process::tasks::with_causes;
use crate::proto::grpc_answer::GrpcFailure;
use crate::proto::internals::{
    CALL_LOCAL_STREAM, InternalInvokeRequest, InternalInvokeRequestStream,
    InternalInvokeResponseStream,
};

/// Room for what a message has besides the data of its body.
const MESSAGE_ROOM: usize = 256 * 1024;

/// Calls other sidecars. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pools: Pools,
    /// The most bytes of a message of an answer.
    max_message: usize,
}

impl Client {
    pub(super) fn new(max_body_bytes: usize, mtls: Option<Mtls>) -> Self {
        Self {
            pools: Pools::new(mtls),
            max_message: max_body_bytes.saturating_add(MESSAGE_ROOM),
        }
    }

    /// Calls a method of the app of the sidecar at an address. Both bodies stream.
    pub(super) async fn invoke(
        &self,
        peer: Peer<'_>,
        head: InternalInvokeRequest,
        body: Body,
        deadline: Option<Instant>,
    ) -> Result<Answer, Error> {
        let headers = metadata(&head, deadline);
        let mut request = Request::post(CALL_LOCAL_STREAM)
            .body(encoded(head, body))
            .map_err(|_| Error::Request)?;
        *request.headers_mut() = headers;
        let answer = self.send(peer, request).await?;
        self.read(answer).await
    }

    async fn read(&self, answer: Response<Incoming>) -> Result<Answer, Error> {
        let (head, body) = answer.into_parts();
        if let Some(status) = tonic::Status::from_header_map(&head.headers)
            && status.code() != tonic::Code::Ok
        {
            return Err(refused(&status));
        }
        let mut messages: Streaming<InternalInvokeResponseStream> = Streaming::new_response(
            ProstDecoder::default(),
            body,
            head.status,
            None,
            Some(self.max_message),
        );
        let first = messages.message().await.map_err(|status| broken(&status))?;
        let first = first.ok_or(WireError::Missing("answer"))?;
        let response = first.response.ok_or(WireError::Missing("head"))?;
        let body = joined(first.payload, messages);
        match decode_answer(response)? {
            AnswerHead::Http(head) => Ok(Answer::Http(head.map(|()| body))),
            AnswerHead::Grpc(mut answer) => {
                if let Ok(message) = &mut answer.outcome {
                    let data = collect(body, self.max_message).await;
                    let data = data.map_err(|error| match error {
                        CollectError::TooLarge { limit } => Error::TooLarge { limit },
                        CollectError::Broken => Error::Broken,
                    })?;
                    message.data.get_or_insert_default().value = data.into();
                }
                Ok(Answer::Grpc(answer))
            }
        }
    }

    /// Sends a request to the sidecar at an address, whatever its URI says besides path and query.
    pub(super) async fn send(
        &self,
        Peer { app, address }: Peer<'_>,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, Error> {
        let authority: Authority = address.as_str().parse().map_err(|_| Error::Request)?;
        let target = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::builder()
            .scheme(self.pools.scheme())
            .authority(authority)
            .path_and_query(target.ok_or(Error::Request)?)
            .build()
            .map_err(|_| Error::Request)?;
        *request.version_mut() = Version::HTTP_2;
        self.pools.send(app, request).await.map_err(|error| {
            let causes = with_causes(&error);
            debug!(
                error = causes,
                address = address.as_str(),
                "Call to a peer failed"
            );
            if is_of_tls(&error) {
                Error::Identity
            } else if error.is_connect() {
                Error::Connect
            } else {
                Error::Broken
            }
        })
    }
}

/// Whether a handshake failed, and not the road to the other side.
fn is_of_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<std::io::Error>();
        let inner = inner.and_then(std::io::Error::get_ref);
        if inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The metadata of the call itself.
fn metadata(head: &InternalInvokeRequest, deadline: Option<Instant>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    let trace = values(&head.metadata, "traceparent");
    if let Some(Ok(value)) = trace.first().map(HeaderValue::try_from) {
        headers.insert("traceparent", value);
    }
    if let Some(deadline) = deadline {
        let left = deadline.saturating_duration_since(Instant::now());
        let value = HeaderValue::try_from(grpc_timeout::format(left));
        headers.extend(value.ok().map(|value| {
            let name = http::HeaderName::from_static(GRPC_TIMEOUT);
            (name, value)
        }));
    }
    headers
}

fn encoded(head: InternalInvokeRequest, body: Body) -> Body {
    let first = InternalInvokeRequestStream {
        request: Some(head),
        payload: None,
    };
    let rest = pieces(body).map(|piece| {
        piece.map(|payload| InternalInvokeRequestStream {
            request: None,
            payload: Some(payload),
        })
    });
    let messages = stream::once(async { Ok(first) }).chain(rest);
    let body = EncodeBody::new_client(ProstEncoder::default(), messages, None, None);
    boxed(body)
}

/// The status that the other sidecar gave.
fn refused(status: &tonic::Status) -> Error {
    Error::Refused(GrpcFailure {
        code: status.code() as i32,
        message: status.message().to_owned(),
        details: bytes::Bytes::copy_from_slice(status.details()),
    })
}

/// The status of a stream that ended before its first message: of the other sidecar, or of a
/// connection that broke.
fn broken(status: &tonic::Status) -> Error {
    match std::error::Error::source(status) {
        Some(cause) => {
            debug!(error = %with_causes(cause), "The answer of a peer broke off");
            Error::Broken
        }
        None => refused(status),
    }
}
