//! Spans as messages of OTLP. Pure.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, SpanFlags, Status};

use crate::process::trace::span::{Outcome, Record, Value};

/// The answer of a collector.
pub(super) type Answer = ExportTraceServiceResponse;

/// Who sends.
pub(super) const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("sidegate/", env!("CARGO_PKG_VERSION")));

/// A batch as one message.
pub(super) fn request(service: &str, batch: &[Arc<Record>]) -> ExportTraceServiceRequest {
    let resource = Resource {
        attributes: vec![text("service.name", service.to_owned())],
        ..Resource::default()
    };
    let scope = InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let spans = ScopeSpans {
        scope: Some(scope),
        spans: batch.iter().map(|record| span(record)).collect(),
        ..ScopeSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![spans],
            ..ResourceSpans::default()
        }],
    }
}

/// How many spans of a batch that it took a collector refused.
pub(super) fn refused(answer: &Answer) -> u64 {
    let partial = answer.partial_success.as_ref();
    partial.map_or(0, |partial| {
        u64::try_from(partial.rejected_spans).unwrap_or(0)
    })
}

fn span(record: &Record) -> Span {
    let (code, message) = match record.outcome {
        Outcome::Fine => (StatusCode::Unset, ""),
        Outcome::Failed(why) => (StatusCode::Error, why),
    };
    let mut flags = u32::from(record.context.flags());
    flags |= SpanFlags::ContextHasIsRemoteMask as u32;
    if record.parent.is_some() {
        flags |= SpanFlags::ContextIsRemoteMask as u32;
    }
    Span {
        trace_id: record.context.trace_id().to_vec(),
        span_id: record.context.span_id().to_vec(),
        parent_span_id: record.parent.map(Vec::from).unwrap_or_default(),
        flags,
        name: record.name.clone().into_owned(),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: nanos(record.start),
        end_time_unix_nano: nanos(record.start + record.duration),
        attributes: record.attributes.iter().map(attribute).collect(),
        status: Some(Status {
            message: message.to_owned(),
            code: code.into(),
        }),
        ..Span::default()
    }
}

fn attribute((name, value): &(&'static str, Value)) -> KeyValue {
    match value {
        Value::Text(value) => text(name, value.clone().into_owned()),
        Value::Number(number) => key_value(name, Any::IntValue(*number)),
    }
}

fn text(name: &str, value: String) -> KeyValue {
    key_value(name, Any::StringValue(value))
}

fn key_value(name: &str, value: Any) -> KeyValue {
    KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// 0 for a clock that stands before 1970, and where the number has no room after 2554.
fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or_default()
}
