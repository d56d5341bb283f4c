//! The span of a call over gRPC: what is told of it, and what never is. Nothing in it is from the
//! metadata or a message.

use http::request::Parts;
use http::{Response, StatusCode};
use tonic::Code;
use tonic::body::Body;

use super::metrics;
use crate::process::trace::Tracer;
use crate::process::trace::span::{Outcome, Span};

/// Begins the span of a call whose head lost its token already, and writes its context into the
/// head.
pub(in crate::api) fn begin(tracer: &Tracer, head: &mut Parts) -> Span {
    let path = head.uri.path();
    let mut span = tracer.server_span(&head.headers, || path.to_owned().into());
    if span.is_recorded() {
        span.set("rpc.system", "grpc");
        if let Some((service, method)) = path.trim_start_matches('/').rsplit_once('/') {
            span.set("rpc.service", service.to_owned());
            span.set("rpc.method", method.to_owned());
        }
        span.set("dapr.protocol", "grpc");
        span.set("dapr.api", path.to_owned());
    }
    span.inject(&mut head.headers);
    span
}

/// Ends the span with the status of an answer.
pub(in crate::api) fn end(mut span: Span, answer: &Response<Body>) {
    if answer.status() != StatusCode::OK {
        let status = i64::from(answer.status().as_u16());
        span.set("http.response.status_code", status);
        return span.end(Outcome::Fine);
    }
    let code = metrics::code(answer);
    span.set("rpc.grpc.status_code", i64::from(code as i32));
    span.end(outcome(code));
}

/// Only what is a fault of a server is one of the span (OpenTelemetry's conventions for gRPC).
fn outcome(code: Code) -> Outcome {
    match code {
        Code::Unknown
        | Code::DeadlineExceeded
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => Outcome::Failed(code.description()),
        _ => Outcome::Fine,
    }
}
