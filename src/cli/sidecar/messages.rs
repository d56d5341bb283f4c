//! What takes messages in, and what sends them out.

use std::sync::Arc;

use super::config::Config;
use crate::app_channel::AppChannel;
use crate::blocks::bindings::output::OutputBindings;
use crate::blocks::bindings::supervisor::Supervisor;
use crate::process::early_stop::EarlyStop;
use crate::process::tasks::Tasks;
use crate::registry::Registry;

/// What the rest of the sidecar takes from it.
pub(super) struct Messages {
    /// For the API.
    pub(super) bindings: Arc<OutputBindings>,
}

/// Starts the task that reads input bindings, where there is an app.
pub(super) fn start(
    config: &Config,
    registry: &Arc<Registry>,
    app: Option<&AppChannel>,
    intake: &EarlyStop,
    tasks: &mut Tasks,
) -> Messages {
    let namespace = config.registry.namespace.as_deref();
    let bindings = Arc::new(OutputBindings::new(Arc::clone(registry), namespace));
    if let Some(app) = app {
        let supervisor = Supervisor::new(
            app.clone(),
            Arc::clone(registry),
            Arc::clone(&bindings),
            namespace,
            config.app.questions,
        );
        let reading = supervisor.run(intake.part(), config.grace, tasks.shutdown());
        tasks.spawn("input bindings", reading);
    }
    Messages { bindings }
}
