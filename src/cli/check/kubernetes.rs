//! What the API server says of a webhook.

use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhook, MutatingWebhookConfiguration, ServiceReference,
};
use kube::Api;

use super::report::Failure;
use crate::process::kubernetes::{Access, Cluster};
use crate::process::tasks::with_causes;

/// The name of the webhook in its configuration.
const WEBHOOK: &str = "injector.sidegate.dev";

/// How long the API server may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How a webhook is registered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Registration {
    /// The Service that is called.
    pub(super) service: Service,
    /// Whether only pods that ask for a sidecar are sent to it.
    pub(super) asks_first: bool,
    /// The CA certificates that the API server trusts it by, PEM.
    pub(super) ca_bundle: Vec<u8>,
}

/// A Service that a webhook stands behind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Service {
    /// `NAME.NAMESPACE.svc`, as the API server asks for its certificate.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) path: String,
}

/// Reads the configuration of a name.
pub(super) async fn read(access: &Access, name: &str) -> Result<Registration, Failure> {
    let object = format!("MutatingWebhookConfiguration {name:?}");
    let cluster = Cluster::connect(access).await.map_err(|error| Failure {
        cause: with_causes(&error),
        fix: "give --kubeconfig, or run it in a pod with a service account".to_owned(),
    })?;
    let api: Api<MutatingWebhookConfiguration> = Api::all(cluster.client);
    let configuration = match tokio::time::timeout(TIMEOUT, api.get(name)).await {
        Ok(Ok(configuration)) => configuration,
        Ok(Err(error)) => return Err(not_read(&object, &error)),
        Err(_) => {
            return Err(Failure {
                cause: format!("the API server does not answer within {TIMEOUT:?}"),
                fix: "see whether this place can reach it".to_owned(),
            });
        }
    };
    let webhooks = configuration.webhooks.unwrap_or_default();
    let webhook = webhooks.into_iter().find(|webhook| webhook.name == WEBHOOK);
    let webhook = webhook.ok_or_else(|| Failure {
        cause: format!("{object} has no webhook {WEBHOOK:?}"),
        fix: "it is not Sidegate's: name Sidegate's with --mutating-webhook".to_owned(),
    })?;
    registration(&object, webhook)
}

fn not_read(object: &str, error: &kube::Error) -> Failure {
    let code = match error {
        kube::Error::Api(status) => status.code,
        _ => 0,
    };
    let fix = match code {
        404 => {
            "install the chart, or name another with --mutating-webhook (kubectl get \
             mutatingwebhookconfigurations lists them)"
        }
        403 => "it takes the right to get that mutatingwebhookconfiguration, by a ClusterRole",
        401 => "the credentials are not valid: log in again",
        _ => "see whether this place can reach the API server",
    };
    let cause = match code {
        404 => format!("there is no {object}"),
        403 => format!("{object} must not be read"),
        _ => format!("{object} cannot be read: {}", with_causes(error)),
    };
    Failure {
        cause,
        fix: fix.to_owned(),
    }
}

fn registration(object: &str, webhook: MutatingWebhook) -> Result<Registration, Failure> {
    let service = webhook.client_config.service.ok_or_else(|| Failure {
        cause: format!("{object} calls a URL and no Service"),
        fix: "check that URL yourself".to_owned(),
    })?;
    let conditions = webhook.match_conditions.unwrap_or_default();
    Ok(Registration {
        service: Service::from(service),
        asks_first: conditions
            .iter()
            .any(|condition| condition.expression.contains("'dapr.io/enabled'")),
        ca_bundle: webhook.client_config.ca_bundle.unwrap_or_default().0,
    })
}

impl From<ServiceReference> for Service {
    fn from(reference: ServiceReference) -> Self {
        let port = reference.port.and_then(|port| u16::try_from(port).ok());
        Self {
            host: format!("{}.{}.svc", reference.name, reference.namespace),
            // The defaults of the API.
            port: port.unwrap_or(443),
            path: reference.path.unwrap_or_else(|| "/".to_owned()),
        }
    }
}
