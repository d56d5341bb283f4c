//! A call and its answer, between the caller's sidecar and that of the app.

use std::time::Instant;

use http::{HeaderMap, Method, Response};

use crate::base::method_path::MethodPath;
use crate::process::body::Body;
use crate::proto::grpc_answer::GrpcAnswer;

/// A call of a method of an app.
#[derive(Debug)]
pub struct Message {
    /// What it says besides its body.
    pub head: Head,
    /// Its body.
    pub body: Body,
}

/// A call without its body.
#[derive(Clone, Debug)]
pub struct Head {
    /// The path of the method.
    pub path: MethodPath,
    /// The HTTP method. Callers over gRPC may leave it out, for an app that speaks gRPC too.
    pub method: Option<Method>,
    /// The query, escaped, without `?`.
    pub query: Option<String>,
    /// HTTP headers, or gRPC metadata with the content type of the message.
    pub headers: HeaderMap,
    /// The type of the body, where that is a protobuf message (`Any.type_url`); empty otherwise.
    pub type_url: String,
    /// Whether the caller spoke HTTP, so that its headers are those of HTTP and no metadata.
    pub over_http: bool,
    /// When the caller stops waiting, where it said so.
    pub deadline: Option<Instant>,
}

/// The answer of an app, whatever its status.
#[derive(Debug)]
pub enum Answer {
    /// Of an app that speaks HTTP.
    Http(Response<Body>),
    /// Of an app that speaks gRPC.
    Grpc(GrpcAnswer),
}
