//! What takes messages in, and what sends them out.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::config::Config;
use crate::app_channel::AppChannel;
use crate::blocks::publish::Publish;
use crate::blocks::subscriptions;
use crate::blocks::subscriptions::streaming::{Streaming, Streams};
use crate::blocks::subscriptions::supervisor::{App, Current, Supervisor};
use crate::process::early_stop::EarlyStop;
use crate::process::tasks::Tasks;
use crate::process::trace::Tracer;
use crate::registry::Registry;

/// What the rest of the sidecar takes from it.
pub(super) struct Messages {
    /// The subscriptions, for the metadata.
    pub(super) subscriptions: Current,
    /// Cancel it once the app listens.
    pub(super) app_listens: CancellationToken,
    /// Publishes, for the API.
    pub(super) publish: Arc<Publish>,
    /// Opens streams, for the API.
    pub(super) streaming: Arc<Streaming>,
}

/// What messages come through.
pub(super) struct Incoming<'a> {
    pub(super) config: &'a Config,
    pub(super) registry: &'a Arc<Registry>,
    pub(super) app: Option<&'a AppChannel>,
    pub(super) tracer: Tracer,
    /// The namespace, as publishing knows it.
    pub(super) namespace: &'a str,
}

/// Starts the task that keeps subscriptions running.
pub(super) fn start(incoming: Incoming<'_>, intake: &EarlyStop, tasks: &mut Tasks) -> Messages {
    let Incoming {
        config,
        registry,
        app,
        tracer,
        namespace,
    } = incoming;
    let own = &config.registry;
    let app_listens = CancellationToken::new();
    let app = app.map(|channel| App {
        channel: channel.clone(),
        subscriber: subscriptions::to_app(channel.clone()),
        is_asked: config.app.subscribe,
        listens: app_listens.clone(),
    });
    let streams = Streams::default();
    let supervisor = Supervisor::new(Arc::clone(registry), &own.app_id, app, streams.clone())
        .in_namespace(own.namespace.as_deref().unwrap_or_default())
        .traced_by(tracer);
    let subscriptions = supervisor.current();
    let running = supervisor.run(intake.part(), config.grace, tasks.shutdown());
    tasks.spawn("subscriptions", running);
    Messages {
        subscriptions,
        app_listens,
        publish: Arc::new(Publish::new(Arc::clone(registry), &own.app_id, namespace)),
        streaming: Arc::new(Streaming::new(
            Arc::clone(registry),
            &own.app_id,
            streams,
            tasks.shutdown(),
        )),
    }
}
