//! Service invocation: of the own app, and of apps beside other sidecars.
//!
//! ```text
//! caller's sidecar:  api::http | api::grpc → call ─┬─ own app ──────────────▶ local → app_channel
//!                                                  ├─ another ─▶ remote → peers ─▶ its sidecar
//!                                                  └─ URL, HTTPEndpoint ─▶ outside → endpoints
//! app's sidecar:     api::internal → serve → access ──────────────────────▶ local → app_channel
//! ```
//! `proxy` does the same for calls of a gRPC app's own services.

mod access;
pub mod headers;
mod local;
mod outside;
mod pipeline;
mod proxy;
mod remote;

pub use crate::peers::message::{Answer, Head, Message};
pub use crate::proto::grpc_answer::{GrpcAnswer, GrpcFailure};
pub use remote::Forwarding;

use std::sync::Arc;

use bytes::Bytes;

use super::error::{Error, Reason};
use super::pipeline::Pipeline;
use crate::app_channel::AppChannel;
use crate::base::method_path::MethodPathError;
use crate::base::spiffe_id::SpiffeId;
use crate::endpoints::{External, RawUrl};
use crate::peers::Replay;
use crate::peers::access_control::AccessControl;
use crate::peers::name_resolution::Lookup;
use crate::process::body::{Body, CollectError, collect};
use crate::registry::Registry;
use crate::resiliency::{Policy, Stopped, Verdict};
use access::Gate;
use headers::Identity;
use outside::Outside;
use pipeline::Outcome;
use remote::Remote;

/// Calls methods of apps.
pub struct Invoke {
    app: Option<AppChannel>,
    app_id: String,
    namespace: String,
    max_body_bytes: usize,
    registry: Arc<Registry>,
    pipeline: Pipeline,
    remote: Option<Remote>,
    /// Services that callers name by URL.
    external: External,
    gate: Option<Gate>,
}

/// What a call leads to.
enum Target<'a> {
    /// The app beside this sidecar.
    Own,
    /// An app beside another sidecar.
    Peer(&'a Remote, Lookup<'a>),
    /// An HTTP service without a sidecar.
    Outside(Outside<'a>),
}

/// Who calls the own app.
#[derive(Clone, Copy)]
enum Caller<'a> {
    /// A client of this sidecar.
    Own,
    /// Another sidecar, with what its certificate says, where it had to show one.
    Peer(Option<&'a SpiffeId>),
}

/// Why a call did not get an answer, without the name of its target.
#[derive(Debug)]
struct Failure {
    reason: Reason,
    text: String,
}

impl Failure {
    fn new(reason: Reason, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { reason, text }
    }

    /// As the caller of this sidecar is told, in Dapr's words.
    fn of_target(self, target: &str) -> Error {
        let text = match self.reason {
            // As it sounds from another sidecar: clients look for the second half.
            Reason::AppUnhealthy => format!("rpc error: code = Internal desc = {}", self.text),
            _ => self.text,
        };
        Error::new(
            self.reason,
            format!("failed to invoke, id: {target}, err: {text}"),
        )
    }

    /// As another sidecar is told, which puts the name before it.
    fn of_own_app(self) -> Error {
        Error::new(self.reason, self.text)
    }
}

impl Invoke {
    /// Calls through `app`, where the sidecar has one. `namespace` may be empty. Bodies may have
    /// so many bytes, answers where they have to be held in memory.
    pub fn new(
        app: Option<AppChannel>,
        app_id: &str,
        namespace: &str,
        max_body_bytes: usize,
        registry: Arc<Registry>,
    ) -> Self {
        Self {
            app,
            app_id: app_id.to_owned(),
            namespace: namespace.to_owned(),
            max_body_bytes,
            pipeline: Pipeline::app_http(Arc::clone(&registry)),
            registry,
            remote: None,
            external: External::new(),
            gate: None,
        }
    }

    /// Calls apps beside other sidecars too.
    pub fn with_peers(self, peers: crate::peers::Peers, forwarding: Forwarding) -> Self {
        let remote = Some(Remote::new(peers, forwarding, self.max_body_bytes));
        Self { remote, ..self }
    }

    /// Of what other sidecars call, lets in only what the access policy allows, where there is
    /// one.
    pub fn with_access_control(self, access_control: Option<AccessControl>) -> Self {
        let gate = access_control.map(Gate::new);
        Self { gate, ..self }
    }

    /// Calls a method of an app, named as `app` or `app.namespace`. Dropping the future, or the
    /// body of the answer, breaks the call off, in the app too.
    pub async fn call(&self, target: &str, message: Message) -> Result<Answer, Error> {
        let answer = match message.head.deadline {
            None => self.route(target, message).await,
            Some(deadline) => {
                let routing = self.route(target, message);
                let answer = tokio::time::timeout_at(deadline.into(), routing).await;
                answer.unwrap_or_else(|_| {
                    let text = "the deadline of the call passed";
                    Err(Failure::new(Reason::DeadlineExceeded, text))
                })
            }
        };
        answer.map_err(|failure| failure.of_target(target))
    }

    async fn route(&self, target: &str, message: Message) -> Result<Answer, Failure> {
        match self.resolve(target)? {
            Target::Own => {
                let identity = self.own_identity(&self.app_id);
                let path = message.head.path.as_str();
                let policy = self.registry.peek().resiliency.own_app(target, path);
                self.call_own(message, &identity, &policy).await
            }
            Target::Peer(remote, app) => {
                let identity = self.own_identity(app.app_id);
                let path = message.head.path.as_str();
                let policy = self.registry.peek().resiliency.app(target, path);
                remote.call(&app, message, &identity, &policy).await
            }
            Target::Outside(outside) => {
                let path = message.head.path.as_str();
                let policy = self.registry.peek().resiliency.own_app(target, path);
                outside.call(message, &policy, self.max_body_bytes).await
            }
        }
    }

    /// Calls a method of the own app for another sidecar, of which `caller` is what its
    /// certificate says, where it had to show one.
    pub async fn serve(
        &self,
        caller: Option<&SpiffeId>,
        message: Message,
    ) -> Result<Answer, Error> {
        let head = &message.head;
        self.admit(caller, &head.path, head.method.as_ref())
            .map_err(Failure::of_own_app)?;
        let identity = self.peer_identity(caller, &head.headers);
        let answer = self
            .call_app(message, &identity, Caller::Peer(caller))
            .await;
        answer.map_err(Failure::of_own_app)
    }

    /// Calls the own app under a policy.
    async fn call_own(
        &self,
        message: Message,
        identity: &Identity,
        policy: &Policy,
    ) -> Result<Answer, Failure> {
        let keep = if policy.retries() {
            self.max_body_bytes
        } else {
            0
        };
        let Message { head, body } = message;
        let body = Replay::new(body, keep).await.map_err(unreadable)?;
        let call = |_| {
            let (head, body) = (head.clone(), body.attempt());
            // In a box: the policy would hold room for it several times.
            Box::pin(self.call_app(Message { head, body }, identity, Caller::Own))
        };
        let answer = policy.run(call, |answer| judge(answer, &body)).await;
        answer.unwrap_or_else(|stopped| Err(stopped.into()))
    }

    async fn call_app(
        &self,
        message: Message,
        identity: &Identity,
        caller: Caller<'_>,
    ) -> Result<Answer, Failure> {
        let Some(app) = &self.app else {
            let text = "app channel is not initialized";
            return Err(Failure::new(Reason::AppChannelMissing, text));
        };
        if app.config().protocol.is_grpc() {
            return local::call(app, message, identity).await;
        }
        let Message { head, body } = message;
        let judged = head.path.clone();
        let head = match pipeline::through(&self.pipeline, head).await? {
            Outcome::Passed(head) => head,
            Outcome::Answered(answer) => return Ok(answer),
        };
        // A middleware may have written another path, which is what has to be allowed then.
        if let Caller::Peer(peer) = caller
            && head.path != judged
        {
            self.admit(peer, &head.path, head.method.as_ref())?;
        }
        local::call(app, Message { head, body }, identity).await
    }

    /// The whole body of an answer, for a caller who cannot take it as a stream.
    pub async fn read_answer(&self, target: &str, body: Body) -> Result<Bytes, Error> {
        let whole = collect(body, self.max_body_bytes).await;
        whole.map_err(|error| {
            // The request was not too large: nothing that the caller sends differently helps.
            let text = match error {
                CollectError::TooLarge { limit } => {
                    format!("answer: the body is larger than {limit} bytes")
                }
                CollectError::Broken => {
                    "error invoking app channel: the app did not answer".to_owned()
                }
            };
            Failure::new(Reason::InvokeFailed, text).of_target(target)
        })
    }

    fn own_identity(&self, callee: &str) -> Identity {
        Identity::new(&self.app_id, &self.namespace, callee)
    }

    fn peer_identity(&self, caller: Option<&SpiffeId>, headers: &http::HeaderMap) -> Identity {
        match caller {
            Some(caller) => Identity::new(caller.app_id(), caller.namespace(), &self.app_id),
            None => Identity::of_peer(headers, &self.app_id),
        }
    }

    fn resolve<'a>(&'a self, target: &'a str) -> Result<Target<'a>, Failure> {
        let (app_id, namespace) = target.split_once('.').unwrap_or((target, &self.namespace));
        let unknown = |text| Failure::new(Reason::InvokeTargetUnknown, text);
        if let Some(url) = RawUrl::parse(target) {
            let url = url.map_err(|error| unknown(error.to_string()))?;
            let urls = self.registry.peek().policy.external_urls;
            return Ok(Target::Outside(Outside::Url(&self.external, url, urls)));
        }
        if let Some(endpoint) = self.registry.peek().endpoint(target) {
            let endpoint = endpoint.map_err(|error| unknown(error.to_string()))?;
            return Ok(Target::Outside(Outside::Endpoint(Arc::clone(endpoint))));
        }
        if app_id.is_empty() || namespace.contains('.') || target.contains(['/', '@', ':']) {
            return Err(unknown(format!("invalid app id {target}")));
        }
        if app_id != self.app_id || namespace != self.namespace {
            return match &self.remote {
                Some(remote) => Ok(Target::Peer(remote, Lookup { app_id, namespace })),
                None => Err(unknown(format!("couldn't find service: {target}"))),
            };
        }
        if self.app.is_none() {
            let text = "cannot invoke local endpoint: app channel not initialized";
            return Err(Failure::new(Reason::AppChannelMissing, text));
        }
        Ok(Target::Own)
    }
}

/// What an answer of an app says of it. A body that was read is gone.
fn judge(answer: &Result<Answer, Failure>, body: &Replay) -> Verdict {
    match answer {
        Ok(answer) => judge_answer(answer, body),
        Err(failure) => match failure.reason {
            Reason::InvokeFailed | Reason::AppUnhealthy if body.is_complete() => {
                Verdict::Failure(None)
            }
            Reason::InvokeFailed | Reason::AppUnhealthy => Verdict::Final,
            _ => Verdict::Success,
        },
    }
}

fn judge_answer(answer: &Answer, body: &Replay) -> Verdict {
    let verdict = match answer {
        Answer::Http(answer) => Verdict::of_http(answer.status().as_u16()),
        Answer::Grpc(GrpcAnswer { outcome: Ok(_), .. }) => Verdict::Success,
        Answer::Grpc(GrpcAnswer {
            outcome: Err(failure),
            ..
        }) => Verdict::of_grpc(u16::try_from(failure.code).unwrap_or_default()),
    };
    match verdict {
        Verdict::Failure(_) if !body.is_complete() => Verdict::Final,
        verdict => verdict,
    }
}

fn unreadable(error: CollectError) -> Failure {
    let reason = match error {
        CollectError::TooLarge { .. } => Reason::BodyTooLarge,
        CollectError::Broken => Reason::BodyRead,
    };
    Failure::new(reason, error.to_string())
}

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Self {
        let reason = match stopped {
            Stopped::TimedOut(_) => Reason::DeadlineExceeded,
            Stopped::Open | Stopped::Busy => Reason::InvokeFailed,
        };
        Self::new(reason, stopped.to_string())
    }
}

/// A call that names no app.
pub fn missing_target() -> Error {
    Error::new(
        Reason::InvokeTargetMissing,
        "failed getting app id either from the URL path or the header dapr-app-id",
    )
}

/// A call of a method that is none.
pub fn invalid_method(target: &str, error: &MethodPathError) -> Error {
    Failure::new(Reason::InvokeMethodInvalid, error.to_string()).of_target(target)
}
