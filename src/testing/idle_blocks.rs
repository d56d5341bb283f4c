//! The building blocks of a sidecar without app and resources.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::api::Blocks;
use crate::blocks::bindings::output::OutputBindings;
use crate::blocks::configuration::Configurations;
use crate::blocks::health::Health;
use crate::blocks::invoke::Invoke;
use crate::blocks::lock::Locks;
use crate::blocks::metadata::{Facts, Live, Metadata};
use crate::blocks::pipeline::Pipeline;
use crate::blocks::publish::Publish;
use crate::blocks::secrets::Secrets;
use crate::blocks::shutdown::Shutdown;
use crate::blocks::state::State;
use crate::blocks::subscriptions::streaming::{Streaming, Streams};
use crate::process::readiness::Readiness;
use crate::registry::Registry;

/// The blocks of the sidecar of `app_id`; a test puts its own in the place of some.
pub fn idle_blocks(app_id: &str) -> Blocks {
    let registry = Registry::empty;
    let (streams, stop) = (Streams::default(), CancellationToken::new());
    Blocks {
        bindings: Arc::new(OutputBindings::new(registry(), None)),
        configurations: Arc::new(Configurations::new(registry(), "", None).0),
        health: Health::new(app_id, Readiness::new(), Readiness::new()),
        invoke: Arc::new(Invoke::new(None, app_id, "", 1024, registry())),
        locks: Arc::new(Locks::new(registry())),
        metadata: Arc::new(Metadata::new(Facts::default(), Live::default)),
        pipeline: Pipeline::http(registry()),
        publish: Arc::new(Publish::new(registry(), app_id, "")),
        secrets: Secrets::new(registry()),
        shutdown: Shutdown::default(),
        state: Arc::new(State::new(registry(), app_id, "")),
        streaming: Arc::new(Streaming::new(registry(), app_id, streams, stop)),
    }
}
