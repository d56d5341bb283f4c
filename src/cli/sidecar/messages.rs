//! What takes messages in, and what sends them out.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::config::Config;
use crate::app_channel::AppChannel;
use crate::blocks::bindings;
use crate::blocks::bindings::output::OutputBindings;
use crate::blocks::subscriptions::streaming::Streams;
use crate::blocks::subscriptions::supervisor::{App, Current};
use crate::blocks::subscriptions::{self, supervisor};
use crate::process::early_stop::EarlyStop;
use crate::process::tasks::Tasks;
use crate::process::trace::Tracer;
use crate::registry::Registry;

/// What the rest of the sidecar takes from it.
pub(super) struct Messages {
    /// The operations of bindings, for the API.
    pub(super) bindings: Arc<OutputBindings>,
    /// The subscriptions, for the metadata.
    pub(super) subscriptions: Current,
    /// Cancel it once the app listens.
    pub(super) app_listens: CancellationToken,
    /// The streams that the app opens.
    pub(super) streams: Streams,
}

/// What messages come through.
pub(super) struct Incoming<'a> {
    pub(super) config: &'a Config,
    pub(super) registry: &'a Arc<Registry>,
    pub(super) app: Option<&'a AppChannel>,
    pub(super) tracer: Tracer,
}

/// Starts the tasks that keep subscriptions and input bindings running.
pub(super) fn start(incoming: Incoming<'_>, intake: &EarlyStop, tasks: &mut Tasks) -> Messages {
    let bindings = read_bindings(&incoming, intake, tasks);
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
    let registry = Arc::clone(registry);
    let supervisor = supervisor::Supervisor::new(registry, &own.app_id, app, streams.clone())
        .in_namespace(own.namespace.as_deref().unwrap_or_default())
        .traced_by(tracer);
    let subscriptions = supervisor.current();
    let running = supervisor.run(intake.part(), config.grace, tasks.shutdown());
    tasks.spawn("subscriptions", running);
    Messages {
        bindings,
        subscriptions,
        app_listens,
        streams,
    }
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
