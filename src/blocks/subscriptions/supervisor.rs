//! Keeps the consumers that run in line with what there should be.
//!
//! ```text
//! (resources + the app's own list + streams) × pub/sub × whether the app is well → consumers
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Subscriber;
use super::consumer::Shared;
use super::programmatic::discover;
use super::running::{Consumers, Runnable};
use super::streaming::{Open, Streams};
use super::wanted::{Wanted, of_app, of_stream};
use crate::app_channel::AppChannel;
use crate::blocks::in_flight::changed;
use crate::blocks::metadata;
use crate::process::early_stop::EarlyPart;
use crate::process::tasks::BoxError;
use crate::process::trace::Tracer;
use crate::registry::Registry;
use crate::registry::snapshot::Snapshot;
use crate::resources::subscription::Spec;

/// The app, as subscriptions see it.
pub struct App {
    /// The road to it.
    pub channel: AppChannel,
    /// Who gets the messages of its subscriptions.
    pub subscriber: Arc<dyn Subscriber>,
    /// Whether it is asked what it subscribes to.
    pub is_asked: bool,
    /// Cancelled once it listens.
    pub listens: CancellationToken,
}

/// The subscriptions that there are at one moment. Cheap to clone.
#[derive(Clone)]
pub struct Current(watch::Receiver<Vec<metadata::Subscription>>);

impl Current {
    /// What the metadata tells of them.
    pub fn views(&self) -> Vec<metadata::Subscription> {
        self.0.borrow().clone()
    }
}

/// Keeps subscriptions running. [`Supervisor::run`] is its task.
pub struct Supervisor {
    shared: Shared,
    app: Option<AppState>,
    streams: Streams,
    current: watch::Sender<Vec<metadata::Subscription>>,
    /// Said and still so: each is said once.
    warnings: BTreeSet<String>,
    started: CancellationToken,
}

impl Supervisor {
    /// Nothing runs yet. Without an app, only streams are subscriptions.
    pub fn new(registry: Arc<Registry>, app_id: &str, app: Option<App>, streams: Streams) -> Self {
        Self {
            shared: Shared {
                registry,
                app_id: app_id.to_owned(),
                namespace: String::new(),
                tracer: Tracer::default(),
            },
            app: app.map(AppState::new),
            streams,
            current: watch::Sender::new(Vec::new()),
            warnings: BTreeSet::new(),
            started: CancellationToken::new(),
        }
    }

    /// Cancelled once the app has been asked, and the brokers for its subscriptions.
    pub fn started(&self) -> CancellationToken {
        self.started.clone()
    }

    /// Names the namespace in the metrics.
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.shared.namespace);
        self
    }

    /// Makes a span of each delivery.
    pub fn traced_by(mut self, tracer: Tracer) -> Self {
        self.shared.tracer = tracer;
        self
    }

    /// What runs, as it changes.
    pub fn current(&self) -> Current {
        Current(self.current.subscribe())
    }

    /// Follows every change until `part` is to stop. Then no message is taken any more, and those
    /// in flight have `grace` to be dealt with. It returns at shutdown.
    pub async fn run(
        mut self,
        part: EarlyPart,
        grace: Duration,
        shutdown: CancellationToken,
    ) -> Result<(), BoxError> {
        let mut consumers = Consumers::new(Arc::new(self.shared.clone()), self.started());
        let mut components = self.shared.registry.changes();
        let mut streams = self.streams.watch();
        loop {
            let snapshot = self.shared.registry.snapshot();
            if let Some(app) = &mut self.app {
                app.look(!snapshot.pubsubs.is_empty());
            }
            let runnable = self.runnable(&snapshot, &streams.borrow_and_update());
            consumers.bring_in_line(runnable);
            if self.app.as_ref().is_none_or(AppState::is_settled) {
                consumers.settled();
            }
            tokio::select! {
                () = part.stopped() => break,
                () = changed(&mut components) => {}
                () = changed(&mut streams) => {}
                () = AppState::changed(self.app.as_mut()) => {}
                ended = consumers.ended() => ended?,
            }
        }
        consumers.stop_all();
        self.current.send_replace(Vec::new());
        consumers.drain(grace).await;
        drop(part);
        shutdown.cancelled().await;
        Ok(())
    }

    /// What can run now. Of the rest it says why not, and of all the metadata tells.
    fn runnable(&mut self, now: &Snapshot, open: &Open) -> Vec<Runnable> {
        let mut warnings = BTreeSet::new();
        let mut wanted = Vec::new();
        if let Some(app) = &self.app {
            let listed = app.listed();
            let of_app = of_app(&now.subscriptions, listed, |text| {
                warnings.insert(text);
            });
            let subscriber = |one| (one, app.is_well.then(|| Arc::clone(&app.app.subscriber)));
            wanted.extend(of_app.into_iter().map(subscriber));
        }
        let streams = open.streams().iter();
        wanted.extend(streams.map(|one| (of_stream(one), Some(Arc::clone(&one.subscriber)))));
        let mut runnable = Vec::with_capacity(wanted.len());
        let mut views = Vec::with_capacity(wanted.len());
        for (one, subscriber) in wanted {
            let one: Wanted = one;
            match one.pubsub(&now.pubsubs, &self.shared.app_id) {
                Ok(pubsub) => {
                    views.push(one.view());
                    runnable.extend(subscriber.map(|subscriber| Runnable {
                        wanted: one,
                        pubsub: Arc::clone(pubsub),
                        subscriber,
                    }));
                }
                Err(reason) => {
                    warnings.insert(reason);
                }
            }
        }
        for warning in warnings.difference(&self.warnings) {
            warn!("{warning}");
        }
        self.warnings = warnings;
        self.current.send_replace(views);
        runnable
    }
}

/// What is known of the app.
struct AppState {
    app: App,
    healthy: watch::Receiver<bool>,
    /// Whether it listens and is healthy, as far as it was looked at.
    is_well: bool,
    /// What it subscribes to, since it has been asked for it.
    listed: Option<Vec<Arc<Spec>>>,
    /// The question that is not answered yet.
    asking: Option<BoxFuture<'static, Vec<Spec>>>,
}

impl AppState {
    fn new(app: App) -> Self {
        Self {
            healthy: app.channel.healthy(),
            app,
            is_well: false,
            listed: None,
            asking: None,
        }
    }

    /// What it subscribes to.
    fn listed(&self) -> &[Arc<Spec>] {
        self.listed.as_deref().unwrap_or_default()
    }

    /// Looks whether it is well. One that was not may have been started anew: it is asked again.
    fn look(&mut self, has_pubsubs: bool) {
        self.is_well = self.app.listens.is_cancelled() && *self.healthy.borrow_and_update();
        if !self.is_well {
            self.listed = None;
            self.asking = None;
        } else if self.app.is_asked && has_pubsubs && self.listed.is_none() && self.asking.is_none()
        {
            let channel = self.app.channel.clone();
            self.asking = Some(Box::pin(async move { discover(&channel).await }));
        }
    }

    /// Whether all is known of it that can be.
    fn is_settled(&self) -> bool {
        self.app.listens.is_cancelled() && self.asking.is_none()
    }

    /// Waits until it is well or not any more, or has answered.
    async fn changed(app: Option<&mut Self>) {
        let Some(app) = app else {
            return std::future::pending().await;
        };
        let health = async {
            loop {
                changed(&mut app.healthy).await;
                if *app.healthy.borrow() != app.is_well {
                    return;
                }
            }
        };
        let listens = async {
            if app.app.listens.is_cancelled() {
                health.await;
            } else {
                app.app.listens.cancelled().await;
            }
        };
        let answer = async {
            match &mut app.asking {
                Some(asking) => asking.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = listens => {}
            specs = answer => {
                app.listed = Some(specs.into_iter().map(Arc::new).collect());
                app.asking = None;
            }
        }
    }
}
