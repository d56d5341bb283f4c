//! Bindings of apps that speak gRPC.

use dapr::dapr::proto::runtime::v1::{
    BindingEventRequest, BindingEventResponse, ListInputBindingsResponse,
};
use http::HeaderMap;

use super::answer::Answer;
use super::{Event, Refusal, headers};
use crate::app_channel::{AppChannel, Road};
use crate::proto::grpc_answer::GrpcFailure;

const LIST: &str = "/dapr.proto.runtime.v1.AppCallback/ListInputBindings";
const EVENT: &str = "/dapr.proto.runtime.v1.AppCallback/OnBindingEvent";

/// The code of a method that the app does not have (gRPC, "Status codes and their use").
const UNIMPLEMENTED: i32 = 12;

/// The bindings whose events the app wants. An app without the method wants none.
pub(super) async fn list(app: &AppChannel) -> Result<Vec<String>, Refusal> {
    let answer = app.callback(Road::ListInputBindings, LIST, HeaderMap::new(), ());
    match answer.await? {
        Ok(ListInputBindingsResponse { bindings }) => Ok(bindings),
        Err(failure) if failure.code == UNIMPLEMENTED => Ok(Vec::new()),
        Err(failure) => Err(refusal(failure)),
    }
}

/// Delivers an event once.
pub(super) async fn deliver(app: &AppChannel, event: &Event) -> Result<Answer, Refusal> {
    let message = BindingEventRequest {
        name: event.binding.clone(),
        data: event.data.to_vec(),
        metadata: event.metadata.clone().into_iter().collect(),
    };
    let metadata = headers::trace(&event.metadata);
    let answer = app.callback(Road::BindingEventGrpc, EVENT, metadata, message);
    let answer: Result<BindingEventResponse, _> = answer.await?;
    answer.map(Answer::of_grpc).map_err(refusal)
}

fn refusal(failure: GrpcFailure) -> Refusal {
    Refusal::Grpc {
        code: failure.code,
        message: failure.message,
    }
}
