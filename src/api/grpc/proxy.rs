//! Calls that pass through to an app: of every service that the sidecar does not have itself.

use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use tonic::Status;
use tonic::body::Body;

use super::status;
use crate::base::grpc_method::GrpcMethod;
use crate::blocks::invoke::Invoke;
use crate::process::body::boxed;

/// The metadata that names the app, in the order in which it counts.
const TARGETS: [&str; 2] = ["dapr-callee-app-id", "dapr-app-id"];

/// The app that a call names.
pub(super) fn target(headers: &HeaderMap) -> Option<&str> {
    let named = TARGETS.iter().filter_map(|name| headers.get(*name));
    let mut texts = named.filter_map(|id| id.to_str().ok());
    texts.find(|id| !id.is_empty())
}

/// Passes a call on.
pub(super) async fn serve(invoke: &Invoke, request: Request<Incoming>) -> Response<Body> {
    let method = match GrpcMethod::parse(request.uri().path()) {
        Ok(method) => method,
        Err(error) => return Status::unimplemented(error.to_string()).into_http(),
    };
    let target = target(request.headers()).unwrap_or_default().to_owned();
    match invoke.proxy(&target, &method, request.map(boxed)).await {
        Ok(answer) => answer.map(Body::new),
        Err(error) => status::failure(&error).into_http(),
    }
}
