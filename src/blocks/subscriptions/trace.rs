//! The span of a delivery: it continues the trace in which the message was published, and the app
//! continues it. Nothing in it is from the message but its position in that trace.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue};
use serde::Deserialize;

use super::{Message, Outcome};
use crate::process::trace::Tracer;
use crate::process::trace::context::{TRACEPARENT, TRACESTATE};
use crate::process::trace::span::{self, Span};

/// Where in a trace an event was published.
#[derive(Deserialize)]
struct Published<'a> {
    #[serde(borrow, default)]
    traceparent: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    tracestate: Option<Cow<'a, str>>,
}

/// Begins the span of a delivery, and writes its context into the headers for the app.
pub(super) fn begin(tracer: &Tracer, message: &mut Message) -> Span {
    let mut headers = HeaderMap::new();
    if let Ok(published) = serde_json::from_slice::<Published<'_>>(message.event.envelope()) {
        for (name, value) in [
            (TRACEPARENT, published.traceparent),
            (TRACESTATE, published.tracestate),
        ] {
            let value = value.filter(|value| !value.is_empty());
            let value = value.and_then(|value| HeaderValue::from_str(&value).ok());
            headers.extend(value.map(|value| (name, value)));
        }
    }
    let mut span = tracer.server_span(&headers, || format!("pubsub/{}", message.topic).into());
    if span.is_recorded() {
        span.set("messaging.operation.type", "process");
        span.set("messaging.destination.name", message.topic.clone());
        span.set("net.peer.name", message.pubsub.clone());
    }
    span.inject(&mut headers);
    message.trace = headers;
    span
}

/// Ends it.
pub(super) fn end(span: Span, outcome: &Outcome) {
    span.end(match outcome {
        Outcome::Success | Outcome::Drop(_) => span::Outcome::Fine,
        Outcome::Retry(_) => span::Outcome::Failed("the app did not take the message"),
    });
}
