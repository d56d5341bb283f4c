//! The gRPC API: the door with its token, then one handler a method.
//!
//! The generated service trait of Dapr has far more methods than this build serves, so calls are
//! dispatched on their path; what is not served gets Dapr's answer for an unknown method.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::{Either, Ready, ready};
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::Service;
use tonic::body::Body;

use crate::auth::refusal::Refusals;
use crate::auth::tokens::ApiTokens;
use crate::base::token::TOKEN_HEADER;
use crate::process::listener::Remote;

use super::Blocks;
use super::access::{Access, Protocol};

mod invoke;
mod metadata;
mod secrets;
mod shutdown;
mod status;
mod unary;

/// A method that this build serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MethodId {
    /// Calls a method of an app.
    InvokeService,
    /// What the sidecar says of itself.
    GetMetadata,
    /// Adds to what it says.
    SetMetadata,
    /// One secret.
    GetSecret,
    /// Every secret of a store.
    GetBulkSecret,
    /// Ends the process.
    Shutdown,
}

/// One row of the table of methods.
#[derive(Debug)]
pub struct Method {
    /// Its name in the code.
    pub id: MethodId,
    /// The path of its calls.
    pub path: &'static str,
    /// Its name in the API lists of a Configuration.
    pub api_name: &'static str,
}

/// Every method that is served. None may be called without the token.
pub const METHODS: [Method; 6] = [
    Method {
        id: MethodId::InvokeService,
        path: "/dapr.proto.runtime.v1.Dapr/InvokeService",
        api_name: "invoke",
    },
    Method {
        id: MethodId::GetMetadata,
        path: "/dapr.proto.runtime.v1.Dapr/GetMetadata",
        api_name: "metadata",
    },
    Method {
        id: MethodId::SetMetadata,
        path: "/dapr.proto.runtime.v1.Dapr/SetMetadata",
        api_name: "metadata",
    },
    Method {
        id: MethodId::GetSecret,
        path: "/dapr.proto.runtime.v1.Dapr/GetSecret",
        api_name: "secrets",
    },
    Method {
        id: MethodId::GetBulkSecret,
        path: "/dapr.proto.runtime.v1.Dapr/GetBulkSecret",
        api_name: "secrets",
    },
    Method {
        id: MethodId::Shutdown,
        path: "/dapr.proto.runtime.v1.Dapr/Shutdown",
        api_name: "shutdown",
    },
];

/// What one gRPC listener needs.
pub struct GrpcApi {
    tokens: ApiTokens,
    refusals: Refusals,
    /// Which rows of [`METHODS`] the Configuration allows.
    allowed: [bool; METHODS.len()],
    max_message: usize,
    blocks: Blocks,
}

impl GrpcApi {
    /// The API behind these tokens. `max_message` is the most bytes of one message.
    pub fn new(tokens: ApiTokens, access: &Access, max_message: usize, blocks: Blocks) -> Self {
        let paths = METHODS.iter().map(|method| method.path);
        Self {
            tokens,
            refusals: Refusals::new("grpc", paths.chain(["unknown"])),
            allowed: METHODS.map(|method| access.allows(Protocol::Grpc, method.api_name)),
            max_message,
            blocks,
        }
    }

    /// Decides on a call from its head alone. The token leaves the head whatever the verdict.
    ///
    /// Invariant: `Pass` means a valid token. No method is exempt, known or not.
    fn admit(&self, head: &mut Parts) -> Verdict {
        if !is_grpc(&head.headers) {
            return Verdict::Refuse(unsupported_media_type());
        }
        let path = head.uri.path();
        let index = METHODS.iter().position(|method| method.path == path);
        let token = head.headers.get(TOKEN_HEADER);
        let verdict = self.tokens.check(token.map(http::HeaderValue::as_bytes));
        head.headers.remove(TOKEN_HEADER);
        if let Err(refusal) = verdict {
            let remote = head.extensions.get().copied().unwrap_or(Remote::Unix);
            let row = index.unwrap_or(METHODS.len());
            self.refusals.record(row, remote, refusal);
            return Verdict::Refuse(status::unauthenticated(refusal).into_http());
        }
        let Some(index) = index else {
            return Verdict::Refuse(status::unknown(path, &head.headers).into_http());
        };
        if !self.allowed[index] {
            return Verdict::Refuse(status::not_allowed().into_http());
        }
        Verdict::Pass(METHODS[index].id)
    }

    async fn handle(&self, method: MethodId, request: Request<Incoming>) -> Response<Body> {
        let blocks = self.blocks.clone();
        let limit = self.max_message;
        match method {
            MethodId::InvokeService => {
                let answer = move |request| invoke::service(blocks.invoke, request);
                unary::serve(request, limit, answer).await
            }
            MethodId::GetMetadata => {
                let answer = async move |request| Ok(metadata::get(&blocks.metadata, &request));
                unary::serve(request, limit, answer).await
            }
            MethodId::SetMetadata => {
                let answer = async move |request| metadata::set(&blocks.metadata, request);
                unary::serve(request, limit, answer).await
            }
            MethodId::GetSecret => {
                let answer = async move |request| secrets::get(&blocks.secrets, request).await;
                unary::serve(request, limit, answer).await
            }
            MethodId::GetBulkSecret => {
                let answer = async move |request| secrets::bulk(&blocks.secrets, request).await;
                unary::serve(request, limit, answer).await
            }
            MethodId::Shutdown => {
                let answer = async move |request| Ok(shutdown::begin(&blocks.shutdown, &request));
                unary::serve(request, limit, answer).await
            }
        }
    }
}

/// What the door says to a call.
enum Verdict {
    /// It goes on to the handler of its method.
    Pass(MethodId),
    /// It ends here.
    Refuse(Response<Body>),
}

/// Whether the content type is gRPC's (gRPC over HTTP2: `application/grpc`, with an optional
/// `+format` or parameters).
fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"))
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

fn unsupported_media_type() -> Response<Body> {
    let mut answer = Response::new(Body::default());
    *answer.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    answer
}

/// [`GrpcApi`] as a service for [`crate::process::serve::serve`].
#[derive(Clone)]
pub struct GrpcService(Arc<GrpcApi>);

impl GrpcService {
    /// Serves this API.
    pub fn new(api: GrpcApi) -> Self {
        Self(Arc::new(api))
    }
}

type Answer = Result<Response<Body>, Infallible>;

impl Service<Request<Incoming>> for GrpcService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Ready<Answer>, Pin<Box<dyn Future<Output = Answer> + Send>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        match self.0.admit(&mut head) {
            Verdict::Refuse(answer) => Either::Left(ready(Ok(answer))),
            Verdict::Pass(method) => {
                let api = self.0.clone();
                let request = Request::from_parts(head, body);
                Either::Right(Box::pin(
                    async move { Ok(api.handle(method, request).await) },
                ))
            }
        }
    }
}
