//! An app over gRPC whose answers a test decides, by the paths of its methods.

use std::sync::{Arc, Mutex};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use sidegate::app_channel::{AppChannel, AppProtocol};
use sidegate::process::tasks::BoxError;

use crate::app_channel::{Answer, Server, config};

/// A call as the app got it.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) path: String,
    pub(super) metadata: HeaderMap,
    message: Bytes,
}

impl Call {
    pub(super) fn message<M: prost::Message + Default>(&self) -> M {
        M::decode(self.message.clone()).unwrap()
    }
}

/// What it answers: a message, or a code.
pub(super) type Reply = Result<Vec<u8>, u16>;

pub(super) fn reply(message: &impl prost::Message) -> Reply {
    Ok(message.encode_to_vec())
}

pub(super) struct GrpcApp {
    server: Server,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl GrpcApp {
    pub(super) async fn answering(answer: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let (log, answer) = (Arc::clone(&calls), Arc::new(answer));
        let server = Server::start(move |request: Request<Incoming>| {
            let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
            async move {
                let (head, body) = request.into_parts();
                // One message, behind the flag and the length that gRPC puts before it.
                let body = body.collect().await.unwrap().to_bytes();
                let call = Call {
                    path: head.uri.path().to_owned(),
                    metadata: head.headers,
                    message: body.slice(5..),
                };
                let reply = answer(&call);
                log.lock().unwrap().push(call);
                response(reply)
            }
        })
        .await;
        Self { server, calls }
    }

    pub(super) fn channel(&self) -> AppChannel {
        AppChannel::new(config(AppProtocol::Grpc, self.server.address)).unwrap()
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

fn response(reply: Reply) -> Answer {
    let mut trailers = HeaderMap::new();
    let mut frames: Vec<Result<Frame<Bytes>, BoxError>> = Vec::new();
    match reply {
        Ok(message) => {
            let mut data = BytesMut::new();
            data.put_u8(0);
            data.put_u32(message.len().try_into().unwrap());
            data.put_slice(&message);
            frames.push(Ok(Frame::data(data.freeze())));
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
        }
        Err(code) => {
            trailers.insert("grpc-status", HeaderValue::from(code));
            trailers.insert("grpc-message", HeaderValue::from_static("why"));
        }
    }
    frames.push(Ok(Frame::trailers(trailers)));
    let body = UnsyncBoxBody::new(StreamBody::new(stream::iter(frames)));
    let mut response = Response::new(body);
    let content_type = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", content_type);
    response
}
