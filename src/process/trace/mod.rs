//! Distributed tracing: the context of calls is passed on as W3C Trace Context says, and what this
//! process does in a call is exported as a span.
//!
//! ```text
//! headers → context → sampler → Span … end → queue (bounded) → batch → exporter
//!           └───────── pure ───────┘           one task for each exporter
//! ```
//! A call never waits for an exporter: a span that finds the queue full is dropped and counted.
//!
//! Invariant: a span holds what its owner puts into it, never headers by itself. What leaves is a
//! valid context or none.

mod batch;
pub mod context;
pub mod endpoint;
mod export;
mod sampler;
pub mod span;
mod state;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::ClientConfig;

use super::tasks::Tasks;
use batch::{Pace, Queue};
use context::TraceContext;
use endpoint::Protocol;
use export::Exporter;
use sampler::Sampler;
use span::{Record, Span};

/// Where spans go, and which.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of this service in the traces.
    pub service: String,
    /// The part of new traces that is recorded, from 0 to 1.
    pub rate: f64,
    /// Whether each span is a line of the log.
    pub stdout: bool,
    /// The URL of a Zipkin collector ([`endpoint::zipkin`]).
    pub zipkin: Option<Uri>,
    /// An OTLP collector.
    pub otlp: Option<Otlp>,
    /// How long requests in flight may take after shutdown began; their spans are waited for.
    pub drain: Duration,
}

/// An OTLP collector.
#[derive(Clone, Debug)]
pub struct Otlp {
    /// Its URL ([`endpoint::otlp`]).
    pub endpoint: Uri,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Headers, or metadata, of each request. Mark their values as sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How long one request may take.
    pub timeout: Duration,
}

impl Settings {
    /// Whether a collector is reached over TLS.
    pub fn needs_tls(&self) -> bool {
        let otlp = self.otlp.as_ref().map(|otlp| &otlp.endpoint);
        let endpoints = self.zipkin.iter().chain(otlp);
        endpoints
            .into_iter()
            .any(|uri| uri.scheme_str() == Some("https"))
    }

    /// Whether any span can ever be exported.
    fn is_on(&self) -> bool {
        let has_exporter = self.stdout || self.zipkin.is_some() || self.otlp.is_some();
        has_exporter && self.rate > 0.0
    }
}

/// Makes the spans of calls. Cheap to clone; the default one is off.
///
/// One that is off makes no spans and no contexts: a valid context passes as it came, an invalid
/// one is taken out.
#[derive(Clone, Debug, Default)]
pub struct Tracer(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    sampler: Sampler,
    random: SystemRandom,
    queues: Vec<Queue>,
}

impl Tracer {
    /// A tracer with a task for each exporter. The tasks end when shutdown began and every clone of
    /// the tracer is gone, at the latest some time after [`Settings::drain`]. Without `tls` no
    /// collector is reached over TLS.
    pub fn start(settings: &Settings, tls: Option<Arc<ClientConfig>>, tasks: &mut Tasks) -> Self {
        Self::start_at(Pace::new(settings.drain), settings, tls, tasks)
    }

    fn start_at(
        pace: Pace,
        settings: &Settings,
        tls: Option<Arc<ClientConfig>>,
        tasks: &mut Tasks,
    ) -> Self {
        if !settings.is_on() {
            return Self::default();
        }
        let exporters = Exporter::all(settings, tls);
        let start = |exporter: Exporter| {
            let (queue, worker) = batch::queue(exporter, pace);
            let stop = tasks.shutdown();
            tasks.spawn("traces", async move {
                worker.run(stop).await;
                Ok(())
            });
            queue
        };
        Self(Some(Arc::new(Inner {
            sampler: Sampler::new(settings.rate),
            random: SystemRandom::new(),
            queues: exporters.into_iter().map(start).collect(),
        })))
    }

    /// The span of a call that came in with these headers. `name` is asked for only where the span
    /// is recorded.
    pub fn server_span(
        &self,
        headers: &HeaderMap,
        name: impl FnOnce() -> Cow<'static, str>,
    ) -> Span {
        let parent = TraceContext::of(headers);
        let Some(inner) = &self.0 else {
            return Span::passing(parent);
        };
        let Some(context) = inner.next(parent.as_ref()) else {
            return Span::passing(parent);
        };
        let parent = parent.map(|parent| *parent.span_id());
        if context.is_sampled() {
            Span::recorded(Record::new(name(), context, parent), Arc::clone(inner))
        } else {
            Span::unrecorded(context, parent.is_some())
        }
    }
}

impl Inner {
    /// The position after `parent`, or the first one of a new trace. There is none where the system
    /// has no randomness.
    fn next(&self, parent: Option<&TraceContext>) -> Option<TraceContext> {
        match parent {
            Some(parent) => parent.child(self.random()?, parent.is_sampled()),
            None => {
                let trace_id = self.random()?;
                let is_sampled = self.sampler.takes(&trace_id);
                TraceContext::new(trace_id, self.random()?, is_sampled)
            }
        }
    }

    fn random<const N: usize>(&self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.random.fill(&mut bytes).ok()?;
        Some(bytes)
    }

    fn export(&self, record: Record) {
        let record = Arc::new(record);
        for queue in &self.queues {
            queue.add(Arc::clone(&record));
        }
    }
}

#[cfg(test)]
mod tests;
