//! Zipkin's JSON, version 2 (<https://zipkin.io/zipkin-api/>).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, Uri};
use serde::Serialize;

use super::transport::{Transport, failed};
use super::{ExportError, otlp};
use crate::process::trace::context::Hex;
use crate::process::trace::span::{Outcome, Record, Value};

/// How long one request may take: as long as one of OTLP without a setting.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A collector.
pub(in crate::process::trace) struct Zipkin {
    service: String,
    uri: Uri,
    transport: Transport,
}

impl Zipkin {
    pub(super) fn new(service: &str, uri: &Uri, transport: Transport) -> Self {
        Self {
            service: service.to_owned(),
            uri: uri.clone(),
            transport,
        }
    }

    pub(super) async fn export(&self, batch: &[Arc<Record>]) -> Result<(), ExportError> {
        let body = json(&self.service, batch);
        let body = body.map_err(|error| failed(&self.uri, error.to_string(), false))?;
        let mut request = Request::new(body.into());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
        request.headers_mut().insert(USER_AGENT, otlp::USER_AGENT);
        self.transport.send(request, TIMEOUT).await.map(drop)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Span<'a> {
    trace_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<String>,
    id: String,
    kind: &'static str,
    name: &'a str,
    /// Microseconds since 1970.
    timestamp: u64,
    /// Microseconds. Zipkin takes 0 for "not known".
    duration: u64,
    local_endpoint: Endpoint<'a>,
    tags: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint<'a> {
    service_name: &'a str,
}

/// A batch as a list.
pub(super) fn json(service: &str, batch: &[Arc<Record>]) -> serde_json::Result<Vec<u8>> {
    let spans: Vec<Span<'_>> = batch.iter().map(|record| span(service, record)).collect();
    serde_json::to_vec(&spans)
}

fn span<'a>(service: &'a str, record: &'a Record) -> Span<'a> {
    let mut tags = tags(record);
    if let Outcome::Failed(why) = record.outcome {
        tags.insert("error", why.to_owned());
    }
    let since = record.start.duration_since(UNIX_EPOCH).unwrap_or_default();
    Span {
        trace_id: Hex(record.context.trace_id()).to_string(),
        parent_id: record.parent.map(|parent| Hex(&parent).to_string()),
        id: Hex(record.context.span_id()).to_string(),
        kind: "SERVER",
        name: &record.name,
        timestamp: micros(since),
        duration: micros(record.duration).max(1),
        local_endpoint: Endpoint {
            service_name: service,
        },
        tags,
    }
}

/// The attributes as texts.
pub(super) fn tags(record: &Record) -> BTreeMap<&'static str, String> {
    let text = |value: &Value| match value {
        Value::Text(text) => text.clone().into_owned(),
        Value::Number(number) => number.to_string(),
    };
    let attributes = record.attributes.iter();
    attributes
        .map(|(name, value)| (*name, text(value)))
        .collect()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
