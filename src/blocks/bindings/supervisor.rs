//! Keeps the input bindings that are read in line with the components and with how the app is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::info;

use super::consumer::{Consumer, Events, Shared};
use super::{Means, discovery};
use crate::app_channel::AppChannel;
use crate::blocks::in_flight::{Tasks, changed};
use crate::blocks::intake::{self, Batch};
use crate::process::early_stop::EarlyPart;
use crate::process::tasks::BoxError;
use crate::registry::Registry;
use crate::registry::messaging::LoadedBinding;

/// How the app is asked whether it wants events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Questions {
    /// How long one answer may take (`--app-binding-options-timeout`).
    pub timeout: Duration,
}

impl Default for Questions {
    /// As in Dapr 1.18.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(3),
        }
    }
}

/// Reads input bindings. [`Supervisor::run`] is its task.
pub struct Supervisor {
    shared: Arc<Shared>,
    questions: Questions,
    reading: BTreeMap<String, Reading>,
    tasks: Tasks,
}

/// A binding that is read, or that the app was asked about.
struct Reading {
    binding: Arc<LoadedBinding>,
    stop: CancellationToken,
}

impl Supervisor {
    /// Reads nothing yet. What the app's answers ask for is done with `means`. The namespace is a
    /// label of metrics.
    pub fn new(
        app: AppChannel,
        registry: Arc<Registry>,
        means: Means,
        namespace: Option<&str>,
        questions: Questions,
    ) -> Self {
        let namespace = namespace.unwrap_or_default().to_owned();
        Self {
            shared: Arc::new(Shared {
                app,
                registry,
                means,
                namespace,
            }),
            questions,
            reading: BTreeMap::new(),
            tasks: Tasks::new(),
        }
    }

    /// Follows every change until `part` is to stop. Then no event is taken any more, and those in
    /// flight have `grace` to be dealt with. It returns at shutdown.
    pub async fn run(
        mut self,
        part: EarlyPart,
        grace: Duration,
        shutdown: CancellationToken,
    ) -> Result<(), BoxError> {
        let mut components = self.shared.registry.changes();
        let mut health = self.shared.app.healthy();
        loop {
            let is_healthy = *health.borrow_and_update();
            self.bring_in_line(is_healthy);
            tokio::select! {
                () = part.stopped() => break,
                () = changed(&mut components) => {}
                () = changed(&mut health) => {}
                ended = self.tasks.ended() => ended?,
            }
        }
        self.drain(grace).await;
        drop(part);
        shutdown.cancelled().await;
        Ok(())
    }

    /// Stops what is gone or changed, starts what is new or changed, and touches nothing else. An
    /// app that is not healthy gets nothing, and is asked again when it is.
    fn bring_in_line(&mut self, is_healthy: bool) {
        let snapshot = self.shared.registry.snapshot();
        let inputs = snapshot.bindings.values();
        let inputs = inputs.filter(|binding| is_healthy && binding.component.input.is_some());
        let wanted: BTreeMap<_, _> = inputs.map(|binding| (&*binding.name, binding)).collect();
        self.reading.retain(|name, reading| {
            let now = wanted.get(name.as_str());
            let is_same = now.is_some_and(|now| Arc::ptr_eq(now, &reading.binding));
            if !is_same {
                reading.stop.cancel();
            }
            is_same
        });
        for (name, binding) in wanted {
            if !self.reading.contains_key(name) {
                self.start(Arc::clone(binding));
            }
        }
    }

    fn start(&mut self, binding: Arc<LoadedBinding>) {
        let stop = CancellationToken::new();
        let (shared, questions) = (Arc::clone(&self.shared), self.questions);
        let (reading, stopping) = (Arc::clone(&binding), stop.clone());
        self.tasks.spawn(async move {
            read(shared, reading, questions, &stopping).await;
        });
        let reading = Reading { binding, stop };
        let name = reading.binding.name.clone();
        self.reading.insert(name, reading);
    }

    /// Stops all of them and waits for events in flight, for a time. Those that are not dealt with
    /// then go back to where they came from.
    async fn drain(&mut self, limit: Duration) {
        for reading in self.reading.values() {
            reading.stop.cancel();
        }
        let left = "Input bindings end with events in flight, which may come again";
        self.tasks.drain(limit, left).await;
    }
}

/// Reads a binding until `stop`, where the app wants it.
async fn read(
    shared: Arc<Shared>,
    binding: Arc<LoadedBinding>,
    questions: Questions,
    stop: &CancellationToken,
) {
    let name = binding.name.clone();
    let wanted = tokio::select! {
        () = stop.cancelled() => return,
        wanted = discovery::wants(&shared.app, &binding, questions.timeout) => wanted,
    };
    if !wanted {
        // Dapr's words: people look for them.
        return info!("app has not subscribed to binding {name}.");
    }
    info!("Reading from input binding {name}");
    let consumer = Arc::new(Consumer::new(shared, Arc::clone(&binding)));
    intake::run(&Events(binding), consumer, Batch::ONE, stop).await;
    info!("Reading from input binding {name} ended");
}
