//! An application that writes down what it is asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use tokio::task::JoinSet;

use super::listening::listen;
use crate::process::serve::{Handshake, Plain};

/// A request as the application got it.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its method.
    pub method: Method,
    /// Its path and query, as sent.
    pub uri: Uri,
    /// The version of HTTP.
    pub version: Version,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its whole body.
    pub body: Bytes,
}

impl Recorded {
    /// All values of a header.
    pub fn header(&self, name: &str) -> Vec<&str> {
        let values = self.headers.get_all(name).into_iter();
        values.map(|value| value.to_str().unwrap()).collect()
    }
}

/// An HTTP application (HTTP/1 and cleartext HTTP/2) on a free port of 127.0.0.1. It ends when it
/// is dropped.
#[derive(Debug)]
pub struct FakeApp {
    address: SocketAddr,
    recorded: Arc<Mutex<Vec<Recorded>>>,
    _task: JoinSet<()>,
}

impl FakeApp {
    /// Answers everything with 200 and no body.
    pub async fn start() -> Self {
        Self::answering(|_| Response::default()).await
    }

    /// Answers with what `answer` makes of a request.
    pub async fn answering<F>(answer: F) -> Self
    where
        F: Fn(&Recorded) -> Response<Full<Bytes>> + Send + Sync + 'static,
    {
        Self::answering_over(Plain, answer).await
    }

    /// The same over connections that begin with a handshake, such as TLS.
    pub async fn answering_over<H, F>(handshake: H, answer: F) -> Self
    where
        H: Handshake,
        F: Fn(&Recorded) -> Response<Full<Bytes>> + Send + Sync + 'static,
    {
        let recorded = Arc::default();
        let (log, answer) = (Arc::clone(&recorded), Arc::new(answer));
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
            async move { Ok::<_, Infallible>(record(request, &log, answer.as_ref()).await) }
        });
        let (address, task) = listen(handshake, service).await;
        Self {
            address,
            recorded,
            _task: task,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was asked so far, in order.
    pub fn recorded(&self) -> Vec<Recorded> {
        self.recorded.lock().unwrap().clone()
    }
}

async fn record<F>(
    request: Request<Incoming>,
    log: &Mutex<Vec<Recorded>>,
    answer: &F,
) -> Response<Full<Bytes>>
where
    F: Fn(&Recorded) -> Response<Full<Bytes>>,
{
    let (head, body) = request.into_parts();
    // A body that breaks off never was a whole request.
    let Ok(body) = body.collect().await else {
        return Response::default();
    };
    let recorded = Recorded {
        method: head.method,
        uri: head.uri,
        version: head.version,
        headers: head.headers,
        body: body.to_bytes(),
    };
    let response = answer(&recorded);
    log.lock().unwrap().push(recorded);
    response
}
