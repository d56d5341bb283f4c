//! The span of one call: what is told of it, and the context that is passed on.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::HeaderMap;

use super::Inner;
use super::context::{self, TRACEPARENT, TRACESTATE, TraceContext};

/// The most bytes of a name, and of the text of an attribute: with the length of the queue it
/// bounds the memory that waiting spans take.
const MAX_TEXT: usize = 256;
/// The most attributes of a span.
const MAX_ATTRIBUTES: usize = 32;

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(Cow<'static, str>),
    /// A number.
    Number(i64),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is no fault of this service.
    Fine,
    /// It is one. The text is of the code, never of a caller.
    Failed(&'static str),
}

/// The span of one call. It ends with [`Span::end`]; one that is dropped before says that the call
/// was broken off.
#[derive(Debug)]
pub struct Span {
    context: Option<TraceContext>,
    origin: Origin,
    recording: Option<Box<Recording>>,
}

/// Where the context of a span is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// It is that of the caller.
    Caller,
    /// It follows that of the caller.
    Continued,
    /// The trace begins here.
    Made,
}

#[derive(Debug)]
struct Recording {
    record: Record,
    started: Instant,
    tracer: Arc<Inner>,
}

/// A span as it is exported.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) name: Cow<'static, str>,
    pub(super) context: TraceContext,
    pub(super) parent: Option<[u8; 8]>,
    pub(super) start: SystemTime,
    pub(super) duration: Duration,
    pub(super) attributes: Vec<(&'static str, Value)>,
    pub(super) outcome: Outcome,
}

impl Record {
    pub(super) fn new(
        name: Cow<'static, str>,
        context: TraceContext,
        parent: Option<[u8; 8]>,
    ) -> Self {
        Self {
            name: cut(name),
            context,
            parent,
            start: SystemTime::now(),
            duration: Duration::ZERO,
            attributes: Vec::new(),
            outcome: Outcome::Fine,
        }
    }
}

impl Span {
    /// No span: the context of the caller passes.
    pub(super) fn passing(parent: Option<TraceContext>) -> Self {
        Self {
            context: parent,
            origin: Origin::Caller,
            recording: None,
        }
    }

    /// A span that is not recorded, by the decision of the caller or of the sampler.
    pub(super) fn unrecorded(context: TraceContext, is_continued: bool) -> Self {
        let origin = if is_continued {
            Origin::Continued
        } else {
            Origin::Made
        };
        Self {
            context: Some(context),
            origin,
            recording: None,
        }
    }

    pub(super) fn recorded(record: Record, tracer: Arc<Inner>) -> Self {
        let unrecorded = Self::unrecorded(record.context, record.parent.is_some());
        let recording = Recording {
            record,
            started: Instant::now(),
            tracer,
        };
        Self {
            recording: Some(Box::new(recording)),
            ..unrecorded
        }
    }

    /// Whether anybody will see its attributes.
    pub fn is_recorded(&self) -> bool {
        self.recording.is_some()
    }

    /// The context that is passed on, where there is one.
    pub fn context(&self) -> Option<&TraceContext> {
        self.context.as_ref()
    }

    /// Sets an attribute; the next one of the same name stands beside it. A long text is cut.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        let Some(recording) = &mut self.recording else {
            return;
        };
        let attributes = &mut recording.record.attributes;
        if attributes.len() < MAX_ATTRIBUTES {
            let value = match value.into() {
                Value::Text(text) => Value::Text(cut(text)),
                number @ Value::Number(_) => number,
            };
            attributes.push((name, value));
        }
    }

    /// Writes the context into the headers that the call goes on with. What is not valid of a
    /// caller's is taken out.
    pub fn inject(&self, headers: &mut HeaderMap) {
        if self.origin == Origin::Made {
            headers.remove(TRACESTATE);
        } else {
            context::sanitise(headers);
        }
        if let Some(context) = &self.context
            && self.origin != Origin::Caller
        {
            context.replace(headers);
        }
    }

    /// Writes the context into the headers of an answer. Without one, only a valid one that is
    /// there already stays.
    pub fn mark(&self, headers: &mut HeaderMap) {
        match &self.context {
            Some(context) => drop(headers.insert(TRACEPARENT, context.to_header())),
            None => context::sanitise(headers),
        }
    }

    /// Ends it.
    pub fn end(mut self, outcome: Outcome) {
        self.finish(outcome);
    }

    fn finish(&mut self, outcome: Outcome) {
        if let Some(recording) = self.recording.take() {
            let Recording {
                mut record,
                started,
                tracer,
            } = *recording;
            record.duration = started.elapsed();
            record.outcome = outcome;
            tracer.export(record);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.finish(Outcome::Failed("cancelled"));
    }
}

/// At most [`MAX_TEXT`] bytes of a text, cut between two characters.
fn cut(mut text: Cow<'static, str>) -> Cow<'static, str> {
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT).rev().find(|&at| text.is_char_boundary(at));
        text = text[..end.unwrap_or_default()].to_owned().into();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("short".into()), "short");
        let long = "é".repeat(MAX_TEXT);
        assert_eq!(cut(long.into()), "é".repeat(MAX_TEXT / 2));
        let odd = format!("x{}", "é".repeat(MAX_TEXT));
        assert_eq!(cut(odd.into()).len(), MAX_TEXT - 1);
    }
}
