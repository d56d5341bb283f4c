//! The statuses of the gRPC API, with Dapr's details.

use std::collections::BTreeMap;

use dapr::google::rpc;
use prost::Message as _;
use prost_types::Any;
use tonic::{Code, Status};

use crate::api::status::{
    self, BAD_REQUEST, DETAIL_DOMAIN, ERROR_INFO, GrpcCode, HELP, HELP_DESCRIPTION, RESOURCE_INFO,
};
use crate::auth::tokens::Refusal;
use crate::blocks::error::Error;

/// The service whose unknown methods have a text of their own.
const DAPR_SERVICE: &str = "/dapr.proto.runtime.v1.Dapr/";

/// `google.rpc.ErrorInfo` (googleapis, `error_details.proto`).
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(btree_map = "string, string", tag = "3")]
    metadata: BTreeMap<String, String>,
}

/// `google.rpc.ResourceInfo` (googleapis, `error_details.proto`).
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
struct ResourceInfo {
    #[prost(string, tag = "1")]
    resource_type: String,
    #[prost(string, tag = "2")]
    resource_name: String,
    #[prost(string, tag = "3")]
    owner: String,
    #[prost(string, tag = "4")]
    description: String,
}

/// `google.rpc.BadRequest` (googleapis, `error_details.proto`).
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    field_violations: Vec<FieldViolation>,
}

/// `google.rpc.BadRequest.FieldViolation`.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
struct FieldViolation {
    #[prost(string, tag = "1")]
    field: String,
    #[prost(string, tag = "2")]
    description: String,
}

/// `google.rpc.Help` (googleapis, `error_details.proto`).
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
struct Help {
    #[prost(message, repeated, tag = "1")]
    links: Vec<Link>,
}

/// `google.rpc.Help.Link`.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
struct Link {
    #[prost(string, tag = "1")]
    description: String,
    #[prost(string, tag = "2")]
    url: String,
}

/// A refused token: Dapr's status, which its SDKs know.
pub(super) fn unauthenticated(refusal: Refusal) -> Status {
    let why = match refusal {
        Refusal::Missing => "missing api token in request metadata",
        Refusal::Mismatch => "authentication error: api token mismatch",
    };
    with_info(Code::Unauthenticated, "Unauthorized", 401, why)
}

/// A method that the Configuration does not allow.
pub(super) fn not_allowed() -> Status {
    let why = "requested endpoint is not available";
    with_info(Code::Unimplemented, "Not Implemented", 501, why)
}

/// A method that this build does not serve, in a call that names no app to pass it on to.
pub(super) fn unknown(path: &str) -> Status {
    Status::unknown(if path.starts_with(DAPR_SERVICE) {
        "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found"
    } else {
        "cannot proxy request: missing dapr-callee-app-id or dapr-app-id metadata"
    })
}

/// A failure of a building block.
pub(in crate::api) fn failure(error: &Error) -> Status {
    let row = status::of(error.reason());
    let code = code(row.grpc);
    let Some(reason) = row.detail else {
        return Status::new(code, error.message());
    };
    let subject = error.subject();
    let facts = subject.map(|subject| &*subject.facts).unwrap_or_default();
    let facts = facts.iter().cloned();
    let info = ErrorInfo {
        reason: reason.to_owned(),
        domain: DETAIL_DOMAIN.to_owned(),
        metadata: facts
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    };
    let resource = subject.and_then(|subject| subject.resource.as_ref());
    let resource = resource.map(|resource| {
        let (kind, description) = status::resource(resource.kind, error.message());
        let resource = ResourceInfo {
            resource_type: kind.to_owned(),
            resource_name: resource.name.clone(),
            owner: String::new(),
            description: description.to_owned(),
        };
        any(RESOURCE_INFO, &resource)
    });
    let field = subject.and_then(|subject| subject.field.clone());
    let request = field.map(|field| {
        let description = error.message().to_owned();
        let violation = FieldViolation { field, description };
        let field_violations = vec![violation];
        any(BAD_REQUEST, &BadRequest { field_violations })
    });
    let help = row.help.map(|url| {
        let link = Link {
            description: HELP_DESCRIPTION.to_owned(),
            url: url.to_owned(),
        };
        any(HELP, &Help { links: vec![link] })
    });
    let all = [Some(any(ERROR_INFO, &info)), resource, request, help];
    let details = all.into_iter().flatten();
    with_details(code, error.message(), details.collect())
}

/// A status with the detail that Dapr makes of an HTTP status: the message is also the reason.
pub(super) fn with_info(code: Code, message: &str, http: u16, why: &str) -> Status {
    let info = ErrorInfo {
        reason: message.to_owned(),
        domain: DETAIL_DOMAIN.to_owned(),
        metadata: [
            ("http.code".to_owned(), http.to_string()),
            ("http.error_message".to_owned(), why.to_owned()),
        ]
        .into(),
    };
    with_details(code, message, vec![any(ERROR_INFO, &info)])
}

fn with_details(code: Code, message: &str, details: Vec<Any>) -> Status {
    let details = rpc::Status {
        code: code as i32,
        message: message.to_owned(),
        details,
    };
    Status::with_details(code, message, details.encode_to_vec().into())
}

fn any(type_url: &str, message: &impl prost::Message) -> Any {
    Any {
        type_url: type_url.to_owned(),
        value: message.encode_to_vec(),
    }
}

fn code(code: GrpcCode) -> Code {
    Code::from_i32(code as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::error::{Reason, Resource, ResourceKind, StateReason, Subject};

    fn info(status: &Status) -> ErrorInfo {
        let details = rpc::Status::decode(status.details()).unwrap();
        assert_eq!(details.code, status.code() as i32);
        assert_eq!(details.message, status.message());
        let [any] = details.details.as_slice() else {
            panic!("one detail")
        };
        assert_eq!(any.type_url, "type.googleapis.com/google.rpc.ErrorInfo");
        ErrorInfo::decode(any.value.as_slice()).unwrap()
    }

    #[test]
    fn a_refused_token_has_daprs_status_and_detail() {
        for (refusal, why) in [
            (Refusal::Missing, "missing api token in request metadata"),
            (
                Refusal::Mismatch,
                "authentication error: api token mismatch",
            ),
        ] {
            let status = unauthenticated(refusal);
            assert_eq!(status.code(), Code::Unauthenticated);
            assert_eq!(status.message(), "Unauthorized");
            let info = info(&status);
            assert_eq!(
                (info.reason.as_str(), info.domain.as_str()),
                ("Unauthorized", "dapr.io")
            );
            assert_eq!(info.metadata["http.code"], "401");
            assert_eq!(info.metadata["http.error_message"], why);
        }
    }

    #[test]
    fn a_denied_method_is_not_implemented() {
        let status = not_allowed();
        assert_eq!(
            (status.code(), status.message()),
            (Code::Unimplemented, "Not Implemented")
        );
        assert_eq!(info(&status).metadata["http.code"], "501");
    }

    #[test]
    fn unknown_methods_have_daprs_texts() {
        let status = unknown("/dapr.proto.runtime.v1.Dapr/InvokeActor");
        assert_eq!(status.code(), Code::Unknown);
        assert!(
            status
                .message()
                .starts_with("failed to proxy request: required metadata")
        );
        let status = unknown("/grpc.health.v1.Health/Check");
        assert_eq!(status.code(), Code::Unknown);
        assert!(
            status
                .message()
                .starts_with("cannot proxy request: missing")
        );
    }

    #[test]
    fn failures_of_pubsub_have_details() {
        let error = Error::new(Reason::TopicForbidden, "no").about_topic("p", "t");
        let status = failure(&error);
        assert_eq!(
            (status.code(), status.message()),
            (Code::PermissionDenied, "no")
        );
        let details = rpc::Status::decode(status.details()).unwrap().details;
        let [info, resource] = details.as_slice() else {
            panic!("two details")
        };
        let info = ErrorInfo::decode(info.value.as_slice()).unwrap();
        assert_eq!(info.reason, "DAPR_PUBSUB_FORBIDDEN");
        assert_eq!(info.metadata["topic"], "t");
        let resource = ResourceInfo::decode(resource.value.as_slice()).unwrap();
        assert_eq!(
            (
                resource.resource_type.as_str(),
                resource.resource_name.as_str()
            ),
            ("pubsub", "p")
        );
    }

    #[test]
    fn failures_of_state_have_the_key_and_where_to_read_on() {
        let subject = Subject {
            resource: Some(Resource {
                kind: ResourceKind::State,
                name: "s".to_owned(),
            }),
            facts: Vec::new(),
            field: Some("a||b".to_owned()),
        };
        let details = |reason| {
            let error = Error::new(Reason::State(reason), "no").about(subject.clone());
            let status = failure(&error);
            rpc::Status::decode(status.details()).unwrap().details
        };
        let [info, resource, request] = &details(StateReason::KeyIllegal)[..] else {
            panic!("three details")
        };
        let info = ErrorInfo::decode(info.value.as_slice()).unwrap();
        assert_eq!(info.reason, "DAPR_STATE_ILLEGAL_KEY");
        let resource = ResourceInfo::decode(resource.value.as_slice()).unwrap();
        let told = (
            resource.resource_type.as_str(),
            resource.description.as_str(),
        );
        assert_eq!(told, ("state", ""));
        let request = BadRequest::decode(request.value.as_slice()).unwrap();
        let violation = &request.field_violations[0];
        let told = (violation.field.as_str(), violation.description.as_str());
        assert_eq!(told, ("a||b", "no"));
        let details = details(StateReason::TransactionsUnsupported);
        let help = Help::decode(details[3].value.as_slice()).unwrap();
        assert!(help.links[0].url.ends_with("/supported-state-stores/"));
    }

    #[test]
    fn failures_take_their_code_from_the_table() {
        let status = failure(&Error::new(Reason::SecretDenied, "no"));
        assert_eq!(
            (status.code(), status.message()),
            (Code::PermissionDenied, "no")
        );
    }
}
