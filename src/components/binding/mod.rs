//! Services outside that events come from (input) and that operations go to (output).

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::message::{BrokerError, Intake, Metadata};

/// One operation of an output binding.
#[derive(Clone, Debug)]
pub struct BindingRequest {
    /// What to do, such as `create`.
    pub operation: String,
    /// With what.
    pub data: Bytes,
    /// How.
    pub metadata: Metadata,
}

/// What an operation gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BindingAnswer {
    /// Its data, where it has some.
    pub data: Option<Bytes>,
    /// What else there is to tell.
    pub metadata: Metadata,
}

/// An operation that failed.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text}")]
pub struct BindingFailure {
    /// Why. It goes to the client: it holds no secret, and no address with a password in it.
    pub text: String,
    /// What else there is to tell, also of a failure.
    pub metadata: Metadata,
    /// Whether another try may heal it.
    pub may_heal: bool,
}

/// Where operations go.
#[async_trait]
pub trait OutputBinding: Send + Sync {
    /// The operations that it has.
    fn operations(&self) -> &[&'static str];

    /// Does one of them.
    async fn invoke(&self, request: BindingRequest) -> Result<BindingAnswer, BindingFailure>;
}

/// Where events come from.
#[async_trait]
pub trait InputBinding: Send + Sync {
    /// Begins to take them.
    async fn read(&self) -> Result<Box<dyn Intake>, BrokerError>;
}

/// A component of bindings: one way or both.
#[derive(Clone, Default)]
pub struct BindingComponent {
    /// Where events come from.
    pub input: Option<Arc<dyn InputBinding>>,
    /// Where operations go.
    pub output: Option<Arc<dyn OutputBinding>>,
    /// What its metadata says for all bindings.
    pub settings: BindingSettings,
}

/// What the metadata of a binding may say, whatever its type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BindingSettings {
    /// `direction`: where it names the input, the app is not asked whether it wants the events.
    pub direction: Option<String>,
    /// `route`: the path of events at an HTTP app, in place of the name.
    pub route: Option<String>,
}
