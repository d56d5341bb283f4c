//! The gRPC client of other sidecars, with its pool of connections.

use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use http::header::{CONTENT_TYPE, TE};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, Request, Response, Uri, Version};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tonic::codec::{EncodeBody, Streaming};
use tonic_prost::{ProstDecoder, ProstEncoder};
use tracing::debug;

use super::Error;
use super::message::Answer;
use super::name_resolution::address::PeerAddress;
use super::stream::{joined, pieces};
use super::wire::{AnswerHead, WireError, decode_answer};
use crate::base::grpc_timeout::{self, GRPC_TIMEOUT};
use crate::process::body::{Body, CollectError, boxed, collect};
use crate::process::tasks::with_causes;
use crate::proto::grpc_answer::GrpcFailure;
use crate::proto::internals::{
    CALL_LOCAL_STREAM, InternalInvokeRequest, InternalInvokeRequestStream,
    InternalInvokeResponseStream,
};

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an idle connection is kept, and when the other side has to show that it is there
/// (Dapr 1.18).
const IDLE_TIMEOUT: Duration = Duration::from_secs(180);
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// The window of one stream: how much of an answer is held for a caller who reads slowly.
const STREAM_WINDOW: u32 = 256 * 1024;

/// The window of a connection, so large that its streams alone hold an answer back: all calls to a
/// sidecar share one connection, and slow readers must not stop the others.
const CONNECTION_WINDOW: u32 = 1024 * 1024 * 1024;

/// The most bytes of the headers of an answer.
const MAX_HEADER_BYTES: u32 = 64 * 1024;

/// Room for what a message has besides the data of its body.
const MESSAGE_ROOM: usize = 256 * 1024;

/// Calls other sidecars. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pool: Pool<HttpConnector, Body>,
    /// The most bytes of a message of an answer.
    max_message: usize,
}

impl Client {
    pub(super) fn new(max_body_bytes: usize) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let pool = Pool::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .http2_only(true)
            .http2_max_header_list_size(MAX_HEADER_BYTES)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .build(connector);
        Self {
            pool,
            max_message: max_body_bytes.saturating_add(MESSAGE_ROOM),
        }
    }

    /// Calls a method of the app of the sidecar at an address. Both bodies stream.
    pub(super) async fn invoke(
        &self,
        address: &PeerAddress,
        head: InternalInvokeRequest,
        body: Body,
        deadline: Option<Instant>,
    ) -> Result<Answer, Error> {
        let headers = metadata(&head, deadline);
        let mut request = Request::post(CALL_LOCAL_STREAM)
            .body(encoded(head, body))
            .map_err(|_| Error::Request)?;
        *request.headers_mut() = headers;
        let answer = self.send(address, request).await?;
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
        address: &PeerAddress,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, Error> {
        let authority: Authority = address.as_str().parse().map_err(|_| Error::Request)?;
        let target = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(authority)
            .path_and_query(target.ok_or(Error::Request)?)
            .build()
            .map_err(|_| Error::Request)?;
        *request.version_mut() = Version::HTTP_2;
        self.pool.request(request).await.map_err(|error| {
            debug!(error = %with_causes(&error), address = address.as_str(), "Call to a peer failed");
            if error.is_connect() {
                Error::Connect
            } else {
                Error::Broken
            }
        })
    }
}

/// The metadata of the call itself.
fn metadata(head: &InternalInvokeRequest, deadline: Option<Instant>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    if let Some(trace) = head.metadata.get("traceparent")
        && let Some(Ok(value)) = trace.values.first().map(HeaderValue::try_from)
    {
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
