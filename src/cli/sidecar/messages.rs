//! What takes messages in, and what sends them out.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::config::Config;
use crate::app_channel::AppChannel;
use crate::blocks::bindings;
use crate::blocks::bindings::output::OutputBindings;
use crate::blocks::configuration::Configurations;
use crate::blocks::publish::Publish;
use crate::blocks::subscriptions::streaming::{Streaming, Streams};
use crate::blocks::subscriptions::supervisor::{App, Current};
use crate::blocks::subscriptions::{self, supervisor};
use crate::process::early_stop::EarlyStop;
use crate::process::tasks::Tasks;
use crate::process::trace::Tracer;
use crate::registry::Registry;

/// What the rest of the sidecar takes from it.
pub(super) struct Messages {
    /// Operations of bindings.
    pub(super) bindings: Arc<OutputBindings>,
    /// The items of configuration stores, and changes of them.
    pub(super) configurations: Arc<Configurations>,
    /// The subscriptions, for the metadata.
    pub(super) subscriptions: Current,
    /// Cancel it once the app listens.
    pub(super) app_listens: CancellationToken,
    /// Cancelled once subscriptions run.
    pub(super) subscribed: CancellationToken,
    /// Opens streams that subscribe.
    pub(super) streaming: Arc<Streaming>,
    /// Publishes.
    pub(super) publish: Arc<Publish>,
}

/// What messages come through.
pub(super) struct Incoming<'a> {
    pub(super) config: &'a Config,
    pub(super) registry: &'a Arc<Registry>,
    pub(super) app: Option<&'a AppChannel>,
    pub(super) tracer: Tracer,
}

/// Starts the tasks that keep subscriptions and input bindings running, and makes what publishes
/// and what does the operations of bindings.
pub(super) fn start(incoming: Incoming<'_>, intake: &EarlyStop, tasks: &mut Tasks) -> Messages {
    let bindings = read_bindings(&incoming, intake, tasks);
    let configurations = follow_configuration(&incoming, intake, tasks);
    let Incoming {
        config,
        registry,
        app,
        tracer,
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
    let (app_id, namespace) = (&own.app_id, own.namespace.as_deref().unwrap_or_default());
    let registry = || Arc::clone(registry);
    let supervisor = supervisor::Supervisor::new(registry(), app_id, app, streams.clone())
        .in_namespace(namespace)
        .traced_by(tracer);
    let (subscriptions, subscribed) = (supervisor.current(), supervisor.started());
    let running = supervisor.run(intake.part(), config.grace, tasks.shutdown());
    tasks.spawn("subscriptions", running);
    let streaming = Streaming::new(registry(), app_id, streams, tasks.shutdown());
    Messages {
        bindings,
        configurations,
        subscriptions,
        app_listens,
        subscribed,
        streaming: Arc::new(streaming),
        publish: Arc::new(Publish::new(registry(), app_id, namespace)),
    }
}

/// Changes of configuration come to whoever asks for them.
fn follow_configuration(
    incoming: &Incoming<'_>,
    intake: &EarlyStop,
    tasks: &mut Tasks,
) -> Arc<Configurations> {
    let namespace = incoming.config.registry.namespace.as_deref();
    let (configurations, supervisor) = Configurations::new(
        Arc::clone(incoming.registry),
        namespace.unwrap_or_default(),
        incoming.app.cloned(),
    );
    let following = supervisor.run(intake.part(), tasks.shutdown());
    tasks.spawn("configuration", following);
    Arc::new(configurations)
}

/// Input bindings are read where there is an app.
fn read_bindings(
    incoming: &Incoming<'_>,
    intake: &EarlyStop,
    tasks: &mut Tasks,
) -> Arc<OutputBindings> {
    let Incoming {
        config,
        registry,
        app,
        ..
    } = incoming;
    let namespace = config.registry.namespace.as_deref();
    let outputs = Arc::new(OutputBindings::new(Arc::clone(registry), namespace));
    if let Some(app) = app {
        let supervisor = bindings::supervisor::Supervisor::new(
            (*app).clone(),
            Arc::clone(registry),
            Arc::clone(&outputs),
            namespace,
            config.app.questions,
        );
        let reading = supervisor.run(intake.part(), config.grace, tasks.shutdown());
        tasks.spawn("input bindings", reading);
    }
    outputs
}
