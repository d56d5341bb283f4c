//! Calls of apps beside other sidecars.

use std::fmt::Display;
use std::time::Instant;

use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response};

use super::headers::{self, Identity};
use super::{Answer, Failure, Message, unreadable};
use crate::blocks::error::Reason;
use crate::peers::name_resolution::Lookup;
use crate::peers::wire::encode_call;
use crate::peers::{self, Peer, Peers, Replay};
use crate::process::body::{Body, Limited};
use crate::proto::internals::InternalInvokeRequest;
use crate::resiliency::{Policy, Verdict};

/// The largest body in bytes that is kept to be sent again. A larger one streams, and is sent
/// again only while nobody has read any of it.
const KEEP: usize = 64 * 1024;

/// What the app learns of the way that a call took.
#[derive(Clone, Debug, Default)]
pub struct Forwarding {
    /// The address of this host.
    pub address: String,
    /// Its name.
    pub host: String,
}

/// The road to other apps.
#[derive(Debug)]
pub(super) struct Remote {
    peers: Peers,
    forwarding: Forwarding,
    max_body_bytes: usize,
}

impl Remote {
    pub(super) fn new(peers: Peers, forwarding: Forwarding, max_body_bytes: usize) -> Self {
        Self {
            peers,
            forwarding,
            max_body_bytes,
        }
    }

    /// Calls a method of an app, again where that is safe and helps.
    pub(super) async fn call(
        &self,
        app: &Lookup<'_>,
        message: Message,
        identity: &Identity,
        policy: &Policy,
    ) -> Result<Answer, Failure> {
        let Message { mut head, body } = message;
        let limited = Limited::new(body, self.max_body_bytes);
        let (body, exceeded) = limited.ok_or_else(|| self.too_large())?;
        let body = Replay::new(Body::new(body), KEEP).await;
        let body = body.map_err(unreadable)?;
        headers::request_to_peer(&mut head.headers, identity);
        self.mark(&mut head.headers, app.app_id, body.length());
        let encoded = encode_call(&head);
        let encoded = encoded
            .map_err(|error| Failure::new(Reason::InvokeMethodInvalid, error.to_string()))?;
        let is_idempotent = head.method.as_ref().is_some_and(Method::is_idempotent);
        // In a box: the policy would hold room for it several times.
        let call = |_| Box::pin(self.attempt(app, &encoded, &body, head.deadline));
        let judge = |answer: &Result<Answer, peers::Error>| match answer {
            Ok(answer) => super::judge_answer(answer, &body),
            Err(error) => judge_error(error, &body, is_idempotent),
        };
        let answer = policy.run(call, judge).await?;
        match answer.map_err(failure) {
            Err(_) if exceeded.is_set() => Err(self.too_large()),
            Err(failure) => Err(failure),
            Ok(Answer::Http(mut answer)) => {
                headers::response_from_http(answer.headers_mut());
                Ok(Answer::Http(answer))
            }
            Ok(Answer::Grpc(mut answer)) => {
                headers::response_from_grpc(&mut answer.headers);
                Ok(Answer::Grpc(answer))
            }
        }
    }

    fn too_large(&self) -> Failure {
        let limit = self.max_body_bytes;
        let text = format!("the body is larger than {limit} bytes");
        Failure::new(Reason::BodyTooLarge, text)
    }

    /// Passes a gRPC call on to the sidecar of an app.
    pub(super) async fn proxy(
        &self,
        app: &Lookup<'_>,
        request: Request<Body>,
        policy: &Policy,
    ) -> Result<Response<Body>, Failure> {
        let (head, body) = request.into_parts();
        // A stream goes on for as long as the app wants: none of it is held.
        let body = Replay::new(body, 0).await;
        let body = body.map_err(unreadable)?;
        let call = |_| Box::pin(self.pass_on(app, &head, &body));
        let judge = |answer: &Result<Response<Body>, peers::Error>| match answer {
            Ok(_) => Verdict::Success,
            Err(error) => judge_error(error, &body, false),
        };
        policy.run(call, judge).await?.map_err(failure)
    }

    async fn pass_on(
        &self,
        app: &Lookup<'_>,
        head: &Parts,
        body: &Replay,
    ) -> Result<Response<Body>, peers::Error> {
        let mut last = peers::Error::Connect;
        for address in self.peers.find(app).await? {
            let request = Request::from_parts(head.clone(), body.attempt());
            let address = &address;
            match self.peers.proxy(Peer { app, address }, request).await {
                Err(error) if is_unsent(&error) && body.is_complete() => last = error,
                answer => return answer,
            }
        }
        Err(last)
    }

    async fn attempt(
        &self,
        app: &Lookup<'_>,
        head: &InternalInvokeRequest,
        body: &Replay,
        deadline: Option<Instant>,
    ) -> Result<Answer, peers::Error> {
        let mut last = peers::Error::Connect;
        for address in self.peers.find(app).await? {
            let body_now = body.attempt();
            let address = &address;
            let peer = Peer { app, address };
            let sending = self.peers.invoke(peer, head.clone(), body_now, deadline);
            match sending.await {
                Err(error) if is_unsent(&error) && body.is_complete() => last = error,
                answer => return answer,
            }
        }
        Err(last)
    }

    /// Adds what the other side has to know: the length of the body, and the way of the call.
    fn mark(&self, headers: &mut http::HeaderMap, app_id: &str, length: Option<u64>) {
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        let mut add = |name: &'static str, text: &dyn Display| {
            if let Ok(value) = HeaderValue::try_from(text.to_string()) {
                headers.append(HeaderName::from_static(name), value);
            }
        };
        add("destination-app-id", &app_id);
        let Forwarding { address, host } = &self.forwarding;
        if !address.is_empty() {
            add("x-forwarded-for", address);
            // RFC 7239, section 6: an IPv6 address stands in brackets and quotes.
            let quoted = if address.contains(':') {
                format!("\"[{address}]\"")
            } else {
                address.clone()
            };
            add(
                "forwarded",
                &format!("for={quoted};by={quoted};host={host}"),
            );
        }
        if !host.is_empty() {
            add("x-forwarded-host", host);
        }
    }
}

/// What a failed call says. There may be another one where that is safe: nothing reached the app,
/// or what did may be sent twice.
fn judge_error(error: &peers::Error, body: &Replay, is_idempotent: bool) -> Verdict {
    let is_safe = is_unsent(error) || is_idempotent && matches!(error, peers::Error::Broken);
    match error {
        // The fault is the caller's.
        peers::Error::Resolve(_) | peers::Error::Request => Verdict::Success,
        _ if is_safe && body.is_complete() => Verdict::Failure(None),
        _ => Verdict::Final,
    }
}

/// Whether the app got nothing of the call: its sidecar could not be reached, or sent it back.
fn is_unsent(error: &peers::Error) -> bool {
    match error {
        peers::Error::Connect | peers::Error::Identity => true,
        peers::Error::Refused(status) => [UNAVAILABLE, UNAUTHENTICATED].contains(&status.code),
        _ => false,
    }
}

const DEADLINE_EXCEEDED: i32 = 4;
const PERMISSION_DENIED: i32 = 7;
const RESOURCE_EXHAUSTED: i32 = 8;
const UNAVAILABLE: i32 = 14;
const UNAUTHENTICATED: i32 = 16;

/// The names of the codes of gRPC, from 0, as Go writes them.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

fn failure(error: peers::Error) -> Failure {
    let status = match error {
        peers::Error::Refused(status) => status,
        peers::Error::Resolve(error) => {
            return Failure::new(Reason::InvokeTargetUnknown, error.to_string());
        }
        error => return Failure::new(Reason::InvokeFailed, error.to_string()),
    };
    let reason = match status.code {
        PERMISSION_DENIED => Reason::InvokeDenied,
        RESOURCE_EXHAUSTED => Reason::BodyTooLarge,
        DEADLINE_EXCEEDED => Reason::DeadlineExceeded,
        _ => Reason::InvokeFailed,
    };
    let code = usize::try_from(status.code).ok();
    let code = code.and_then(|code| CODES.get(code)).unwrap_or(&"Unknown");
    let text = format!("rpc error: code = {code} desc = {}", status.message);
    Failure::new(reason, text)
}
