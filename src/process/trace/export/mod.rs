//! Exporters: each turns a batch of spans into one request.

mod grpc;
mod http;
mod otlp;
mod stdout;
mod transport;
mod zipkin;

use std::sync::Arc;

use rustls::ClientConfig;

use super::Settings;
use super::endpoint::Protocol;
use super::span::Record;

/// A batch that was not taken.
#[derive(Debug, thiserror::Error)]
#[error("{server}: {problem}")]
pub(super) struct ExportError {
    /// Host and port of the collector.
    server: String,
    problem: String,
    /// Whether another try may succeed.
    pub(super) is_temporary: bool,
}

/// Where spans go.
pub(super) enum Exporter {
    Grpc(grpc::Grpc),
    Http(http::Http),
    Zipkin(zipkin::Zipkin),
    Stdout,
}

impl Exporter {
    /// Every exporter of the settings.
    pub(super) fn all(settings: &Settings, tls: Option<Arc<ClientConfig>>) -> Vec<Self> {
        let transport = |http2| transport::Transport::new(tls.clone(), http2);
        let service = &settings.service;
        let otlp = settings.otlp.as_ref().map(|otlp| match otlp.protocol {
            Protocol::Grpc => Self::Grpc(grpc::Grpc::new(service, otlp, transport(true))),
            Protocol::Http => Self::Http(http::Http::new(service, otlp, transport(false))),
        });
        let zipkin = settings.zipkin.as_ref();
        let zipkin =
            zipkin.map(|uri| Self::Zipkin(zipkin::Zipkin::new(service, uri, transport(false))));
        let stdout = settings.stdout.then_some(Self::Stdout);
        [otlp, zipkin, stdout].into_iter().flatten().collect()
    }

    /// Its name in metrics and logs.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Grpc(_) | Self::Http(_) => "otlp",
            Self::Zipkin(_) => "zipkin",
            Self::Stdout => "stdout",
        }
    }

    /// Sends a batch once, within a time limit. The answer is how many spans the collector refused
    /// though it took the batch.
    pub(super) async fn export(&self, batch: &[Arc<Record>]) -> Result<u64, ExportError> {
        match self {
            Self::Grpc(grpc) => grpc.export(batch).await,
            Self::Http(http) => http.export(batch).await,
            Self::Zipkin(zipkin) => zipkin.export(batch).await.map(|()| 0),
            Self::Stdout => {
                stdout::export(batch);
                Ok(0)
            }
        }
    }
}
