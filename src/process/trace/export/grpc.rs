//! OTLP over gRPC.

use std::sync::Arc;

use http::HeaderMap;
use http::header::USER_AGENT;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use tonic::metadata::MetadataMap;
use tonic::{Code, Extensions, Request, Status};

use super::transport::{HttpClient, Transport, failed, timed_out};
use super::{ExportError, otlp};
use crate::process::tasks::with_causes;
use crate::process::trace::Otlp;
use crate::process::trace::span::Record;

/// A collector.
pub(in crate::process::trace) struct Grpc {
    service: String,
    collector: Otlp,
    metadata: MetadataMap,
    client: TraceServiceClient<HttpClient>,
}

impl Grpc {
    pub(super) fn new(service: &str, collector: &Otlp, transport: Transport) -> Self {
        let mut headers: HeaderMap = collector.headers.iter().cloned().collect();
        headers.entry(USER_AGENT).or_insert(otlp::USER_AGENT);
        let origin = collector.endpoint.clone();
        Self {
            service: service.to_owned(),
            collector: collector.clone(),
            metadata: MetadataMap::from_headers(headers),
            client: TraceServiceClient::with_origin(transport.client(), origin),
        }
    }

    pub(super) async fn export(&self, batch: &[Arc<Record>]) -> Result<u64, ExportError> {
        let message = otlp::request(&self.service, batch);
        let metadata = self.metadata.clone();
        let request = Request::from_parts(metadata, Extensions::default(), message);
        let Otlp {
            endpoint, timeout, ..
        } = &self.collector;
        let mut client = self.client.clone();
        match tokio::time::timeout(*timeout, client.export(request)).await {
            Ok(Ok(answer)) => Ok(otlp::refused(answer.get_ref())),
            Ok(Err(status)) => {
                let is_temporary = is_temporary(status.code());
                Err(failed(endpoint, told(&status), is_temporary))
            }
            Err(_) => Err(timed_out(endpoint, *timeout)),
        }
    }
}

/// What a status says: of the road, why it fails; of the collector, its code.
fn told(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(cause) => with_causes(cause),
        None => format!("the collector answered {:?}", status.code()),
    }
}

/// The codes after which another try may succeed (OTLP, "Failures"); a road that fails is
/// `Unavailable` or `Unknown`.
fn is_temporary(code: Code) -> bool {
    matches!(
        code,
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::Unknown
            | Code::DataLoss
    )
}
