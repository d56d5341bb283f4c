//! Bindings of a pluggable component.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;

use super::connection::{Connection, Failure};
use super::pull::{Message, Protocol, Pull};
use crate::components::BackendError;
use crate::components::binding::{
    BindingAnswer, BindingFailure, BindingRequest, InputBinding, OutputBinding,
};
use crate::components::message::{Intake, Metadata, Settlement};
use crate::proto::components::bindings::{
    InvokeRequest, InvokeResponse, ListOperationsResponse, ReadRequest, ReadResponse,
};
use crate::proto::components::common::AckError;

/// How many events are dealt with at once (Dapr 1.18 has no limit).
const CONCURRENCY: usize = 64;

/// The way in.
pub(super) struct PluggableInput {
    connection: Arc<Connection>,
}

impl PluggableInput {
    /// Over a connection whose component was started.
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection: Arc::new(connection),
        }
    }
}

#[async_trait]
impl InputBinding for PluggableInput {
    async fn read(&self) -> Result<Box<dyn Intake>, BackendError> {
        let name = self.connection.target.component.clone();
        Pull::<Events>::open(&self.connection, name, None, CONCURRENCY).await
    }
}

/// Events of a binding.
struct Events;

impl Protocol for Events {
    type Reply = ReadRequest;
    type Event = ReadResponse;
    const METHOD: &'static str = "Read";

    fn read(event: ReadResponse) -> (String, Message) {
        let message = Message {
            topic: String::new(),
            data: event.data,
            content_type: event.content_type,
            metadata: event.metadata,
        };
        (event.message_id, message)
    }

    fn reply(id: String, settlement: Settlement) -> ReadRequest {
        let (answer, error) = match settlement {
            Settlement::Done(answer) => (answer.unwrap_or_default(), None),
            Settlement::Failed(message) => (bytes::Bytes::new(), Some(AckError { message })),
        };
        ReadRequest {
            response_data: answer,
            message_id: id,
            response_error: error,
        }
    }
}

/// The way out.
pub(super) struct PluggableOutput {
    connection: Connection,
    operations: Vec<String>,
}

impl PluggableOutput {
    /// Asks a component that was started which operations it has.
    pub(super) async fn start(connection: Connection) -> Result<Self, Failure> {
        let answer: ListOperationsResponse = connection.call("ListOperations", ()).await?;
        Ok(Self {
            operations: answer.operations,
            connection,
        })
    }
}

#[async_trait]
impl OutputBinding for PluggableOutput {
    fn operations(&self) -> Cow<'_, [&str]> {
        self.operations.iter().map(String::as_str).collect()
    }

    async fn invoke(&self, request: BindingRequest) -> Result<BindingAnswer, BindingFailure> {
        let request = InvokeRequest {
            data: request.data,
            metadata: request.metadata,
            operation: request.operation,
        };
        let answer: Result<InvokeResponse, _> = self.connection.call("Invoke", request).await;
        let answer = answer.map_err(|failure| BindingFailure {
            text: failure.to_string(),
            metadata: Metadata::new(),
            may_heal: !failure.is_final(),
        })?;
        Ok(BindingAnswer {
            data: (!answer.data.is_empty()).then_some(answer.data),
            metadata: answer.metadata,
        })
    }
}
