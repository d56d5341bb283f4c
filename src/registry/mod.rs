//! From resources to running components, and the snapshot that everybody reads.
//!
//! ```text
//! sources → plan (which, in what order) → resolve (references → values) → catalog builds
//!           → snapshot swapped in
//!                                 HTTP endpoints: the same, with a client each
//! ```
//! `reconcile` is the only writer; `plan`, `scope` and the texts of `resolve` are pure.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use crate::base::environment::Environment;
use crate::components::catalog::Host;
use crate::process::kubernetes::Access;
use crate::process::tasks::Tasks;
use crate::resources::sidecar_policy::DefaultAccess;

mod builtin;
mod config;
mod endpoints;
mod follow;
pub mod messaging;
pub(crate) mod pipelines;
mod plan;
mod reconcile;
mod referrer;
mod report;
mod resiliencies;
mod resolve;
mod rules;
mod running;
mod scope;
pub mod snapshot;
mod sources;
mod start;
pub mod stores;
mod subscriptions;

use snapshot::Snapshot;

/// How often everything is read and resolved again, changed or not (Dapr 1.18).
pub const DEFAULT_RECONCILE_INTERVAL: Duration = Duration::from_secs(60);

/// What the registry is given.
#[derive(Clone, Debug)]
pub struct RegistryConfig {
    /// The id of the app, for scopes and `{appID}`.
    pub app_id: String,
    /// The namespace (`NAMESPACE`), where there is one.
    pub namespace: Option<String>,
    /// The folders with resources, in order.
    pub resource_paths: Vec<PathBuf>,
    /// The configurations, in order: files, and in Kubernetes the name of an object.
    pub config_files: Vec<PathBuf>,
    /// The name of the policy, where one is given.
    pub policy: Option<String>,
    /// The least strict default access: a policy can only be stricter.
    pub default_access: DefaultAccess,
    /// How the cluster is reached, where something of it is used.
    pub access: Access,
    /// Whether the store `kubernetes` is there without a manifest.
    pub has_kubernetes_store: bool,
    /// The environment, for `envRef`, `secretstores.local.env` and configurations.
    pub environment: Environment,
    /// Whether the sidecar runs in Kubernetes: then a reference that names no store means the
    /// store `kubernetes`.
    pub is_kubernetes: bool,
    /// Whether components and configurations are read from the cluster, in Kubernetes.
    pub reads_cluster: bool,
    /// How often everything is read and resolved again.
    pub reconcile_interval: Duration,
}

impl RegistryConfig {
    fn host(&self) -> Host<'_> {
        Host {
            environment: &self.environment,
            cluster: &self.access,
            app_id: &self.app_id,
        }
    }
}

/// Why the sidecar cannot start with its resources. All problems are told at once.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Documents that cannot be read.
    #[error("{}", lines(.0))]
    Resources(Vec<crate::resources::Error>),
    /// A configuration that is no file, where a control plane would hand it out.
    #[error(
        "configuration {name:?} is not a file, and with --control-plane-address this build reads \
         none from the cluster; mount it and give its path to --config (annotation \
         \"dapr.io/config\")"
    )]
    ClusterConfiguration {
        /// What `--config` names.
        name: String,
    },
    /// Several configurations of the cluster, whose order nobody could tell.
    #[error(
        "--config names two Configurations of the cluster, {first:?} and {second:?}; accepted are \
         one, and any number of files"
    )]
    SeveralConfigurations {
        /// One of them.
        first: String,
        /// Another.
        second: String,
    },
    /// A configuration that cannot be read from the cluster: its restrictions would be lost.
    #[error("configuration {name:?} cannot be read: {problem}")]
    Configuration {
        /// What `--config` names.
        name: String,
        /// Why.
        problem: String,
    },
    /// A configuration that is not in the cluster.
    #[error(
        "configuration {name:?} is not there: namespace {namespace:?} has no Configuration \
         (dapr.io/v1alpha1) of that name, and it is not the path of a file"
    )]
    NoConfiguration {
        /// What `--config` names.
        name: String,
        /// Where it was looked for.
        namespace: String,
    },
    /// A policy that is named and cannot be used: its restrictions would be lost.
    #[error(transparent)]
    Policy(#[from] rules::PolicyError),
    /// Components that cannot stand together.
    #[error("failed to load components")]
    Plan(#[from] plan::Error),
    /// Components that cannot start, and may not be left out.
    #[error("{}", .0.join("\n"))]
    Components(Vec<String>),
    /// A folder that cannot be watched.
    #[error("failed to create watcher")]
    Watch(#[from] crate::process::watch_dir::WatchError),
}

impl From<crate::resources::Error> for Error {
    fn from(error: crate::resources::Error) -> Self {
        Self::Resources(vec![error])
    }
}

fn lines(errors: &[crate::resources::Error]) -> String {
    let lines: Vec<_> = errors
        .iter()
        .map(|error| crate::process::tasks::with_causes(error))
        .collect();
    lines.join("\n")
}

/// The components of a sidecar.
pub struct Registry {
    snapshot: Arc<ArcSwap<Snapshot>>,
    changes: watch::Receiver<()>,
}

impl Registry {
    /// Reads the configuration and the resources, starts the components, and follows changes of
    /// the folders until shutdown.
    pub async fn start(config: RegistryConfig, tasks: &mut Tasks) -> Result<Arc<Self>, Error> {
        start::start(config, tasks).await
    }

    /// A registry without components, which stays so.
    pub fn empty() -> Arc<Self> {
        Arc::new(Self {
            snapshot: Arc::default(),
            changes: watch::channel(()).1,
        })
    }

    /// A registry that holds this and nothing else.
    #[cfg(test)]
    pub(crate) fn holding(snapshot: Snapshot) -> Arc<Self> {
        Arc::new(Self {
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
            changes: watch::channel(()).1,
        })
    }

    /// The same with changes that a test tells of.
    #[cfg(feature = "testing")]
    pub(crate) fn with_changes(snapshot: Snapshot, changes: watch::Receiver<()>) -> Arc<Self> {
        Arc::new(Self {
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
            changes,
        })
    }

    /// Takes something else in place of what it holds.
    #[cfg(feature = "testing")]
    pub(crate) fn replace(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
    }

    /// What runs now. Look once per request.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Tells of every new snapshot. It ends with the registry's own task.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.clone()
    }

    /// The same for a short look, without counting a reference.
    pub(crate) fn peek(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }
}
