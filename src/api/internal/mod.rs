//! The internal gRPC API, on which sidecars call each other's apps.
//!
//! No token guards it: callers are other sidecars, which have their own. So what comes in here
//! reaches the own app and nothing else, and the port is open to loopback alone where nothing
//! tells who calls.

mod call;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use tonic::Status;
use tonic::body::Body;

use super::grpc::{status, trace, unary};
use crate::base::grpc_method::GrpcMethod;
use crate::base::spiffe_id::SpiffeId;
use crate::blocks::invoke::Invoke;
use crate::process::body::boxed;
use crate::process::trace::Tracer;
use crate::proto::internals::{CALL_LOCAL, CALL_LOCAL_STREAM, SERVICE};

/// Room for what a message has besides its body: headers above all.
const MESSAGE_ROOM: usize = 256 * 1024;

/// The API, as a service for [`crate::process::serve::serve`].
#[derive(Clone)]
pub struct InternalService(Arc<Inner>);

struct Inner {
    invoke: Arc<Invoke>,
    max_message: usize,
    tracer: Tracer,
}

impl InternalService {
    /// Calls the own app through `invoke`. Bodies in one message may have so many bytes.
    pub fn new(invoke: Arc<Invoke>, max_body: usize, tracer: Tracer) -> Self {
        let max_message = max_body.saturating_add(MESSAGE_ROOM);
        Self(Arc::new(Inner {
            invoke,
            max_message,
            tracer,
        }))
    }
}

impl Inner {
    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let limit = self.max_message;
        match request.uri().path() {
            CALL_LOCAL_STREAM => call::streaming(&self.invoke, request, limit).await,
            CALL_LOCAL => {
                let invoke = Arc::clone(&self.invoke);
                let answer = move |request| call::unary(invoke, limit, request);
                unary::serve(request, limit, answer).await
            }
            path if path.starts_with(SERVICE) => {
                let text = format!("method {path} is not served by this build");
                Status::unimplemented(text).into_http()
            }
            path => match GrpcMethod::parse(path) {
                Err(error) => Status::unimplemented(error.to_string()).into_http(),
                Ok(method) => {
                    let caller = caller(request.extensions());
                    let request = request.map(boxed);
                    let invoke = &self.invoke;
                    match invoke
                        .serve_proxied(caller.as_ref(), &method, request)
                        .await
                    {
                        Ok(answer) => answer.map(Body::new),
                        Err(error) => status::failure(&error).into_http(),
                    }
                }
            },
        }
    }
}

/// Who calls, as the certificate of the connection says. The handshake puts it there.
fn caller(extensions: &http::Extensions) -> Option<SpiffeId> {
    extensions.get().cloned()
}

impl Service<Request<Incoming>> for InternalService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            let span = trace::begin(&inner.tracer, &mut head);
            let answer = inner.handle(Request::from_parts(head, body)).await;
            trace::end(span, &answer);
            Ok(answer)
        })
    }
}
