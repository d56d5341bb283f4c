//! Tells when Secrets of the cluster change.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use futures_util::future::select_all;
use futures_util::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Config, Error, Event};
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::info;

use crate::process::kubernetes::Cluster;

/// How long a refused watch rests: somebody may grant the right meanwhile.
const REFUSED_PAUSE: Duration = Duration::from_secs(300);
/// The most Secrets that are watched, each with a connection's stream of its own. Others are left
/// to the interval.
const MAX_WATCHED: usize = 64;

/// A Secret by namespace and name.
pub(super) type SecretId = (String, String);

/// The Secrets that are watched, each for as long as somebody asks for it.
#[derive(Default)]
pub(super) struct Watches(BTreeMap<SecretId, Watched>);

struct Watched {
    /// The version of the Secret, empty where there is none. A change that comes while nobody
    /// waits is not lost.
    version: watch::Receiver<String>,
    // Ends with it.
    _task: JoinSet<()>,
}

impl Watches {
    /// Waits until one of these Secrets may have changed. The first time that one is asked for it
    /// counts as changed, since it may have been between the read before and this.
    pub(super) async fn changed(&mut self, cluster: &Cluster, secrets: BTreeSet<SecretId>) {
        self.0.retain(|id, _| secrets.contains(id));
        for id in secrets.into_iter().take(MAX_WATCHED) {
            let (namespace, name) = id.clone();
            let watched = || Watched::new(cluster, namespace, name);
            self.0.entry(id).or_insert_with(watched);
        }
        let changes = self.0.values_mut().map(|watched| {
            let changed = async {
                // The task lives as long as this does.
                if watched.version.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            changed.boxed()
        });
        let changes: Vec<_> = changes.collect();
        if changes.is_empty() {
            std::future::pending::<()>().await;
        }
        select_all(changes).await;
    }
}

impl Watched {
    fn new(cluster: &Cluster, namespace: String, name: String) -> Self {
        let (sender, version) = watch::channel(String::new());
        let api = Api::namespaced(cluster.client.clone(), &namespace);
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                let error = follow(api.clone(), &name, &sender).await;
                info!(
                    secret = format!("{namespace}/{name}"),
                    %error,
                    "A Secret that a component refers to may not be watched; it is read again now \
                     and then (grant the verbs list and watch)"
                );
                sleep(REFUSED_PAUSE).await;
            }
        });
        Self {
            version,
            _task: task,
        }
    }
}

/// Follows one Secret until the API server refuses it. Other failures are tried again, with
/// growing pauses.
/// Only the metadata comes over, no value.
async fn follow(
    api: Api<PartialObjectMeta<Secret>>,
    name: &str,
    version: &watch::Sender<String>,
) -> Error {
    let tell = |now: Option<String>| {
        let now = now.unwrap_or_default();
        version.send_if_modified(|before| {
            let is_other = *before != now;
            *before = now;
            is_other
        });
    };
    let one = Config::default().fields(&format!("metadata.name={name}"));
    let mut events = pin!(watcher(api, one).default_backoff());
    let mut listed = None;
    loop {
        match events.next().await {
            Some(Ok(Event::Init)) => listed = None,
            Some(Ok(Event::InitApply(secret))) => listed = secret.metadata.resource_version,
            Some(Ok(Event::InitDone)) => tell(listed.take()),
            Some(Ok(Event::Apply(secret))) => tell(secret.metadata.resource_version),
            Some(Ok(Event::Delete(_))) => tell(None),
            Some(Err(error)) if is_refusal(&error) => return error,
            Some(Err(_)) => {}
            // It never ends.
            None => std::future::pending().await,
        }
    }
}

fn is_refusal(error: &Error) -> bool {
    let status = match error {
        Error::InitialListFailed(kube::Error::Api(status))
        | Error::WatchStartFailed(kube::Error::Api(status))
        | Error::WatchFailed(kube::Error::Api(status))
        | Error::WatchError(status) => status,
        _ => return false,
    };
    matches!(status.code, 401 | 403)
}
