//! OTLP over HTTP, with protobuf bodies.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request};
use prost::Message as _;

use super::transport::Transport;
use super::{ExportError, otlp};
use crate::process::trace::Otlp;
use crate::process::trace::span::Record;

/// A collector.
pub(in crate::process::trace) struct Http {
    service: String,
    collector: Otlp,
    headers: HeaderMap,
    transport: Transport,
}

impl Http {
    pub(super) fn new(service: &str, collector: &Otlp, transport: Transport) -> Self {
        let mut headers: HeaderMap = collector.headers.iter().cloned().collect();
        headers.entry(USER_AGENT).or_insert(otlp::USER_AGENT);
        let protobuf = HeaderValue::from_static("application/x-protobuf");
        headers.insert(CONTENT_TYPE, protobuf);
        Self {
            service: service.to_owned(),
            collector: collector.clone(),
            headers,
            transport,
        }
    }

    pub(super) async fn export(&self, batch: &[Arc<Record>]) -> Result<u64, ExportError> {
        let body = otlp::request(&self.service, batch).encode_to_vec();
        let mut request = Request::new(body.into());
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.collector.endpoint.clone();
        *request.headers_mut() = self.headers.clone();
        let answer = self.transport.send(request, self.collector.timeout).await?;
        // One that cannot be read says nothing of refused spans.
        let answer = otlp::Answer::decode(answer).unwrap_or_default();
        Ok(otlp::refused(&answer))
    }
}
