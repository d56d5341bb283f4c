//! Requests, values and failures of state stores in the words of the protocol, and back.

use bytes::Bytes;
use tonic::Code;

use super::connection::Failure;
use crate::components::BackendError;
use crate::components::message::Metadata;
use crate::components::state::{
    Condition, Consistency, Delete, ETag, Get, Item, Operation, Set, StateError, Ttl,
};
use crate::proto::components::details::{self, BadRequest, ErrorInfo};
use crate::proto::components::state::{
    DeleteRequest, Etag, GetRequest, SetRequest, StateConcurrency, StateConsistency, StateOptions,
    TransactionalRequest, TransactionalStateOperation,
};

/// The field that a component names when it refuses an ETag (Dapr 1.18).
const ETAG: &str = "etag";
/// What a component says of deletes some of which found nothing (Dapr 1.18).
const ROW_MISMATCH: [&str; 2] = ["expected", "affected"];
/// Says in the metadata of a write how long its value stays; -1 is for ever.
const TTL: &str = "ttlInSeconds";

pub(super) fn get_request(get: &Get) -> GetRequest {
    GetRequest {
        key: get.key.clone(),
        metadata: get.metadata.clone(),
        consistency: consistency(get.consistency).into(),
    }
}

pub(super) fn set_request(set: Set) -> SetRequest {
    let mut metadata = set.metadata;
    match set.ttl {
        Ttl::OfStore => {}
        Ttl::Forever => {
            metadata.insert(TTL.to_owned(), "-1".to_owned());
        }
        Ttl::Seconds(seconds) => {
            metadata.insert(TTL.to_owned(), seconds.to_string());
        }
    }
    let (etag, options) = condition(set.condition, set.consistency);
    SetRequest {
        key: set.key,
        value: set.value,
        etag,
        metadata,
        options: Some(options),
        content_type: set.content_type.unwrap_or_default(),
    }
}

pub(super) fn delete_request(delete: Delete) -> DeleteRequest {
    let (etag, options) = condition(delete.condition, delete.consistency);
    DeleteRequest {
        key: delete.key,
        etag,
        metadata: delete.metadata,
        options: Some(options),
    }
}

/// A write of a transaction.
pub(super) fn operation(operation: Operation) -> TransactionalStateOperation {
    let request = match operation {
        Operation::Set(set) => TransactionalRequest::Set(set_request(set)),
        Operation::Delete(delete) => TransactionalRequest::Delete(delete_request(delete)),
    };
    TransactionalStateOperation {
        request: Some(request),
    }
}

/// A value that was read. Without data and ETag there is none: the protocol has no other word.
pub(super) fn item(
    value: Bytes,
    etag: Option<Etag>,
    content_type: String,
    metadata: Metadata,
) -> Option<Item> {
    let etag = etag.filter(|etag| !etag.value.is_empty());
    if value.is_empty() && etag.is_none() {
        return None;
    }
    Some(Item {
        value,
        etag: etag.map(|etag| ETag::new(etag.value)),
        content_type: (!content_type.is_empty()).then_some(content_type),
        metadata,
    })
}

/// The ETag and the options of a write. First-write makes stores that go by the options check
/// the ETag.
fn condition(condition: Condition, replicas: Consistency) -> (Option<Etag>, StateOptions) {
    let (etag, concurrency) = match condition {
        Condition::Always => (None, StateConcurrency::LastWrite),
        Condition::Absent => (None, StateConcurrency::FirstWrite),
        Condition::Matches(etag) => {
            let value = etag.as_str().to_owned();
            (Some(Etag { value }), StateConcurrency::FirstWrite)
        }
    };
    let options = StateOptions {
        concurrency: concurrency.into(),
        consistency: consistency(replicas).into(),
    };
    (etag, options)
}

fn consistency(consistency: Consistency) -> StateConsistency {
    match consistency {
        Consistency::Eventual => StateConsistency::Eventual,
        Consistency::Strong => StateConsistency::Strong,
    }
}

impl Failure {
    /// Whether a component says that some keys to delete were not there. It deleted none then.
    pub(super) fn is_row_mismatch(&self) -> bool {
        let has = |info: ErrorInfo| {
            let mut keys = ROW_MISMATCH.iter();
            keys.all(|key| info.metadata.contains_key(*key))
        };
        self.code() == Some(Code::Internal) && details::all(self.details()).any(has)
    }

    /// Whether it is about the ETag.
    fn is_of_etag(&self) -> bool {
        let requests = details::all(self.details());
        let mut violations = requests.flat_map(|request: BadRequest| request.field_violations);
        violations.any(|violation| violation.field == ETAG)
    }

    fn code(&self) -> Option<Code> {
        match self {
            Self::Status { code, .. } => Some(*code),
            Self::Unreachable(_) => None,
        }
    }

    fn details(&self) -> &[u8] {
        match self {
            Self::Status { details, .. } => details,
            Self::Unreachable(_) => &[],
        }
    }
}

impl From<Failure> for StateError {
    fn from(failure: Failure) -> Self {
        match failure.code() {
            Some(Code::FailedPrecondition) if failure.is_of_etag() => Self::Mismatch,
            Some(Code::InvalidArgument) if failure.is_of_etag() => Self::ETagInvalid,
            _ => BackendError::from(failure).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::components::details::FieldViolation;

    fn failure(code: Code, details: Vec<u8>) -> Failure {
        Failure::Status {
            code,
            text: "no".to_owned(),
            details,
        }
    }

    fn of_field(field: &str) -> Vec<u8> {
        let violation = FieldViolation {
            field: field.to_owned(),
            description: "it is wrong".to_owned(),
        };
        let request = BadRequest {
            field_violations: vec![violation],
        };
        details::encoded(9, "no", &request)
    }

    #[test]
    fn only_failures_that_name_the_etag_are_of_it() {
        let refused = |code: Code| StateError::Refused(format!("no ({code:?})"));
        let (mismatch, invalid) = (Code::FailedPrecondition, Code::InvalidArgument);
        for (code, details, expected) in [
            (mismatch, of_field("etag"), StateError::Mismatch),
            (invalid, of_field("etag"), StateError::ETagInvalid),
            (mismatch, of_field("key"), refused(mismatch)),
            (invalid, of_field("key"), refused(invalid)),
            (mismatch, Vec::new(), refused(mismatch)),
            (invalid, b"rubbish".to_vec(), refused(invalid)),
            (Code::NotFound, of_field("etag"), refused(Code::NotFound)),
            (
                Code::Unknown,
                of_field("etag"),
                StateError::Unavailable("no (Unknown)".to_owned()),
            ),
        ] {
            assert_eq!(StateError::from(failure(code, details)), expected);
        }
        let gone = Failure::Unreachable("it is gone".to_owned());
        let expected = StateError::Unavailable("it is gone".to_owned());
        assert_eq!(StateError::from(gone), expected);
    }

    #[test]
    fn deletes_that_found_nothing_are_told_by_two_numbers() {
        let info = |keys: &[&str]| {
            let metadata = keys
                .iter()
                .map(|key| ((*key).to_owned(), "2".to_owned()))
                .collect();
            let info = ErrorInfo {
                metadata,
                ..ErrorInfo::default()
            };
            details::encoded(13, "no", &info)
        };
        for (code, keys, expected) in [
            (Code::Internal, &["affected", "expected"][..], true),
            (Code::Internal, &["expected"], false),
            (Code::Unknown, &["affected", "expected"], false),
        ] {
            assert_eq!(failure(code, info(keys)).is_row_mismatch(), expected);
        }
    }

    #[test]
    fn an_etag_is_always_checked() {
        let always = StateOptions {
            concurrency: StateConcurrency::LastWrite.into(),
            consistency: StateConsistency::Strong.into(),
        };
        let first = StateOptions {
            concurrency: StateConcurrency::FirstWrite.into(),
            ..always
        };
        let value = "own form".to_owned();
        let matches = Condition::Matches(ETag::new(value.clone()));
        for (given, expected) in [
            (Condition::Always, (None, always)),
            (Condition::Absent, (None, first)),
            (matches, (Some(Etag { value }), first)),
        ] {
            assert_eq!(condition(given, Consistency::Strong), expected);
        }
    }

    #[test]
    fn without_data_and_etag_there_is_no_value() {
        let read = |data: &'static str, etag: Option<&str>| {
            let etag = etag.map(|value| Etag {
                value: value.to_owned(),
            });
            item(data.into(), etag, String::new(), Metadata::new())
        };
        assert_eq!(read("", None), None);
        assert_eq!(read("", Some("")), None);
        assert_eq!(read("x", Some("")).unwrap().etag, None);
        assert_eq!(read("", Some("e")).unwrap().etag, Some(ETag::new("e")));
    }
}
