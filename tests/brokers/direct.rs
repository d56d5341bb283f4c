//! Components without a sidecar around them.

use std::sync::Arc;

use bytes::Bytes;
use sidegate::base::environment::Environment;
use sidegate::base::secret::Secret;
use sidegate::components::binding::{BindingComponent, BindingFailure, BindingRequest};
use sidegate::components::catalog::{Backend, Host, build as build_backend};
use sidegate::components::message::{Delivery, Intake, Metadata, Settlement};
use sidegate::components::state::StateStore;
use sidegate::components::{BackendError, Error, ResolvedComponent, ResolvedProperty};
use sidegate::process::kubernetes::Access;
use sidegate::testing::eventually::in_time;

/// Makes a component of a type for the app `counter`.
pub(crate) async fn build(
    component_type: &str,
    properties: &[(&str, &str)],
) -> Result<Backend, Error> {
    build_version(component_type, "v1", properties).await
}

/// The same of a version of the type.
pub(crate) async fn build_version(
    component_type: &str,
    version: &str,
    properties: &[(&str, &str)],
) -> Result<Backend, Error> {
    let property = |&(name, value): &(&str, &str)| ResolvedProperty {
        name: name.to_owned(),
        value: Secret::new(value),
        secret_name: None,
    };
    let component = ResolvedComponent {
        name: "c".to_owned(),
        component_type: component_type.to_owned(),
        version: version.to_owned(),
        properties: properties.iter().map(property).collect(),
    };
    let host = Host {
        environment: &Environment::default(),
        cluster: &Access::InCluster,
        app_id: "counter",
    };
    build_backend(&component, host).await
}

/// Makes a binding.
pub(crate) async fn binding(component_type: &str, properties: &[(&str, &str)]) -> BindingComponent {
    match build(component_type, properties).await {
        Ok(Backend::Binding(binding)) => binding,
        Ok(_) => panic!("{component_type} is no binding"),
        Err(error) => panic!("{error}"),
    }
}

/// Makes a state store.
pub(crate) async fn state(
    component_type: &str,
    properties: &[(&str, &str)],
) -> Result<Arc<dyn StateStore>, String> {
    match build(component_type, properties).await {
        Ok(Backend::State(state)) => Ok(state.store),
        Ok(_) => panic!("{component_type} is no state store"),
        Err(error) => Err(error.to_string()),
    }
}

/// The operation `create` of a binding.
pub(crate) async fn create(
    binding: &BindingComponent,
    data: &'static str,
    metadata: &[(&str, &str)],
) -> Result<(), BindingFailure> {
    let metadata = metadata.iter();
    let request = BindingRequest {
        operation: "create".to_owned(),
        data: Bytes::from_static(data.as_bytes()),
        metadata: metadata
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    };
    let output = binding.output.as_ref().unwrap();
    output.invoke(request).await.map(drop)
}

/// The next message of an intake.
pub(crate) async fn next(intake: &mut Box<dyn Intake>) -> Result<Delivery, BackendError> {
    in_time("a message comes", intake.next()).await
}

/// The same, dealt with.
pub(crate) async fn next_settled(
    intake: &mut Box<dyn Intake>,
) -> Result<(Bytes, Metadata), BackendError> {
    let delivery = next(intake).await?;
    delivery.acknowledge.settle(Settlement::Done(None)).await?;
    Ok((delivery.data, delivery.metadata))
}
