//! Takes the events of one binding to the app, and tells the component what became of each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use tracing::warn;

use super::answer::Answer;
use super::{Event, Means, Refusal, deliver};
use crate::app_channel::AppChannel;
use crate::blocks::intake::{Handler, Source};
use crate::components::BackendError;
use crate::components::message::{Delivery, Intake, Settlement};
use crate::process::log_rate::LogRate;
use crate::registry::Registry;
use crate::registry::messaging::LoadedBinding;
use crate::resiliency::{ComponentType, Direction, Verdict};

/// Where the events of a binding come from.
pub(super) struct Events(pub(super) Arc<LoadedBinding>);

#[async_trait]
impl Source for Events {
    async fn open(&self) -> Result<Box<dyn Intake>, BackendError> {
        match &self.0.component.input {
            Some(input) => input.read().await,
            None => Err(BackendError::Refused("it is no input binding".to_owned())),
        }
    }

    fn name(&self) -> String {
        format!("binding {}", self.0.name)
    }
}

/// What consumers share.
pub(super) struct Shared {
    pub(super) app: AppChannel,
    pub(super) registry: Arc<Registry>,
    pub(super) means: Means,
    /// A label of metrics.
    pub(super) namespace: String,
}

/// Deals with the events of one binding.
pub(super) struct Consumer {
    shared: Arc<Shared>,
    binding: Arc<LoadedBinding>,
    failures: LogRate,
}

impl Consumer {
    pub(super) fn new(shared: Arc<Shared>, binding: Arc<LoadedBinding>) -> Self {
        Self {
            shared,
            binding,
            failures: LogRate::default(),
        }
    }

    /// An event is dealt with when the app took it, and all that its answer asks for is done.
    async fn deal_with(&self, event: Event) -> Result<Bytes, String> {
        let answer = self.deliver(event).await?;
        answer.act(&self.shared.means).await?;
        Ok(answer.body)
    }

    /// Delivers an event under the inbound policy of the binding.
    async fn deliver(&self, event: Event) -> Result<Answer, String> {
        let resiliency = Arc::clone(&self.shared.registry.snapshot().resiliency);
        let policy = resiliency.component(
            &self.binding.name,
            ComponentType::Binding,
            Direction::Inbound,
        );
        let event = Arc::new(event);
        let call = |_| {
            let (app, event) = (self.shared.app.clone(), Arc::clone(&event));
            Box::pin(async move { deliver(&app, &event).await })
        };
        let outcome = policy.run(call, judge).await;
        let outcome = outcome.map_err(|stopped| stopped.to_string())?;
        outcome.map_err(|refusal| refusal.to_string())
    }

    fn count(&self, success: bool, elapsed: Duration) {
        let labels = [
            ("component", self.binding.name.clone()),
            ("namespace", self.shared.namespace.clone()),
            ("success", success.to_string()),
        ];
        metrics::counter!("dapr_component_input_binding_count", &labels).increment(1);
        metrics::histogram!("dapr_component_input_binding_latencies", &labels)
            .record(elapsed.as_secs_f64() * 1000.0);
    }

    async fn handle_one(&self, delivery: Delivery) {
        let name = &*self.binding.name;
        let event = Event {
            binding: name.to_owned(),
            route: self.binding.route(),
            data: delivery.data,
            metadata: delivery.metadata,
        };
        let started = Instant::now();
        let outcome = self.deal_with(event).await;
        self.count(outcome.is_ok(), started.elapsed());
        let settlement = match outcome {
            Ok(body) => Settlement::Done((!body.is_empty()).then_some(body)),
            Err(error) => {
                if let Some(left_out) = self.failures.pass() {
                    warn!(
                        binding = name,
                        error, left_out, "An event of a binding failed"
                    );
                }
                Settlement::Failed(error)
            }
        };
        if let Err(error) = delivery.acknowledge.settle(settlement).await
            && let Some(left_out) = self.failures.pass()
        {
            warn!(binding = name, %error, left_out, "An event may come again");
        }
    }
}

#[async_trait]
impl Handler for Consumer {
    async fn handle(&self, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            self.handle_one(delivery).await;
        }
    }
}

fn judge(outcome: &Result<Answer, Refusal>) -> Verdict {
    match outcome {
        Ok(_) => Verdict::Success,
        Err(refusal) => refusal.verdict(),
    }
}
