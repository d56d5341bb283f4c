//! What a component says of a failure beside its text: the messages of `google.rpc` that the `dapr`
//! crate lacks (googleapis, `error_details.proto`).

use std::collections::BTreeMap;

use dapr::google::rpc::Status;
use prost::Message as _;
use prost_types::Any;

/// Fields of a request that are wrong.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct BadRequest {
    /// Each of them.
    #[prost(message, repeated, tag = "1")]
    pub field_violations: Vec<FieldViolation>,
}

/// A field of a request that is wrong.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct FieldViolation {
    /// Its name.
    #[prost(string, tag = "1")]
    pub field: String,
    /// What is wrong with it.
    #[prost(string, tag = "2")]
    pub description: String,
}

/// The reason of a failure.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct ErrorInfo {
    /// In one word.
    #[prost(string, tag = "1")]
    pub reason: String,
    /// Whose word it is.
    #[prost(string, tag = "2")]
    pub domain: String,
    /// What else there is to tell.
    #[prost(btree_map = "string, string", tag = "3")]
    pub metadata: BTreeMap<String, String>,
}

/// A message that stands among details.
pub trait Detail: prost::Message + Default {
    /// Its name, behind the slash of its type.
    const NAME: &'static str;
}

impl Detail for BadRequest {
    const NAME: &'static str = "google.rpc.BadRequest";
}

impl Detail for ErrorInfo {
    const NAME: &'static str = "google.rpc.ErrorInfo";
}

/// The details of one kind in an encoded status. Those that cannot be read are left out.
pub fn all<D: Detail>(status: &[u8]) -> impl Iterator<Item = D> + use<D> {
    let status = Status::decode(status).unwrap_or_default();
    let details = status.details.into_iter();
    let of_kind = |any: &Any| any.type_url.rsplit('/').next() == Some(D::NAME);
    let details = details.filter(of_kind);
    details.filter_map(|any| D::decode(any.value.as_slice()).ok())
}

/// An encoded status with one detail.
pub fn encoded<D: Detail>(code: i32, message: &str, detail: &D) -> Vec<u8> {
    let any = Any {
        type_url: format!("type.googleapis.com/{}", D::NAME),
        value: detail.encode_to_vec(),
    };
    let status = Status {
        code,
        message: message.to_owned(),
        details: vec![any],
    };
    status.encode_to_vec()
}
