//! What is told of the app.

use k8s_openapi::api::core::v1::Pod;

use crate::base::app_id::{AppId, MAX_APP_ID_LENGTH};
use crate::injector::annotations::table as key;
use crate::injector::annotations::{Annotations, shown};
use crate::injector::denial::{Denial, DenyReason};

/// The app beside the sidecar.
#[derive(Debug)]
pub(in crate::injector) struct App {
    pub(in crate::injector) id: AppId,
    pub(in crate::injector) port: Option<u16>,
    /// In lower case.
    pub(in crate::injector) protocol: &'static str,
    pub(in crate::injector) ssl: bool,
    pub(in crate::injector) channel_address: Option<String>,
    pub(in crate::injector) max_concurrency: Option<i32>,
    pub(in crate::injector) health: Option<AppHealth>,
}

/// How the sidecar asks the app for its health.
#[derive(Debug)]
pub(in crate::injector) struct AppHealth {
    pub(in crate::injector) path: String,
    pub(in crate::injector) interval_seconds: i32,
    pub(in crate::injector) timeout_millis: i32,
    pub(in crate::injector) threshold: i32,
}

impl App {
    pub(super) fn check(pod: &Pod, annotations: &mut Annotations<'_>) -> Result<Self, Denial> {
        // Dapr takes 0 for "no port".
        let port = match annotations.written(&key::APP_PORT) {
            Some("0") => None,
            _ => annotations.port(&key::APP_PORT)?,
        };
        Ok(Self {
            id: app_id(pod, annotations)?,
            port,
            protocol: annotations.choice(&key::APP_PROTOCOL)?,
            ssl: annotations.flag(&key::APP_SSL),
            channel_address: annotations.optional(&key::APP_CHANNEL_ADDRESS),
            max_concurrency: annotations.number(&key::APP_MAX_CONCURRENCY),
            health: AppHealth::check(annotations)?,
        })
    }

    /// The protocol with TLS folded in, as `APP_PROTOCOL` says it (Dapr 1.18).
    pub(in crate::injector) fn protocol_with_tls(&self) -> &'static str {
        match (self.protocol, self.ssl) {
            ("http", true) => "https",
            ("grpc", true) => "grpcs",
            (protocol, _) => protocol,
        }
    }
}

impl AppHealth {
    fn check(annotations: &mut Annotations<'_>) -> Result<Option<Self>, Denial> {
        if !annotations.flag(&key::HEALTH_CHECK) {
            return Ok(None);
        }
        let health = Self {
            path: annotations.text(&key::HEALTH_PATH).to_owned(),
            interval_seconds: annotations.amount(&key::HEALTH_INTERVAL),
            timeout_millis: annotations.amount(&key::HEALTH_TIMEOUT),
            threshold: annotations.amount(&key::HEALTH_THRESHOLD),
        };
        let interval_millis = i64::from(health.interval_seconds) * 1000;
        if i64::from(health.timeout_millis) > interval_millis {
            return Err(Denial::cannot_run(format!(
                "annotation {:?}: \"{}\" is over the {interval_millis} ms of {:?}: accepted is at \
                 most that",
                key::HEALTH_TIMEOUT.key,
                health.timeout_millis,
                key::HEALTH_INTERVAL.key
            )));
        }
        Ok(Some(health))
    }
}

/// The annotation, or the name of the pod where it has one.
fn app_id(pod: &Pod, annotations: &Annotations<'_>) -> Result<AppId, Denial> {
    let row = key::APP_ID.key;
    let written = annotations.optional(&key::APP_ID);
    let name = pod.metadata.name.as_deref().filter(|name| !name.is_empty());
    let (text, what) = match (&written, name) {
        (Some(text), _) => (text.as_str(), format!("annotation {row:?}")),
        (None, Some(name)) => (
            name,
            format!("annotation {row:?} is missing, and the pod's name"),
        ),
        (None, None) => {
            return Err(Denial {
                reason: DenyReason::AppId,
                message: format!(
                    "annotation {row:?} is missing, and the pod has no name yet to take its \
                     place: set it in the annotations of the pod template"
                ),
            });
        }
    };
    let separator = if written.is_some() { ":" } else { "" };
    AppId::parse(text).map_err(|_| Denial {
        reason: DenyReason::AppId,
        message: format!(
            "{what}{separator} {} is not an app id: accepted are 1 to {MAX_APP_ID_LENGTH} of the \
             characters a-z, 0-9 and \"-\", with a letter or digit at both ends",
            shown(text)
        ),
    })
}
