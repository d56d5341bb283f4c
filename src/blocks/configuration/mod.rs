//! Configuration of the app: items of the stores that run, and changes of them.
//!
//! ```text
//! get:       api → which store → resiliency → store
//! subscribe: api → Follower (reads a store, whatever happens) → Inbox (of each key the newest)
//!                     └ a task of the supervisor       Inbox → Delivery → HTTP app
//!                                                      Inbox → Session → stream of the gRPC API
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::error::{ConfigurationReason, Error, Reason};
use super::verdict;
use crate::app_channel::AppChannel;
use crate::components::BackendError;
use crate::components::catalog::Category;
use crate::components::configuration::{
    ConfigurationStore, Item as StoredItem, Items as StoredItems,
};
use crate::process::log_rate::LogRate;
use crate::registry::Registry;
use crate::resiliency::{ComponentType, Direction, Policy};
use delivery::Delivery;
use follower::{Follower, Wanted};
use inbox::{Closing, Inbox};
use open::{Registration, Subscriptions};
use supervisor::Job;

pub use crate::components::message::Metadata;
pub use session::Session;
pub use supervisor::Supervisor;

mod delivery;
mod follower;
mod inbox;
mod open;
mod session;
pub mod supervisor;
#[cfg(test)]
mod tests;

/// How many subscriptions wait until the supervisor starts them.
const STARTING: usize = 16;

/// A store that runs.
type Store = Arc<dyn ConfigurationStore>;

/// An item, as apps get it over HTTP: what is empty is left out (Dapr 1.18).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Its value. Empty where the item was deleted.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// Its version, in the store's own words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// What else the store says of it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: Metadata,
}

/// Items by key.
pub type Items = BTreeMap<String, Item>;

impl From<StoredItem> for Item {
    fn from(item: StoredItem) -> Self {
        Self {
            value: item.value,
            version: item.version,
            metadata: item.metadata,
        }
    }
}

/// The configuration stores that run.
pub struct Configurations {
    registry: Arc<Registry>,
    namespace: String,
    /// Whom to tell of changes that a call over HTTP asks for.
    app: Option<AppChannel>,
    subscriptions: Subscriptions,
    starting: mpsc::Sender<Job>,
    failures: LogRate,
}

impl Configurations {
    /// Those of a registry, and what keeps subscriptions of them running. The namespace is a label
    /// of metrics.
    pub fn new(
        registry: Arc<Registry>,
        namespace: &str,
        app: Option<AppChannel>,
    ) -> (Self, Supervisor) {
        let (starting, to_start) = mpsc::channel(STARTING);
        let stop = CancellationToken::new();
        let configurations = Self {
            registry,
            namespace: namespace.to_owned(),
            app,
            subscriptions: Subscriptions::new(stop.clone()),
            starting,
            failures: LogRate::default(),
        };
        (configurations, Supervisor::new(to_start, stop))
    }

    /// The items of these keys that are there; of no keys, every item. The reasons, in the order
    /// in which they are checked: `ConfigurationStoresNotConfigured`,
    /// `ConfigurationStoreNotFound`, `ConfigurationGet`.
    pub async fn get(
        &self,
        store: &str,
        keys: Vec<String>,
        metadata: Metadata,
    ) -> Result<Items, Error> {
        let (found, policy) = self.store(store)?;
        let (started, wanted) = (Instant::now(), Arc::new(Wanted { keys, metadata }));
        let call = |_| Box::pin(get(Arc::clone(&found), Arc::clone(&wanted)));
        let answer = policy.run(call, verdict::of_backend).await;
        self.count(store, "get", matches!(answer, Ok(Ok(_))), started.elapsed());
        let failed = |why: &dyn std::error::Error| {
            self.tell(store, why);
            let keys = wanted.keys.join(" ");
            format!("failed to get [{keys}] from Configuration store {store}")
        };
        match answer {
            Ok(Ok(items)) => {
                let items = items.into_iter();
                Ok(items.map(|(key, item)| (key, item.into())).collect())
            }
            Ok(Err(error)) => Err(Error::new(
                Reason::Configuration(ConfigurationReason::Get),
                failed(&error),
            )),
            Err(stopped) => {
                let text = format!("{}: {stopped}", failed(&stopped));
                Err(Error::new(
                    Reason::Configuration(ConfigurationReason::Get),
                    text,
                ))
            }
        }
    }

    /// Has the app, which has to speak HTTP, told of changes until the subscription ends. Hands
    /// back the id of the subscription. The reasons, in the order in which they are checked: those
    /// of a store that is not there, `ConfigurationAppMissing`, `ConfigurationSubscriptionsFull`,
    /// `ConfigurationSubscribe`.
    pub async fn subscribe(
        &self,
        store: &str,
        keys: Vec<String>,
        metadata: Metadata,
    ) -> Result<String, Error> {
        self.store(store)?;
        let app = self.http_app()?;
        let (registration, mut job) = self.open(store, Wanted { keys, metadata }).await?;
        let id = registration.id().to_owned();
        job.delivery = Some(Delivery {
            app,
            registry: Arc::clone(&self.registry),
            store: store.to_owned(),
            id: id.clone(),
            inbox: Arc::clone(&job.inbox.0),
            failures: LogRate::default(),
        });
        job.registration = Some(registration);
        self.start(job).await?;
        Ok(id)
    }

    /// Opens a stream of changes. The reasons are those of [`Self::subscribe`] but for the app.
    pub async fn stream(
        &self,
        store: &str,
        keys: Vec<String>,
        metadata: Metadata,
    ) -> Result<Session, Error> {
        let (registration, job) = self.open(store, Wanted { keys, metadata }).await?;
        let session = Session::new(store, registration, Arc::clone(&job.inbox.0));
        self.start(job).await?;
        Ok(session)
    }

    /// Ends a subscription of a store. The reasons, in the order in which they are checked: those
    /// of a store that is not there, `ConfigurationUnsubscribe`.
    pub fn unsubscribe(&self, store: &str, id: &str) -> Result<(), Error> {
        self.store(store)?;
        self.end(Some(store), id)
    }

    /// Ends a subscription, of whatever store. The reason is `ConfigurationUnsubscribe`.
    pub fn unsubscribe_any(&self, id: &str) -> Result<(), Error> {
        self.end(None, id)
    }

    fn end(&self, store: Option<&str>, id: &str) -> Result<(), Error> {
        let started = Instant::now();
        let ended = self.subscriptions.end(store, id);
        if let Some(store) = store {
            self.count(store, "unsubscribe", ended, started.elapsed());
        }
        if ended {
            return Ok(());
        }
        let text = format!(
            "failed to unsubscribe to configuration request {id}: subscription with id {id} does \
             not exist"
        );
        Err(Error::new(
            Reason::Configuration(ConfigurationReason::Unsubscribe),
            text,
        ))
    }

    /// Begins to follow a store, for a subscription that nobody reads yet.
    async fn open(&self, store: &str, wanted: Wanted) -> Result<(Registration, Job), Error> {
        let (found, policy) = self.store(store)?;
        let registration = self.subscriptions.register(store).map_err(|error| {
            Error::new(
                Reason::Configuration(ConfigurationReason::SubscriptionsFull),
                error.to_string(),
            )
        })?;
        let (started, wanted) = (Instant::now(), Arc::new(wanted));
        let call = |_| Box::pin(follower::begin(Arc::clone(&found), Arc::clone(&wanted)));
        let begun = policy.run(call, verdict::of_backend).await;
        let elapsed = started.elapsed();
        self.count(store, "subscribe", matches!(begun, Ok(Ok(_))), elapsed);
        let failed = |why: &dyn std::error::Error| {
            self.tell(store, why);
            let keys = wanted.keys.join(" ");
            format!("failed to subscribe [{keys}] from Configuration store {store}")
        };
        let (followed, items) = match begun {
            Ok(Ok(begun)) => begun,
            Ok(Err(error)) => return Err(subscribe_failed(failed(&error))),
            Err(stopped) => {
                let text = format!("{}: {stopped}", failed(&stopped));
                return Err(subscribe_failed(text));
            }
        };
        let (registry, inbox) = (Arc::clone(&self.registry), Arc::<Inbox>::default());
        let job = Job {
            follower: Follower::new(registry, store, wanted, &items, Arc::clone(&inbox)),
            followed,
            inbox: Closing(inbox),
            stop: registration.stop(),
            delivery: None,
            registration: None,
        };
        Ok((registration, job))
    }

    async fn start(&self, job: Job) -> Result<(), Error> {
        let started = self.starting.send(job).await;
        started.map_err(|_| subscribe_failed("the sidecar stops".to_owned()))
    }

    fn http_app(&self) -> Result<AppChannel, Error> {
        let missing = |why| {
            let text = format!("{why}. cannot subscribe to configuration updates");
            Error::new(Reason::Configuration(ConfigurationReason::AppMissing), text)
        };
        match &self.app {
            None => Err(missing("app channel is not initialized")),
            Some(app) if app.config().protocol.is_grpc() => Err(missing(
                "the app speaks gRPC, for which there is SubscribeConfiguration",
            )),
            Some(app) => Ok(app.clone()),
        }
    }

    /// A store, and the policy of its reads.
    fn store(&self, name: &str) -> Result<(Store, Policy), Error> {
        let snapshot = self.registry.peek();
        if let Some(store) = snapshot.configurations.get(name) {
            let (kind, direction) = (ComponentType::Configuration, Direction::Outbound);
            let policy = snapshot.resiliency.component(name, kind, direction);
            return Ok((Arc::clone(store), policy));
        }
        let mut failed = snapshot.failed_of(Category::Configuration).peekable();
        if snapshot.configurations.is_empty() && failed.peek().is_none() {
            let reason = Reason::Configuration(ConfigurationReason::StoresNotConfigured);
            return Err(Error::new(reason, "configuration stores not configured"));
        }
        let mut text = format!("configuration store {name} not found");
        if failed.any(|store| store.name == name) {
            text.push_str(": it is defined, but could not be loaded");
        }
        Err(Error::new(
            Reason::Configuration(ConfigurationReason::StoreNotFound),
            text,
        ))
    }

    /// A caller must not be able to fill the log.
    fn tell(&self, store: &str, error: &dyn std::error::Error) {
        if let Some(left_out) = self.failures.pass() {
            warn!(store, %error, left_out, "A configuration store could not answer");
        }
    }

    fn count(&self, store: &str, operation: &'static str, success: bool, elapsed: Duration) {
        let labels = [
            ("component", store.to_owned()),
            ("namespace", self.namespace.clone()),
            ("operation", operation.to_owned()),
            ("success", success.to_string()),
        ];
        metrics::counter!("dapr_component_configuration_count", &labels).increment(1);
        metrics::histogram!("dapr_component_configuration_latencies", &labels)
            .record(elapsed.as_secs_f64() * 1000.0);
    }
}

async fn get(store: Store, wanted: Arc<Wanted>) -> Result<StoredItems, BackendError> {
    store.get(&wanted.keys, &wanted.metadata).await
}

fn subscribe_failed(text: String) -> Error {
    Error::new(Reason::Configuration(ConfigurationReason::Subscribe), text)
}

/// Counts a change that the app was told of, or that it is not told of any more.
fn count_told(store: &str, is_told: bool) {
    let outcome = if is_told { "told" } else { "dropped" };
    let labels = [
        ("component", store.to_owned()),
        ("outcome", outcome.to_owned()),
    ];
    metrics::counter!("sidegate_configuration_changes_total", &labels).increment(1);
}
