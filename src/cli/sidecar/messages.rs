//! What takes messages in: the subscriptions of the app.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::config::Config;
use crate::app_channel::AppChannel;
use crate::blocks::subscriptions::http::HttpSubscriber;
use crate::blocks::subscriptions::streams::Streams;
use crate::blocks::subscriptions::supervisor::{App, Current, Supervisor};
use crate::process::early_stop::EarlyStop;
use crate::process::tasks::Tasks;
use crate::registry::Registry;

/// What the rest of the sidecar takes from it.
pub(super) struct Messages {
    /// The subscriptions, for the metadata.
    pub(super) subscriptions: Current,
    /// Cancel it once the app listens.
    pub(super) app_listens: CancellationToken,
}

/// Starts the task that keeps subscriptions running.
pub(super) fn start(
    config: &Config,
    registry: &Arc<Registry>,
    app: Option<&AppChannel>,
    intake: &EarlyStop,
    tasks: &mut Tasks,
) -> Messages {
    let app_listens = CancellationToken::new();
    let app = app.map(|channel| App {
        channel: channel.clone(),
        subscriber: Arc::new(HttpSubscriber::new(channel.clone())),
        is_asked: config.app.subscribe,
        listens: app_listens.clone(),
    });
    let streams = Streams::default();
    let supervisor = Supervisor::new(Arc::clone(registry), &config.registry.app_id, app, streams);
    let subscriptions = supervisor.current();
    let running = supervisor.run(intake.part(), config.grace, tasks.shutdown());
    tasks.spawn("subscriptions", running);
    Messages {
        subscriptions,
        app_listens,
    }
}
