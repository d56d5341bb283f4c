//! Fields of every state store of Dapr's for what this build does not serve.

use tracing::{info, warn};

use crate::components::ResolvedComponent;
use crate::components::metadata::{self, Reader};

/// Of the outbox, which publishes what a transaction wrote.
const OUTBOX: [&str; 5] = [
    "outboxPublishPubsub",
    "outboxPublishTopic",
    "outboxPubsub",
    "outboxInternalTopic",
    "outboxDiscardWhenMissingState",
];

/// Says which fields are without effect.
pub(in crate::components) fn name(
    component: &ResolvedComponent,
    reader: &mut Reader<'_>,
) -> Result<(), metadata::Error> {
    let mut given = Vec::new();
    for name in OUTBOX {
        if reader.text(&[name])?.is_some() {
            given.push(name);
        }
    }
    if !given.is_empty() {
        warn!(
            component = component.name,
            fields = given.join(", "),
            "The outbox is not served by this build: transactions are written, and nothing of them \
             is published"
        );
    }
    if reader.truthy(&["actorStateStore"])? {
        info!(
            component = component.name,
            "\"actorStateStore\" is without effect: actors are not served by this build"
        );
    }
    Ok(())
}
