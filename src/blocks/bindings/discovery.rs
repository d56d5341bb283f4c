//! Which input bindings the app wants to be read.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::{grpc, http};
use crate::app_channel::{self, AppChannel};
use crate::base::back_off::BackOff;
use crate::registry::messaging::LoadedBinding;

/// From the first to the longest pause before the app is asked again.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];

/// Whether the app wants the events of a binding. One whose `direction` says that it is an input
/// is wanted without a question. A question without an answer is asked again, without end: no
/// answer never means no.
pub(super) async fn wants(app: &AppChannel, binding: &LoadedBinding, limit: Duration) -> bool {
    let direction = binding.component.settings.direction;
    if direction.is_some_and(|direction| direction.input) {
        return true;
    }
    let mut back_off = BackOff::new(PAUSES);
    loop {
        let name = &*binding.name;
        match timeout(limit, ask(app, binding)).await {
            Ok(Ok(wanted)) => return wanted,
            // It is about to listen.
            Ok(Err(Unanswered::NotThere)) => debug!(binding = name, "The app does not listen"),
            Ok(Err(Unanswered::Failed(error))) => {
                warn!(
                    binding = name,
                    error, "The app was asked in vain whether it wants events"
                );
            }
            Err(_) => {
                warn!(
                    binding = name,
                    ?limit,
                    "The app does not say whether it wants events"
                );
            }
        }
        sleep(back_off.another()).await;
    }
}

/// Why there is no answer.
enum Unanswered {
    /// Nobody listens.
    NotThere,
    Failed(String),
}

impl From<app_channel::Error> for Unanswered {
    fn from(error: app_channel::Error) -> Self {
        match error {
            app_channel::Error::Connect => Self::NotThere,
            other => Self::Failed(other.to_string()),
        }
    }
}

async fn ask(app: &AppChannel, binding: &LoadedBinding) -> Result<bool, Unanswered> {
    if !app.config().protocol.is_grpc() {
        return Ok(http::probe(app, &binding.route()).await?);
    }
    match grpc::list(app).await {
        Ok(names) => Ok(names.contains(&binding.name)),
        Err(super::Refusal::Call(error)) => Err(error.into()),
        Err(other) => Err(Unanswered::Failed(other.to_string())),
    }
}
