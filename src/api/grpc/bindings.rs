//! `InvokeBinding`.

use dapr::dapr::proto::runtime::v1 as proto;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::{Request, Response, Status};

use super::status;
use crate::blocks::bindings::output::{BindingRequest, Failure, OutputBindings};
use crate::process::trace::context::{TRACEPARENT, TRACESTATE};

/// An operation of an output binding. Of the metadata of the call only the trace goes along.
pub(super) async fn invoke(
    bindings: &OutputBindings,
    request: Request<proto::InvokeBindingRequest>,
) -> Result<Response<proto::InvokeBindingResponse>, Status> {
    let (call, _, message) = request.into_parts();
    let mut request = BindingRequest {
        operation: message.operation,
        data: message.data.into(),
        metadata: message.metadata.into_iter().collect(),
    };
    for name in [TRACEPARENT, TRACESTATE] {
        if let Some(Ok(value)) = call.get(name.as_str()).map(|value| value.to_str()) {
            request.metadata.insert(name.to_string(), value.to_owned());
        }
    }
    let outcome = bindings.invoke(&message.name, request).await;
    let answer = outcome.map_err(|failure| failed(&failure))?;
    Ok(Response::new(proto::InvokeBindingResponse {
        data: answer.data.unwrap_or_default().into(),
        metadata: answer.metadata.into_iter().collect(),
    }))
}

/// The status of a failure. What the service outside told is in its metadata, under the names that
/// the HTTP API has for it.
fn failed(failure: &Failure) -> Status {
    let mut status = status::failure(&failure.error);
    let mut metadata = MetadataMap::new();
    for (name, value) in &failure.metadata {
        let name = format!("metadata.{}", name.to_lowercase());
        let name = AsciiMetadataKey::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, AsciiMetadataValue::try_from(value.as_str())) {
            metadata.insert(name, value);
        }
    }
    *status.metadata_mut() = metadata;
    status
}
