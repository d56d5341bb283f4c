//! The HTTP API: the door with its token, then one handler a route.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use futures_util::future::{Either, Ready, ready};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, Uri, header};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::service::Service;

use crate::auth::refusal::Refusals;
use crate::auth::tokens::ApiTokens;
use crate::base::token::TOKEN_HEADER;
use crate::blocks::error::{Error, Reason};
use crate::blocks::invoke::missing_target;
use crate::process::listener::Remote;
use crate::process::trace::Tracer;
use crate::process::trace::span::Span;

use super::access::Protocol;
use super::call_log::{CallLog, HttpCall};
use super::routes::{self, CleanPath, Match, PathError, ROUTES, RouteId, Surface};
use super::{Blocks, Door};
use answer::Answer;
use cors::{Cors, Origin};
use metrics::HttpMetrics;

mod answer;
mod bindings;
mod configuration;
pub mod cors;
mod details;
mod health;
mod invoke;
mod lock;
mod metadata;
mod metrics;
mod pipeline;
mod publish;
pub(crate) mod query;
mod secrets;
mod shutdown;
mod state;
mod trace;

/// What one HTTP listener of the API needs.
pub struct HttpApi {
    surface: Surface,
    tokens: ApiTokens,
    refusals: Refusals,
    /// Which rows of the table of routes the Configuration allows.
    allowed: [bool; ROUTES.len()],
    cors: Cors,
    max_body: usize,
    call_log: Option<CallLog>,
    counts_error_codes: bool,
    metrics: HttpMetrics,
    tracer: Tracer,
    blocks: Blocks,
}

impl HttpApi {
    /// The API as a surface serves it.
    pub fn new(surface: Surface, door: Door, cors: Cors, blocks: Blocks) -> Self {
        let listener = match surface {
            Surface::Api => "http",
            Surface::Public => "public",
        };
        Self {
            surface,
            tokens: door.tokens,
            refusals: Refusals::new(listener, ROUTES.iter().map(|route| route.pattern)),
            allowed: ROUTES.map(|route| door.access.allows(Protocol::Http, route.api_name)),
            cors,
            max_body: door.max_body,
            call_log: door.call_log,
            counts_error_codes: door.counts_error_codes,
            metrics: HttpMetrics::new(),
            tracer: door.tracer,
            blocks,
        }
    }

    /// Decides on a call from its head alone. The token leaves the head whatever the verdict, and
    /// the path becomes the normalised one: nothing behind the door sees another.
    ///
    /// Invariant: `Pass` means a valid token, or a route that is exempt.
    fn admit(&self, head: &mut Parts) -> Verdict {
        let (found, is_readable) = match self.route(head) {
            Ok(found) => (found, true),
            Err(_) => (Match::FALLBACK, false),
        };
        let refuse = |answer| Verdict::Refuse(found.index, answer);
        if let Some(preflight) = self.cors.preflight(&head.method, &head.headers) {
            return refuse(preflight);
        }
        let verdict = if found.route().exempt {
            Ok(())
        } else {
            // Of several headers the first one counts, as in Dapr.
            let token = head.headers.get(TOKEN_HEADER);
            self.tokens.check(token.map(http::HeaderValue::as_bytes))
        };
        head.headers.remove(TOKEN_HEADER);
        if let Err(refusal) = verdict {
            let remote = Remote::of(&head.extensions);
            self.refusals.record(found.index, remote, refusal);
            return refuse(answer::unauthorized());
        }
        if !is_readable {
            return refuse(answer::bad_path());
        }
        if self.is_too_large(&head.headers) {
            return refuse(answer::failure(&self.too_large()));
        }
        Verdict::Pass(found)
    }

    /// Finds the route of a call, whose path becomes the normalised one.
    fn route(&self, head: &mut Parts) -> Result<Match, PathError> {
        let path = CleanPath::parse(head.uri.path())?;
        let found = routes::find(self.surface, &head.method, &path);
        let changed = path.is_changed().then(|| path.as_str().to_owned());
        if let Some(path) = changed {
            head.uri = with_path(&head.uri, &path);
        }
        Ok(found)
    }

    /// Whether a body is announced that is above the limit.
    fn is_too_large(&self, headers: &HeaderMap) -> bool {
        headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<u64>().ok())
            .is_some_and(|length| length > self.max_body as u64)
    }

    fn too_large(&self) -> Error {
        let text = format!("request body is above {} bytes", self.max_body);
        Error::new(Reason::BodyTooLarge, text)
    }

    async fn handle(&self, found: Match, head: Parts, body: Body) -> Answer {
        let route = if self.allowed[found.index] {
            found.route().id
        } else {
            RouteId::Fallback
        };
        let path = head.uri.path();
        let blocks = &self.blocks;
        let result = match route {
            RouteId::Healthz => health::healthz(&blocks.health, head.uri.query()),
            RouteId::HealthzOutbound => health::outbound(&blocks.health),
            RouteId::GetMetadata => Ok(metadata::get(&blocks.metadata)),
            RouteId::SetMetadata => match found.param(0, path) {
                Ok(key) => metadata::set(&blocks.metadata, &key, body, self.max_body).await,
                Err(_) => Ok(answer::bad_path()),
            },
            RouteId::GetSecret | RouteId::GetBulkSecret => self.secret(found, &head, body).await,
            RouteId::InvokeBinding => return self.binding(found, &head, body).await,
            RouteId::Shutdown => Ok(shutdown::begin(&blocks.shutdown, &head.headers)),
            RouteId::Publish | RouteId::BulkPublish => self.publish(found, &head, body).await,
            RouteId::GetState
            | RouteId::DeleteState
            | RouteId::SaveState
            | RouteId::BulkGetState
            | RouteId::StateTransaction
            | RouteId::QueryState => {
                state::handle(&blocks.state, &found, &head, body, self.max_body).await
            }
            RouteId::GetConfiguration
            | RouteId::SubscribeConfiguration
            | RouteId::UnsubscribeConfiguration => {
                configuration::serve(&blocks.configurations, &found, &head).await
            }
            RouteId::TryLock | RouteId::Unlock => match answer::read(body, self.max_body).await {
                Ok(body) => lock::serve(&blocks.locks, &found, path, &body).await,
                Err(error) => Err(error),
            },
            _ if self.surface == Surface::Public => Ok(answer::page_not_found()),
            RouteId::Invoke | RouteId::Fallback if self.allowed[routes::FALLBACK] => {
                // By far the largest future: in a box of its own, other routes do not carry it.
                let request = Request::from_parts(head, body);
                Box::pin(invoke::handle(&blocks.invoke, request)).await
            }
            _ => Err(missing_target()),
        };
        result.unwrap_or_else(|error| self.failure(&error))
    }

    fn failure(&self, error: &Error) -> Answer {
        if self.counts_error_codes {
            metrics::count_failure(error);
        }
        answer::failure(error)
    }

    async fn binding(&self, found: Match, head: &Parts, body: Body) -> Answer {
        let Ok(name) = found.param(0, head.uri.path()) else {
            return answer::bad_path();
        };
        let body = answer::read(body, self.max_body).await;
        let request = body.and_then(|body| bindings::request(&body, &head.headers));
        match request {
            Ok(request) => {
                let outcome = self.blocks.bindings.invoke(&name, request).await;
                bindings::answer(outcome, |error| self.failure(error))
            }
            Err(error) => self.failure(&error),
        }
    }

    async fn secret(&self, found: Match, head: &Parts, body: Body) -> Result<Answer, Error> {
        let path = head.uri.path();
        let Ok(store) = found.param(0, path) else {
            return Ok(answer::bad_path());
        };
        let rest = secrets::Rest {
            caller: Remote::of(&head.extensions),
            query: head.uri.query(),
            body,
            max_body: self.max_body,
        };
        let secrets = &self.blocks.secrets;
        if found.route().id == RouteId::GetBulkSecret {
            return secrets::bulk(secrets, &store, rest).await;
        }
        match found.param(1, path) {
            Ok(key) => secrets::single(secrets, (&store, &key), rest).await,
            Err(_) => Ok(answer::bad_path()),
        }
    }

    async fn publish(&self, found: Match, head: &Parts, body: Body) -> Result<Answer, Error> {
        let path = head.uri.path();
        let (Ok(pubsub), Ok(topic)) = (found.param(0, path), found.param(1, path)) else {
            return Ok(answer::bad_path());
        };
        let (publish, names, limit) = (&self.blocks.publish, (&*pubsub, &*topic), self.max_body);
        if found.route().id == RouteId::BulkPublish {
            return publish::bulk(publish, names, head, body, limit).await;
        }
        publish::single(publish, names, head, body, limit).await
    }

    /// What happens to every answer, whoever made it.
    fn finish(&self, seen: Seen, route: usize, mut answer: Answer) -> Answer {
        self.cors.mark(seen.origin, answer.headers_mut());
        trace::end(seen.span, &mut answer);
        let elapsed = seen.started.elapsed();
        let response_bytes = answer.body().size_hint().exact();
        if let Some(logged) = seen.logged {
            let call = HttpCall {
                method: &logged.method,
                user_agent: &logged.user_agent,
                code: answer.status().as_u16(),
                size: response_bytes.unwrap_or_default(),
                duration: elapsed,
            };
            call.log();
        }
        self.metrics.record(&metrics::Call {
            route,
            method: &seen.method,
            status: answer.status(),
            elapsed,
            request_bytes: seen.request_bytes,
            response_bytes,
        });
        if seen.method == Method::HEAD {
            answer::drop_body(&mut answer);
        }
        answer
    }

    /// What the log will say of a call, where it says anything. Refused calls are not in it.
    fn logged(&self, found: &Match, head: &Parts) -> Option<Box<Logged>> {
        let log = self.call_log?;
        let route = found.route();
        if log.omit_health_checks && route.exempt {
            return None;
        }
        let path = if log.obfuscate_urls {
            route.pattern
        } else {
            head.uri.path()
        };
        let user_agent = head.headers.get(header::USER_AGENT);
        let user_agent = user_agent.and_then(|value| value.to_str().ok());
        Some(Box::new(Logged {
            method: format!("{} {path}", head.method),
            user_agent: user_agent.unwrap_or_default().to_owned(),
        }))
    }
}

/// What is still asked of a call when its head is gone.
struct Seen {
    started: Instant,
    origin: Origin,
    method: Method,
    request_bytes: Option<u64>,
    logged: Option<Box<Logged>>,
    span: Option<Span>,
}

/// What the log will say of a call.
struct Logged {
    method: String,
    user_agent: String,
}

/// What the door says to a call.
enum Verdict {
    /// It goes on to the handler of its route.
    Pass(Match),
    /// It ends here, with the row of its route and its answer.
    Refuse(usize, Answer),
}

/// The URI with another path, and with the query as it was.
fn with_path(uri: &Uri, path: &str) -> Uri {
    let text = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    // The path has only characters of the old one, so that it cannot fail to parse.
    text.parse().unwrap_or_default()
}

/// [`HttpApi`] as a service for [`crate::process::serve::serve`].
#[derive(Clone)]
pub struct HttpService(Arc<HttpApi>);

impl HttpService {
    /// Serves this API.
    pub fn new(api: HttpApi) -> Self {
        Self(Arc::new(api))
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

impl Service<Request<Incoming>> for HttpService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Ready<Result<Answer, Infallible>>, Answering>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let mut seen = Seen {
            started: Instant::now(),
            origin: self.0.cors.origin(&head.method, &head.headers),
            method: head.method.clone(),
            request_bytes: body.size_hint().exact(),
            logged: None,
            span: None,
        };
        match self.0.admit(&mut head) {
            Verdict::Refuse(route, answer) => {
                seen.span = trace::begin(&self.0.tracer, &ROUTES[route], &mut head);
                Either::Left(ready(Ok(self.0.finish(seen, route, answer))))
            }
            Verdict::Pass(found) => {
                let api = self.0.clone();
                seen.span = trace::begin(&api.tracer, found.route(), &mut head);
                Either::Right(Box::pin(async move {
                    let route = found.index;
                    let found = match api.through_pipeline(found, &mut head).await {
                        Ok(found) => found,
                        Err(answer) => return Ok(api.finish(seen, route, answer)),
                    };
                    seen.logged = api.logged(&found, &head);
                    let body = if body.is_end_stream() {
                        Body::empty()
                    } else {
                        Body::new(body)
                    };
                    let route = found.index;
                    let answer = api.handle(found, head, body).await;
                    Ok(api.finish(seen, route, answer))
                }))
            }
        }
    }
}
