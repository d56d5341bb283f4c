//! The gRPC API: the door with its token, then one handler a method.
//!
//! The generated service trait of Dapr has far more methods than this build serves, so calls are
//! dispatched on their path; what is not served gets Dapr's answer for an unknown method.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

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
use crate::process::trace::Tracer;

use super::access::Protocol;
use super::call_log::{self, CallLog};
use super::{Blocks, Door};
use metrics::GrpcMetrics;

mod bindings;
mod configuration;
pub(super) mod invoke;
mod lock;
mod metadata;
mod methods;
mod metrics;
mod proxy;
mod publish;
mod secrets;
mod shutdown;
mod state;
pub(super) mod status;
mod streaming;
pub(super) mod trace;
pub(super) mod unary;

pub use methods::{METHODS, Method, MethodId, StateMethod};

/// The row behind the table of what passes through to an app, and its name.
const PROXIED: usize = METHODS.len();
const PROXY: &str = "proxy";

/// The row of what is not served, and the name that stands for all of it.
const UNKNOWN_ROW: usize = PROXIED + 1;
const UNKNOWN: &str = "unknown";

/// What one gRPC listener needs.
pub struct GrpcApi {
    tokens: ApiTokens,
    refusals: Refusals,
    /// Which rows of [`METHODS`] the Configuration allows.
    allowed: [bool; METHODS.len()],
    /// Whether it allows calls that pass through to an app, as it allows invocation.
    allows_proxy: bool,
    max_message: usize,
    call_log: Option<CallLog>,
    metrics: GrpcMetrics,
    tracer: Tracer,
    blocks: Blocks,
}

impl GrpcApi {
    /// The API behind this door.
    pub fn new(door: Door, blocks: Blocks) -> Self {
        let paths = METHODS.iter().map(|method| method.path);
        let allows = |method: Method| door.access.allows(Protocol::Grpc, method.api_name);
        Self {
            refusals: Refusals::new("grpc", paths.chain([PROXY, UNKNOWN])),
            allows_proxy: door.access.allows(Protocol::Grpc, "invoke"),
            allowed: METHODS.map(allows),
            tokens: door.tokens,
            max_message: door.max_body,
            call_log: door.call_log,
            metrics: GrpcMetrics::new(),
            tracer: door.tracer,
            blocks,
        }
    }

    /// Decides on a call from its head alone. The token leaves the head whatever the verdict.
    ///
    /// Invariant: `Pass` means a valid token. No method is exempt, known or not.
    fn admit(&self, head: &mut Parts) -> Verdict {
        if !is_grpc(&head.headers) {
            return Verdict::Refuse(UNKNOWN_ROW, unsupported_media_type());
        }
        let row = self.row(head);
        let token = head.headers.get(TOKEN_HEADER);
        let verdict = self.tokens.check(token.map(http::HeaderValue::as_bytes));
        head.headers.remove(TOKEN_HEADER);
        let refusal = match (verdict, row) {
            (Err(refusal), _) => {
                let remote = Remote::of(&head.extensions);
                self.refusals.record(row, remote, refusal);
                status::unauthenticated(refusal)
            }
            (Ok(()), UNKNOWN_ROW) => status::unknown(head.uri.path()),
            (Ok(()), PROXIED) if !self.allows_proxy => status::not_allowed(),
            (Ok(()), PROXIED) => return Verdict::Pass(row),
            (Ok(()), _) if !self.allowed[row] => status::not_allowed(),
            (Ok(()), _) => return Verdict::Pass(row),
        };
        Verdict::Refuse(row, refusal.into_http())
    }

    /// The row of a call: of the table, or behind it.
    fn row(&self, head: &Parts) -> usize {
        let path = head.uri.path();
        let served = METHODS.iter().position(|method| method.path == path);
        served.unwrap_or_else(|| match proxy::target(&head.headers) {
            Some(_) => PROXIED,
            None => UNKNOWN_ROW,
        })
    }

    async fn handle(&self, row: usize, request: Request<Incoming>) -> Response<Body> {
        let blocks = self.blocks.clone();
        let limit = self.max_message;
        let Some(method) = METHODS.get(row) else {
            return proxy::serve(&blocks.invoke, request).await;
        };
        match method.id {
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
            MethodId::InvokeBinding => {
                let answer = async move |request| bindings::invoke(&blocks.bindings, request).await;
                unary::serve(request, limit, answer).await
            }
            MethodId::Shutdown => {
                let answer = async move |request| Ok(shutdown::begin(&blocks.shutdown, &request));
                unary::serve(request, limit, answer).await
            }
            MethodId::PublishEvent => {
                let answer = move |request| publish::single(blocks.publish, request);
                unary::serve(request, limit, answer).await
            }
            MethodId::BulkPublishEvent => {
                let answer = move |request| publish::bulk(blocks.publish, request);
                unary::serve(request, limit, answer).await
            }
            MethodId::State(method) => state::serve(blocks.state, method, request, limit).await,
            MethodId::SubscribeTopicEvents => {
                streaming::serve(blocks.streaming, request, limit).await
            }
            MethodId::GetConfiguration
            | MethodId::SubscribeConfiguration
            | MethodId::UnsubscribeConfiguration
            | MethodId::TryLock
            | MethodId::Unlock => stores(method.id, blocks, request, limit).await,
        }
    }
}

/// Calls about configuration and locks.
async fn stores(
    method: MethodId,
    blocks: Blocks,
    request: Request<Incoming>,
    limit: usize,
) -> Response<Body> {
    let (configurations, locks) = (blocks.configurations, blocks.locks);
    match method {
        MethodId::SubscribeConfiguration => {
            configuration::subscribe(configurations, request, limit).await
        }
        MethodId::UnsubscribeConfiguration => {
            let answer =
                async move |request| Ok(configuration::unsubscribe(&configurations, request));
            unary::serve(request, limit, answer).await
        }
        MethodId::TryLock => {
            let answer = async move |request| lock::try_lock(&locks, request).await;
            unary::serve(request, limit, answer).await
        }
        MethodId::Unlock => {
            let answer = async move |request| lock::unlock(&locks, request).await;
            unary::serve(request, limit, answer).await
        }
        _ => {
            let answer = async move |request| configuration::get(&configurations, request).await;
            unary::serve(request, limit, answer).await
        }
    }
}

/// The name of a row, of the table or behind it.
fn name(row: usize) -> &'static str {
    match row {
        PROXIED => PROXY,
        _ => METHODS.get(row).map_or(UNKNOWN, |method| method.path),
    }
}

/// What the door says to a call.
enum Verdict {
    /// It goes on to the handler of its row.
    Pass(usize),
    /// It ends here.
    Refuse(usize, Response<Body>),
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
        let started = Instant::now();
        let (mut head, body) = request.into_parts();
        let verdict = self.0.admit(&mut head);
        let span = trace::begin(&self.0.tracer, &mut head);
        match verdict {
            Verdict::Refuse(row, answer) => {
                trace::end(span, &answer);
                self.0.metrics.record(row, &answer, started.elapsed());
                Either::Left(ready(Ok(answer)))
            }
            Verdict::Pass(row) => {
                let api = self.0.clone();
                let user_agent = api.call_log.map(|_| user_agent(&head.headers));
                let request = Request::from_parts(head, body);
                Either::Right(Box::pin(async move {
                    let answer = api.handle(row, request).await;
                    trace::end(span, &answer);
                    let elapsed = started.elapsed();
                    api.metrics.record(row, &answer, elapsed);
                    if let Some(user_agent) = user_agent {
                        let code = metrics::code(&answer) as i32;
                        call_log::log_grpc(name(row), &user_agent, code, elapsed);
                    }
                    Ok(answer)
                }))
            }
        }
    }
}

fn user_agent(headers: &HeaderMap) -> String {
    let value = headers.get(header::USER_AGENT);
    let text = value.and_then(|value| value.to_str().ok());
    text.unwrap_or_default().to_owned()
}
