//! Bindings: operations of services outside, and events that come from them.
//!
//! ```text
//! output: request → which binding, which operation → resiliency → component
//! input:  supervisor → discovery (does the app want it?) → intake → consumer → app
//!                                 app's answer → state stores → output bindings → settle
//! ```

mod answer;
mod consumer;
mod discovery;
mod grpc;
mod headers;
mod http;
pub mod output;
pub mod supervisor;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;

use crate::app_channel::{self, AppChannel};
use crate::blocks::state::State;
use crate::components::message::Metadata;
use crate::resiliency::{Status, Verdict};
use answer::Answer;
use output::OutputBindings;

/// What an app's answer to an event can ask for.
#[derive(Clone)]
pub struct Means {
    /// Operations of output bindings.
    pub outputs: Arc<OutputBindings>,
    /// Values of state stores.
    pub state: Arc<State>,
}

/// An event on its way to the app.
#[derive(Clone, Debug)]
struct Event {
    /// The binding that it comes from.
    binding: String,
    /// The path of events of that binding at an HTTP app.
    route: String,
    data: Bytes,
    metadata: Metadata,
}

/// Why the app did not take an event. The text is for the log and for the broker.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
enum Refusal {
    #[error("error invoking app: {0}")]
    Call(#[from] app_channel::Error),
    #[error("the app answered with status code {0}")]
    Http(u16),
    #[error("the app answered with gRPC code {code}: {message}")]
    Grpc { code: i32, message: String },
}

impl Refusal {
    /// What it means to the resiliency of the binding.
    fn verdict(&self) -> Verdict {
        Verdict::Failure(match self {
            Self::Call(_) => None,
            Self::Http(status) => Some(Status::Http(*status)),
            Self::Grpc { code, .. } => u16::try_from(*code).ok().map(Status::Grpc),
        })
    }
}

/// Delivers an event once.
async fn deliver(app: &AppChannel, event: &Event) -> Result<Answer, Refusal> {
    if app.config().protocol.is_grpc() {
        grpc::deliver(app, event).await
    } else {
        http::deliver(app, event).await
    }
}
