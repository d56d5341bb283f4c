//! What runs at one moment.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::messaging::{LoadedBinding, LoadedPubSub};
use super::pipelines::Pipelines;
use super::rules::Rules;
use super::scope::Scope;
use super::stores::LoadedState;
use crate::components::catalog::{Category, category};
use crate::components::configuration::ConfigurationStore;
use crate::components::lock::LockStore;
use crate::components::secret_store::{
    RequestMetadata, SecretMap, SecretStore, Secrets, StoreError,
};
use crate::endpoints::Endpoint;
use crate::process::log_rate::LogRate;
use crate::resiliency::Resiliency;
use crate::resources::component::Component;
use crate::resources::configuration::Configuration;
use crate::resources::sidecar_policy::{Audit, Policy};
use crate::resources::subscription::Subscription;

/// How many secrets are read at once where a store cannot list them.
const READS_AT_ONCE: usize = 8;

/// Components and configuration at one moment. It never changes; a newer one replaces it.
#[derive(Default)]
pub struct Snapshot {
    /// The components that run, in the order of their names.
    pub components: Vec<LoadedComponent>,
    /// The components that do not run though their manifests are there.
    pub failed: Vec<FailedComponent>,
    /// The HTTP endpoints that are written down for this app, by name.
    pub endpoints: BTreeMap<String, NamedEndpoint>,
    /// What the configuration files say.
    pub configuration: Arc<Configuration>,
    /// What the policy says.
    pub policy: Arc<Policy>,
    /// What counts when calls fail.
    pub resiliency: Arc<Resiliency>,
    /// The pipelines, as the configuration of the start names them, with the middlewares of now.
    pub(crate) pipelines: Pipelines,
    pub(crate) secret_stores: HashMap<String, Arc<LoadedSecretStore>>,
    /// Pub/sub by name.
    pub pubsubs: BTreeMap<String, Arc<LoadedPubSub>>,
    /// Bindings by name.
    pub bindings: BTreeMap<String, Arc<LoadedBinding>>,
    /// State stores by name.
    pub states: BTreeMap<String, Arc<LoadedState>>,
    /// Configuration stores by name.
    pub configurations: BTreeMap<String, Arc<dyn ConfigurationStore>>,
    /// Lock stores by name.
    pub locks: BTreeMap<String, Arc<dyn LockStore>>,
    /// The subscriptions that are written down for this app, in their order.
    pub subscriptions: Vec<Arc<Subscription>>,
}

/// A component that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedComponent {
    /// Its name.
    pub name: String,
    /// For example `secretstores.local.file`.
    pub component_type: String,
    /// For example `v1`.
    pub version: String,
    /// In the words of `/v1.0/metadata`.
    pub capabilities: Vec<&'static str>,
}

/// A component that does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedComponent {
    /// Its name.
    pub name: String,
    /// Its type.
    pub component_type: String,
    /// Its version.
    pub version: String,
    /// Why, without secrets.
    pub reason: String,
    /// An earlier version of it still runs.
    pub keeps_running: bool,
}

/// An HTTP endpoint. At least one of the two is there.
#[derive(Clone, Debug)]
pub struct NamedEndpoint {
    /// What is called: where the version that is written down fails, an earlier one.
    pub running: Option<Arc<Endpoint>>,
    /// Why the version that is written down cannot be called, without secrets.
    pub failure: Option<String>,
}

/// An HTTP endpoint that is written down and cannot be called. The text is for clients.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("HTTPEndpoint {name:?} is not loaded: /v1.0/metadata says why")]
pub struct EndpointNotLoaded {
    name: String,
}

impl FailedComponent {
    pub(super) fn new(component: &Component, reason: String, keeps_running: bool) -> Self {
        Self {
            name: component.name.clone(),
            component_type: component.component_type.clone(),
            version: component.version.clone(),
            reason,
            keeps_running,
        }
    }
}

impl Snapshot {
    /// The secret stores that do not answer, in the order of their names, each with since when.
    pub fn stores_down(&self) -> Vec<(&str, SystemTime)> {
        let down = self.secret_stores.iter().filter_map(|(name, store)| {
            let since = store.store.down_since()?;
            Some((name.as_str(), since))
        });
        let mut down: Vec<_> = down.collect();
        down.sort_unstable();
        down
    }

    /// The endpoint of a name; `None` where none of it is written down for this app. Where it
    /// cannot be called, nothing else may be called under its name.
    pub fn endpoint(&self, name: &str) -> Option<Result<&Arc<Endpoint>, EndpointNotLoaded>> {
        let named = self.endpoints.get(name)?;
        Some(named.running.as_ref().ok_or_else(|| EndpointNotLoaded {
            name: name.to_owned(),
        }))
    }

    /// A secret store that runs.
    pub(crate) fn secret_store(&self, name: &str) -> Option<&Arc<LoadedSecretStore>> {
        self.secret_stores.get(name)
    }

    /// Whether a secret store runs.
    pub fn has_secret_stores(&self) -> bool {
        !self.secret_stores.is_empty()
    }

    /// The components of a category that are defined and do not run.
    pub(crate) fn failed_of(&self, wanted: Category) -> impl Iterator<Item = &FailedComponent> {
        self.failed.iter().filter(move |component| {
            !component.keeps_running && category(&component.component_type) == wanted
        })
    }
}

/// A secret store with its scope and its metrics.
pub(crate) struct LoadedSecretStore {
    store: Arc<dyn SecretStore>,
    scope: Scope,
    /// The namespaces beside the store's own that the app may name.
    allowed_namespaces: Vec<String>,
    audit: Audit,
    failures: LogRate,
    name: String,
    namespace: String,
    get: Meters,
    bulk: Meters,
}

impl LoadedSecretStore {
    pub(super) fn new(
        store: Arc<dyn SecretStore>,
        rules: &Rules,
        name: &str,
        namespace: &str,
    ) -> Self {
        let scopes = &rules.configuration.secret_scopes;
        let scope = match scopes.iter().find(|scope| scope.store == name) {
            Some(entry) => Scope::new(entry, |secret| store.canonical_name(secret).into_owned()),
            None => Scope::of_all_stores(&rules.policy),
        };
        Self {
            store,
            scope,
            allowed_namespaces: rules.policy.allowed_namespaces.clone(),
            audit: rules.policy.audit,
            failures: LogRate::default(),
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            get: Meters::new("get"),
            bulk: Meters::new("bulk_get"),
        }
    }

    /// One secret for a component: not from a cache, neither counted nor limited by scopes.
    pub(super) async fn get_fresh(
        &self,
        secret: &str,
        metadata: &RequestMetadata,
    ) -> Result<Option<Arc<SecretMap>>, StoreError> {
        self.store.get_fresh(secret, metadata).await
    }

    /// Waits until one of these secrets may have changed.
    pub(super) async fn changed(&self, secrets: &[(String, RequestMetadata)]) {
        self.store.changed(secrets).await;
    }

    /// How often the log tells of failed reads.
    pub(crate) fn failures(&self) -> &LogRate {
        &self.failures
    }

    /// Whether a read is logged.
    pub(crate) fn audits(&self, was_denied: bool) -> bool {
        was_denied || self.audit == Audit::All
    }

    /// Whether the scopes let the app read a secret.
    pub(crate) fn permits(&self, secret: &str) -> bool {
        self.scope.permits(&self.store.canonical_name(secret))
    }

    /// The namespace that a request names and may not.
    pub(crate) fn refused_namespace<'a>(&self, metadata: &'a RequestMetadata) -> Option<&'a str> {
        let named = self.store.foreign_namespace(metadata)?;
        let is_allowed = self.allowed_namespaces.iter().any(|own| own == named);
        (!is_allowed).then_some(named)
    }

    /// Whether the scopes let the app read nothing of this store.
    pub(crate) fn denies_all(&self) -> bool {
        self.scope.denies_all()
    }

    /// One secret, counted.
    pub(crate) async fn get(
        &self,
        secret: &str,
        metadata: &RequestMetadata,
    ) -> Result<Option<Arc<SecretMap>>, StoreError> {
        let start = Instant::now();
        let answer = self.store.get(secret, metadata).await;
        self.get.count(self, answer.is_ok(), start.elapsed());
        answer
    }

    /// Every secret, counted, the scopes not applied. Where the store may not list, those that the
    /// scopes name.
    pub(crate) async fn bulk(&self, metadata: &RequestMetadata) -> Result<Secrets, StoreError> {
        let start = Instant::now();
        let answer = match (self.store.bulk(metadata).await, self.scope.only()) {
            (Err(StoreError::ListForbidden(_)), Some(names)) => self.each(names, metadata).await,
            (answer, _) => answer,
        };
        self.bulk.count(self, answer.is_ok(), start.elapsed());
        answer
    }

    /// The secrets of these names, one by one. One that is not there is left out, as in a list.
    async fn each(
        &self,
        names: Vec<String>,
        metadata: &RequestMetadata,
    ) -> Result<Secrets, StoreError> {
        let reads = names.into_iter().map(|name| self.named(name, metadata));
        let reads: Vec<_> = stream::iter(reads)
            .buffer_unordered(READS_AT_ONCE)
            .try_collect()
            .await?;
        Ok(reads.into_iter().flatten().collect())
    }

    async fn named(
        &self,
        name: String,
        metadata: &RequestMetadata,
    ) -> Result<Option<(String, Arc<SecretMap>)>, StoreError> {
        let secret = self.store.get(&name, metadata).await?;
        Ok(secret.map(|secret| (name, secret)))
    }
}

/// The metrics of one operation, registered when it is first used.
struct Meters {
    operation: &'static str,
    succeeded: OnceLock<(metrics::Counter, metrics::Histogram)>,
    failed: OnceLock<(metrics::Counter, metrics::Histogram)>,
}

impl Meters {
    fn new(operation: &'static str) -> Self {
        Self {
            operation,
            succeeded: OnceLock::new(),
            failed: OnceLock::new(),
        }
    }

    fn count(&self, store: &LoadedSecretStore, success: bool, elapsed: Duration) {
        let meters = if success {
            &self.succeeded
        } else {
            &self.failed
        };
        let (count, latency) = meters.get_or_init(|| {
            let labels = [
                ("component", store.name.clone()),
                ("namespace", store.namespace.clone()),
                ("operation", self.operation.to_owned()),
                ("success", success.to_string()),
            ];
            (
                metrics::counter!("dapr_component_secret_count", &labels),
                metrics::histogram!("dapr_component_secret_latencies", &labels),
            )
        });
        count.increment(1);
        latency.record(elapsed.as_secs_f64() * 1000.0);
    }
}
