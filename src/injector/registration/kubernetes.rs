//! Follows one webhook configuration, and keeps its `caBundle`.

use std::time::{Duration, SystemTime};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use futures_util::StreamExt as _;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::guard::unguarded;
use super::metrics;
use super::roots::kubernetes::Roots;
use super::trust::Place;
use crate::base::back_off::BackOff;
use crate::injector::object::kubernetes::{CallError, Object};
use crate::process::kubernetes::Cluster;
use crate::process::readiness::ReadinessGuard;
use crate::process::tasks::{BoxError, with_causes};

/// The owner of `caBundle` in the configurations' managed fields.
pub const FIELD_MANAGER: &str = "sidegate-injector";

/// From the first to the longest pause between tries.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(30)];

/// The two kinds of webhook configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of the webhook that injects.
    Mutating,
    /// Of the webhook that advises.
    Validating,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Mutating => "mutating",
            Self::Validating => "validating",
        }
    }

    fn resource(self) -> ApiResource {
        match self {
            Self::Mutating => ApiResource::erase::<MutatingWebhookConfiguration>(&()),
            Self::Validating => ApiResource::erase::<ValidatingWebhookConfiguration>(&()),
        }
    }

    fn plural(self) -> &'static str {
        match self {
            Self::Mutating => "mutatingwebhookconfigurations",
            Self::Validating => "validatingwebhookconfigurations",
        }
    }
}

/// What a process waits for at its start.
pub struct Starting {
    /// Dropped once the bundle is in place.
    pub bundle: ReadinessGuard,
    /// Dropped once no webhook would refuse every pod while it is down. Of mutating ones only.
    pub conditions: Option<ReadinessGuard>,
}

/// Keeps the `caBundle` of every webhook of one configuration.
pub struct Keeper {
    kind: Kind,
    configurations: Api<DynamicObject>,
    resource: ApiResource,
    object: Object,
    roots: Roots,
    place: Place,
    bundle_pending: Option<ReadinessGuard>,
    conditions_pending: Option<ReadinessGuard>,
    guarded: Option<bool>,
    seen: Option<DynamicObject>,
    back_off: BackOff,
    retry: Option<SystemTime>,
}

impl Keeper {
    /// Keeps the configuration `name`.
    pub fn new(
        cluster: &Cluster,
        (kind, name): (Kind, &str),
        roots: Roots,
        place: Place,
        starting: Starting,
    ) -> Self {
        metrics::describe(kind.as_str());
        let resource = kind.resource();
        Self {
            configurations: Api::all_with(cluster.client.clone(), &resource),
            resource,
            object: Object::cluster_wide(kind.plural(), name),
            kind,
            roots,
            place,
            bundle_pending: Some(starting.bundle),
            conditions_pending: starting.conditions,
            guarded: None,
            seen: None,
            back_off: BackOff::new(PAUSES),
            retry: None,
        }
    }

    /// Runs until shutdown. What the API server answers, and whether it does, never ends it.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), BoxError> {
        let events = watch_object(self.configurations.clone(), &self.object.name);
        let mut events = std::pin::pin!(events.default_backoff());
        loop {
            let pause = self.advance().await;
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                event = events.next() => match event {
                    Some(Ok(Some(configuration))) => self.see(configuration),
                    Some(Ok(None)) => self.miss(),
                    Some(Err(error)) => {
                        // What happens meanwhile is not seen.
                        self.place.holds_nothing();
                        self.failed(&self.object.watch_failed(error));
                    }
                    None => return Err("the watch on a webhook configuration ended".into()),
                },
                changed = self.roots.changed() => changed?,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn see(&mut self, configuration: DynamicObject) {
        if self.kind == Kind::Mutating {
            self.judge(&configuration.data);
        }
        self.seen = Some(configuration);
        self.retry = None;
    }

    fn miss(&mut self) {
        self.seen = None;
        self.lost();
        warn!(configuration = %self.object, "The configuration does not exist; waiting for it");
    }

    fn judge(&mut self, configuration: &Value) {
        let open = unguarded(configuration);
        let guarded = open.is_empty();
        metrics::guarded(guarded);
        if guarded {
            self.conditions_pending = None;
        }
        if self.guarded.replace(guarded) == Some(guarded) {
            return;
        }
        let webhooks = open.join(", ");
        if !guarded {
            error!(
                configuration = %self.object, webhooks,
                "An outage of this webhook would refuse every pod: its failurePolicy is Fail, and \
                 none of its matchConditions looks at dapr.io/enabled; put the condition back, or \
                 set failurePolicy to Ignore"
            );
        } else if self.guarded.is_some() {
            info!(configuration = %self.object, "Only pods that ask for it need the webhook");
        }
    }

    /// Brings the bundle into place. The time until the next try.
    async fn advance(&mut self) -> Duration {
        const LONG: Duration = Duration::from_secs(10 * 60);
        let now = SystemTime::now();
        if let Some(left) = self.retry.and_then(|retry| retry.duration_since(now).ok()) {
            return left;
        }
        let Some(seen) = &self.seen else {
            return LONG;
        };
        let in_place = bundles(&seen.data);
        let Some(wanted) = self.roots.wanted(&in_place) else {
            return LONG;
        };
        if holds(&in_place, &wanted) {
            self.found(&wanted, now);
            return LONG;
        }
        self.lost();
        match self.write().await {
            Ok(Some(written)) => self.see(written),
            // The watch is behind, and will tell.
            Ok(None) => return LONG,
            Err(error) if error.is_conflict() => {
                info!(configuration = %self.object, "Another replica was first; looking again");
            }
            Err(error) => {
                self.failed(&error);
                let pause = self.back_off.another();
                self.retry = Some(now + pause);
                return pause;
            }
        }
        Duration::ZERO
    }

    fn found(&mut self, bundle: &str, now: SystemTime) {
        self.back_off.end();
        self.place.holds(bundle, now);
        metrics::in_place(self.kind.as_str(), true);
        if self.bundle_pending.take().is_some() {
            info!(configuration = %self.object, "The configuration trusts the webhook's CA");
        }
    }

    fn lost(&self) {
        self.place.holds_nothing();
        metrics::in_place(self.kind.as_str(), false);
    }

    /// Writes the bundle where it is not in place. None: it is, or there is nothing to write.
    ///
    /// Both sides are read anew, and the write is for this version of the configuration only: a
    /// replica that was away cannot put an old bundle over a newer one.
    async fn write(&self) -> Result<Option<DynamicObject>, CallError> {
        let name = self.object.name.as_str();
        let read = self.configurations.get(name).await;
        let configuration = read.map_err(|cause| self.object.failed("get", cause))?;
        let in_place = bundles(&configuration.data);
        let Some(wanted) = self.roots.confirmed(&in_place).await? else {
            return Ok(None);
        };
        if holds(&in_place, &wanted) || in_place.is_empty() {
            return Ok(None);
        }
        let bundle = BASE64_STANDARD.encode(wanted);
        let webhook = |name: &str| json!({ "name": name, "clientConfig": { "caBundle": bundle } });
        let webhooks: Vec<Value> = in_place.iter().map(|(name, _)| webhook(name)).collect();
        let patch = json!({
            "apiVersion": self.resource.api_version,
            "kind": self.resource.kind,
            "metadata": { "resourceVersion": configuration.metadata.resource_version },
            "webhooks": webhooks,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let written = self
            .configurations
            .patch(name, &params, &Patch::Apply(&patch))
            .await
            .map_err(|cause| self.object.failed("patch", cause))?;
        metrics::written(self.kind.as_str());
        info!(configuration = %self.object, "Wrote the caBundle");
        Ok(Some(written))
    }

    fn failed(&self, error: &CallError) {
        metrics::failed(self.kind.as_str());
        warn!(
            error = %with_causes(error),
            "The caBundle of a webhook configuration could not be kept; trying again"
        );
    }
}

/// The webhooks of a configuration, each with the bundle that it holds.
pub(super) type Bundles = Vec<(String, String)>;

fn bundles(configuration: &Value) -> Bundles {
    let webhooks = configuration["webhooks"].as_array();
    let all = webhooks.into_iter().flatten().map(|webhook| {
        let name = webhook["name"].as_str().unwrap_or_default().to_owned();
        let encoded = webhook["clientConfig"]["caBundle"].as_str();
        let decoded = encoded.and_then(|text| BASE64_STANDARD.decode(text).ok());
        let bundle = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        (name, bundle.unwrap_or_default())
    });
    all.collect()
}

/// A configuration without webhooks tells nobody of the bundle.
fn holds(in_place: &Bundles, wanted: &str) -> bool {
    !in_place.is_empty() && in_place.iter().all(|(_, bundle)| bundle == wanted)
}
