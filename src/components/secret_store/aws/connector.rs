//! The SDK's way to the network: our HTTP client, with its TLS, its limits and no redirects.

use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient as SdkHttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::Request;

use crate::components::http_client::{HttpClient, refused};
use crate::components::secret_store::StoreError;
use crate::process::tasks::with_causes;
use crate::tls::client::Trust;

/// Headers whose values are credentials.
const SENSITIVE: [&str; 5] = [
    "authorization",
    "x-amz-security-token",
    "x-amz-sso_bearer_token",
    "x-aws-ec2-metadata-token",
    "cookie",
];

/// The connector of every client of one store, those that fetch credentials with them.
///
/// An answer that another try may heal is an error already here, so that it is classified alike
/// wherever in the SDK it arrives. The error is a [`StoreError`] among the causes.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    client: HttpClient,
    max_answer_bytes: usize,
    /// The time of one exchange, where the SDK sets one: for the metadata service of EC2, which
    /// most machines do not have.
    time: Option<Duration>,
}

impl Connector {
    pub(super) fn new(max_answer_bytes: usize) -> Result<Self, StoreError> {
        let client = HttpClient::new(&Trust::default());
        let client = client.map_err(|error| StoreError::Failed(with_causes(&error)))?;
        Ok(Self {
            client,
            max_answer_bytes,
            time: None,
        })
    }

    async fn exchange(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let request = request.try_into_http1x().map_err(unsent)?;
        let (mut head, body) = request.into_parts();
        for name in SENSITIVE {
            if let Some(value) = head.headers.get_mut(name) {
                value.set_sensitive(true);
            }
        }
        let host = head.uri.host().unwrap_or_default().to_owned();
        let body = body.bytes().map(Bytes::copy_from_slice).unwrap_or_default();
        let sent = self
            .client
            .send(Request::from_parts(head, body), self.max_answer_bytes);
        let answer = match self.time {
            None => sent.await,
            Some(time) => tokio::time::timeout(time, sent)
                .await
                .map_err(|error| ConnectorError::timeout(error.into()))?,
        };
        let answer = answer.map_err(|error| failed(StoreError::from(error)))?;
        let text = format!("{host} answered {}", answer.status());
        let error = refused(answer.status(), answer.headers(), text);
        if matches!(error, StoreError::Unavailable { .. }) {
            return Err(failed(error));
        }
        HttpResponse::try_from(answer.map(SdkBody::from)).map_err(unsent)
    }
}

fn failed(error: StoreError) -> ConnectorError {
    ConnectorError::io(error.into())
}

fn unsent(error: impl std::error::Error) -> ConnectorError {
    failed(StoreError::Failed(with_causes(&error)))
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().exchange(request))
    }
}

impl SdkHttpClient for Connector {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let time = settings
            .read_timeout()
            .map(|read| read + settings.connect_timeout().unwrap_or_default());
        SharedHttpConnector::new(Self {
            time,
            ..self.clone()
        })
    }
}
