//! Watches the webhooks of the cluster. No review ever waits for it.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt as _;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt as _};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{OtherInjector, OtherInjectors};
use crate::process::kubernetes::Cluster;
use crate::process::tasks::BoxError;

/// Keeps the list of other injectors.
pub struct Follower {
    cluster: Cluster,
    own: Option<String>,
    found: watch::Sender<Arc<[OtherInjector]>>,
}

/// The other injectors of a cluster, none until the follower runs. `own` is the name of this
/// injector's MutatingWebhookConfiguration.
pub fn follow(cluster: Cluster, own: Option<String>) -> (OtherInjectors, Follower) {
    let (found, others) = watch::channel(Arc::default());
    let follower = Follower {
        cluster,
        own,
        found,
    };
    (others, follower)
}

impl Follower {
    /// Watches until `stop`. Where the API server does not let us, the list stays as it is, and it
    /// is asked again at growing intervals: the right may be given later.
    ///
    /// # Errors
    ///
    /// None: nothing depends on it.
    pub async fn run(self, stop: CancellationToken) -> Result<(), BoxError> {
        let api = Api::<MutatingWebhookConfiguration>::all(self.cluster.client.clone());
        let events = watcher(api, watcher::Config::default()).default_backoff();
        let mut events = pin!(events);
        let mut registered = Registered::default();
        let mut told = false;
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                event = events.next() => event,
            };
            match event {
                Some(Ok(event)) => {
                    told = false;
                    if registered.apply(event, self.own.as_deref()) {
                        self.publish(&registered);
                    }
                }
                Some(Err(error)) => {
                    if !std::mem::replace(&mut told, true) {
                        info!(%error, "Other injectors cannot be looked for");
                    }
                }
                // A watcher goes on for ever.
                None => return Ok(()),
            }
        }
    }

    fn publish(&self, registered: &Registered) {
        let others: Arc<[_]> = registered.by_name.values().flatten().cloned().collect();
        self.found.send_if_modified(|known| {
            let is_new = *known != others;
            if is_new {
                let names: Vec<_> = others.iter().map(|other| &other.configuration).collect();
                info!(configurations = ?names, "The other injectors of the cluster changed");
                *known = others;
            }
            is_new
        });
    }
}

/// The injectors of others in each configuration, by its name.
#[derive(Default)]
struct Registered {
    by_name: BTreeMap<String, Vec<OtherInjector>>,
    /// Those of a list that is not yet whole.
    listed: BTreeMap<String, Vec<OtherInjector>>,
}

impl Registered {
    /// Takes an event in; whether the list is whole after it.
    fn apply(&mut self, event: Event<MutatingWebhookConfiguration>, own: Option<&str>) -> bool {
        let is_whole = !matches!(event, Event::Init | Event::InitApply(_));
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(one) => {
                self.listed
                    .insert(one.name_any(), OtherInjector::of(&one, own));
            }
            Event::InitDone => self.by_name = std::mem::take(&mut self.listed),
            Event::Apply(one) => {
                self.by_name
                    .insert(one.name_any(), OtherInjector::of(&one, own));
            }
            Event::Delete(one) => drop(self.by_name.remove(&one.name_any())),
        }
        is_whole
    }
}
