//! The messages of `grpc.reflection`, as far as they list the services of a server. Versions
//! `v1alpha` and `v1` have the same.

/// The path of the call in the older version, which servers of all ages have.
pub const V1ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

/// The path of the call in the version of today.
pub const V1: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// A question to a server.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct ServerReflectionRequest {
    /// The host that is meant, or nothing.
    #[prost(string, tag = "1")]
    pub host: String,
    /// Asks for the services, whatever the text.
    #[prost(string, optional, tag = "7")]
    pub list_services: Option<String>,
}

/// The answer to a question.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct ServerReflectionResponse {
    /// The services, where they were asked for.
    #[prost(message, optional, tag = "6")]
    pub list_services_response: Option<ListServiceResponse>,
    /// Why there is no other answer.
    #[prost(message, optional, tag = "7")]
    pub error_response: Option<ErrorResponse>,
}

/// The services of a server.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct ListServiceResponse {
    /// Each of them.
    #[prost(message, repeated, tag = "1")]
    pub service: Vec<ServiceResponse>,
}

/// A service.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct ServiceResponse {
    /// Its name with its package.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// A question that was not answered.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct ErrorResponse {
    /// A code of gRPC.
    #[prost(int32, tag = "1")]
    pub error_code: i32,
    /// Why.
    #[prost(string, tag = "2")]
    pub error_message: String,
}
