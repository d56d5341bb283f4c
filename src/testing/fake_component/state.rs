//! The state store of a component, which outlives its process.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::{Code, Status};

use super::answers::unary;
use crate::base::timestamp::rfc3339;
use crate::components::state::ETag;
use crate::proto::components::details::{self, BadRequest, ErrorInfo, FieldViolation};
use crate::proto::components::state::{
    BulkDeleteRequest, BulkGetRequest, BulkGetResponse, BulkSetRequest, BulkStateItem,
    DeleteRequest, Etag, GetRequest, GetResponse, MultiMaxSizeResponse, SetRequest,
    StateConcurrency, StateOptions, TransactionalRequest, TransactionalStateRequest,
};

/// A value whose read fails, of several.
const UNREADABLE: &str = "unreadable";

/// Values under keys. The ETag of a value is the number of its write.
#[derive(Debug, Default)]
pub struct State(Mutex<Inner>);

#[derive(Clone, Debug, Default)]
struct Inner {
    values: BTreeMap<String, Value>,
    writes: u64,
    /// In front of the number in an ETag.
    word: &'static str,
    most_operations: Option<i64>,
}

#[derive(Clone, Debug)]
struct Value {
    data: Bytes,
    etag: String,
    content_type: String,
    metadata: BTreeMap<String, String>,
    end: Option<SystemTime>,
}

impl State {
    /// Takes so many operations in a transaction, and tells it.
    pub fn takes(&self, most: i64) {
        self.0.lock().unwrap().most_operations = Some(most);
    }

    /// Puts a word in front of the numbers in ETags.
    pub fn names_writes(&self, word: &'static str) {
        self.0.lock().unwrap().word = word;
    }

    /// The metadata of the write of a key.
    pub fn metadata(&self, key: &str) -> BTreeMap<String, String> {
        self.0.lock().unwrap().values[key].metadata.clone()
    }
}

pub(super) async fn answer(
    state: &State,
    method: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let inner = || state.0.lock().unwrap();
    match method {
        "Get" => unary(request, |get: GetRequest| Ok(inner().get(&get.key))).await,
        "Set" => unary(request, |set| inner().set(set)).await,
        "Delete" => unary(request, |delete| inner().delete(delete).map(drop)).await,
        "BulkGet" => unary(request, |gets| Ok(inner().get_all(gets))).await,
        "BulkSet" => {
            let set_all = |sets: BulkSetRequest| {
                let mut sets = sets.items.into_iter();
                sets.try_for_each(|set| inner().set(set))
            };
            unary(request, set_all).await
        }
        "BulkDelete" => unary(request, |deletes| inner().delete_all(deletes)).await,
        "Transact" => unary(request, |request| inner().transact(request)).await,
        "MultiMaxSize" => {
            let most = |()| match inner().most_operations {
                Some(max_size) => Ok(MultiMaxSizeResponse { max_size }),
                None => Err(Status::unimplemented("no such method")),
            };
            unary(request, most).await
        }
        _ => Status::unimplemented("no such method").into_http(),
    }
}

impl Inner {
    fn find(&self, key: &str) -> Option<&Value> {
        let value = self.values.get(key)?;
        let is_there = value.end.is_none_or(|end| SystemTime::now() < end);
        is_there.then_some(value)
    }

    fn get(&self, key: &str) -> GetResponse {
        let Some(value) = self.find(key) else {
            return GetResponse::default();
        };
        let etag = value.etag.clone();
        let mut metadata = BTreeMap::from([("store".to_owned(), "fake".to_owned())]);
        let end = value.end.map(rfc3339);
        metadata.extend(end.map(|end| ("ttlExpireTime".to_owned(), end)));
        GetResponse {
            data: value.data.clone(),
            etag: Some(Etag { value: etag }),
            metadata,
            content_type: value.content_type.clone(),
        }
    }

    /// The last key first, and without those that are not there.
    fn get_all(&self, gets: BulkGetRequest) -> BulkGetResponse {
        let keys = gets.items.into_iter().map(|get| get.key).rev();
        let there = keys.filter(|key| self.find(key).is_some());
        let items = there.map(|key| {
            let found = self.get(&key);
            let is_readable = found.data != UNREADABLE;
            BulkStateItem {
                key,
                error: match is_readable {
                    true => String::new(),
                    false => "hunter2 cannot be read".to_owned(),
                },
                data: found.data,
                etag: found.etag,
                metadata: found.metadata,
                content_type: found.content_type,
            }
        });
        BulkGetResponse {
            items: items.collect(),
        }
    }

    fn set(&mut self, set: SetRequest) -> Result<(), Status> {
        self.check(&set.key, set.etag, set.options)?;
        self.writes += 1;
        let seconds = set.metadata.get("ttlInSeconds");
        let ttl = seconds.and_then(|text| Some(Duration::from_secs(text.parse().ok()?)));
        let value = Value {
            data: set.value,
            etag: format!("{}{}", self.word, self.writes),
            content_type: set.content_type,
            metadata: set.metadata,
            end: ttl.map(|ttl| SystemTime::now() + ttl),
        };
        self.values.insert(set.key, value);
        Ok(())
    }

    /// Whether there was something to delete.
    fn delete(&mut self, delete: DeleteRequest) -> Result<bool, Status> {
        self.check(&delete.key, delete.etag, delete.options)?;
        let was_there = self.find(&delete.key).is_some();
        self.values.remove(&delete.key);
        Ok(was_there)
    }

    fn delete_all(&mut self, deletes: BulkDeleteRequest) -> Result<(), Status> {
        let before = self.clone();
        let expected = deletes.items.len();
        let mut affected = 0;
        for delete in deletes.items {
            affected += usize::from(self.delete(delete)?);
        }
        if affected == expected {
            return Ok(());
        }
        *self = before;
        let numbers = [("expected", expected), ("affected", affected)];
        let numbers = numbers.map(|(name, number)| (name.to_owned(), number.to_string()));
        let info = ErrorInfo {
            metadata: numbers.into(),
            ..ErrorInfo::default()
        };
        let text = "some were not there";
        Err(with_detail(Code::Internal, text, &info))
    }

    fn transact(&mut self, request: TransactionalStateRequest) -> Result<(), Status> {
        let mut after = self.clone();
        for operation in request.operations {
            match operation.request {
                Some(TransactionalRequest::Set(set)) => after.set(set)?,
                Some(TransactionalRequest::Delete(delete)) => drop(after.delete(delete)?),
                None => return Err(Status::invalid_argument("an operation is empty")),
            }
        }
        *self = after;
        Ok(())
    }

    fn is_etag(&self, text: &str) -> bool {
        let number = text.strip_prefix(self.word);
        number.is_some_and(|number| ETag::new(number).version().is_ok())
    }

    /// An error where a write must not be.
    fn check(
        &self,
        key: &str,
        etag: Option<Etag>,
        options: Option<StateOptions>,
    ) -> Result<(), Status> {
        let found = self.find(key).map(|value| value.etag.as_str());
        let concurrency = options.unwrap_or_default().concurrency();
        let refused = |code, text: &str| {
            let violation = FieldViolation {
                field: "etag".to_owned(),
                description: text.to_owned(),
            };
            let request = BadRequest {
                field_violations: vec![violation],
            };
            Err(with_detail(code, text, &request))
        };
        match etag.as_ref().map(|etag| etag.value.as_str()) {
            Some(etag) if !self.is_etag(etag) => refused(Code::InvalidArgument, "it is no ETag"),
            Some(etag) if found != Some(etag) => refused(Code::FailedPrecondition, "it is another"),
            None if concurrency == StateConcurrency::FirstWrite && found.is_some() => {
                refused(Code::FailedPrecondition, "it is there")
            }
            _ => Ok(()),
        }
    }
}

fn with_detail<D: details::Detail>(code: Code, text: &str, detail: &D) -> Status {
    let details = details::encoded(code.into(), text, detail);
    Status::with_details(code, text, details.into())
}
