//! Operations of output bindings.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::blocks::error::{Error, Reason};
use crate::components::binding::{BindingFailure, OutputBinding};
use crate::process::log_rate::LogRate;
use crate::registry::Registry;
use crate::registry::snapshot::Snapshot;
use crate::resiliency::{ComponentType, Direction, Verdict};

pub use crate::components::binding::{BindingAnswer, BindingRequest};
pub use crate::components::message::Metadata;

/// The output bindings that run.
pub struct OutputBindings {
    registry: Arc<Registry>,
    namespace: String,
    failures: LogRate,
}

/// An operation that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Why, for the client.
    pub error: Error,
    /// What the service outside told all the same.
    pub metadata: Metadata,
}

impl Failure {
    fn of(binding: &str, why: &str, metadata: Metadata) -> Self {
        let text = format!("error invoking output binding {binding}: {why}");
        Self {
            error: Error::new(Reason::BindingFailed, text),
            metadata,
        }
    }
}

impl OutputBindings {
    /// Those of a registry. The namespace is a label of metrics.
    pub fn new(registry: Arc<Registry>, namespace: Option<&str>) -> Self {
        Self {
            registry,
            namespace: namespace.unwrap_or_default().to_owned(),
            failures: LogRate::default(),
        }
    }

    /// Does an operation under the policy of the binding.
    ///
    /// # Errors
    ///
    /// A binding that does not run, an operation that it has not, and one that failed.
    pub async fn invoke(
        &self,
        name: &str,
        request: BindingRequest,
    ) -> Result<BindingAnswer, Failure> {
        let snapshot = self.registry.snapshot();
        let binding = find(&snapshot, name, &request.operation)
            .map_err(|why| Failure::of(name, &why, Metadata::new()))?;
        let policy =
            snapshot
                .resiliency
                .component(name, ComponentType::Binding, Direction::Outbound);
        let started = Instant::now();
        let operation = request.operation.clone();
        let call = |_| {
            let (binding, request) = (Arc::clone(&binding), request.clone());
            Box::pin(async move { binding.invoke(request).await })
        };
        let outcome = match policy.run(call, judge).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(failure)) => Err(Failure::of(name, &failure.text, failure.metadata)),
            Err(stopped) => Err(Failure::of(name, &stopped.to_string(), Metadata::new())),
        };
        self.count((name, &operation), outcome.is_ok(), started.elapsed());
        if let Err(failure) = &outcome
            && let Some(left_out) = self.failures.pass()
        {
            warn!(binding = name, error = %failure.error, left_out, "An output binding failed");
        }
        outcome
    }

    fn count(&self, (name, operation): (&str, &str), success: bool, elapsed: Duration) {
        let labels = [
            ("component", name.to_owned()),
            ("namespace", self.namespace.clone()),
            ("operation", operation.to_owned()),
            ("success", success.to_string()),
        ];
        metrics::counter!("dapr_component_output_binding_count", &labels).increment(1);
        metrics::histogram!("dapr_component_output_binding_latencies", &labels)
            .record(elapsed.as_secs_f64() * 1000.0);
    }
}

/// The binding of a name, where it has the operation; in Dapr's words why not.
fn find(
    snapshot: &Snapshot,
    name: &str,
    operation: &str,
) -> Result<Arc<dyn OutputBinding>, String> {
    if operation.is_empty() {
        return Err("operation field is missing from request".to_owned());
    }
    let loaded = snapshot.bindings.get(name);
    let Some(binding) = loaded.and_then(|loaded| loaded.component.output.as_ref()) else {
        let mut text = format!("couldn't find output binding {name}");
        if snapshot.failed.iter().any(|failed| failed.name == name) {
            text.push_str(": it is defined, but could not be loaded");
        }
        return Err(text);
    };
    let operations = binding.operations();
    if !operations.contains(&operation) {
        return Err(format!(
            "binding {name} does not support operation {operation}. supported operations:{}",
            operations.join(" ")
        ));
    }
    Ok(Arc::clone(binding))
}

fn judge(outcome: &Result<BindingAnswer, BindingFailure>) -> Verdict {
    match outcome {
        Ok(_) => Verdict::Success,
        Err(failure) if failure.may_heal => Verdict::Failure(None),
        Err(_) => Verdict::Final,
    }
}
