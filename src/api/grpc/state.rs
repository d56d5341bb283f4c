//! The methods of state.

use std::sync::Arc;

use dapr::dapr::proto::runtime::v1 as proto;
use http::{Request, Response};
use hyper::body::Incoming;
use tonic::Status;
use tonic::body::Body;

use super::methods::StateMethod;
use super::{status, unary};
use crate::blocks::error::Error;
use crate::blocks::state::{Item, Metadata, Options, Read, Removal, State, messages};

/// What an empty answer holds.
type Done = Result<tonic::Response<()>, Status>;

/// Answers a call of one of the methods.
pub(super) async fn serve(
    state: Arc<State>,
    method: StateMethod,
    request: Request<Incoming>,
    limit: usize,
) -> Response<Body> {
    match method {
        StateMethod::Get => unary::serve(request, limit, |message| get(state, message)).await,
        StateMethod::GetBulk => {
            unary::serve(request, limit, |message| get_all(state, message)).await
        }
        StateMethod::Save => unary::serve(request, limit, |message| save(state, message)).await,
        StateMethod::Delete => unary::serve(request, limit, |message| delete(state, message)).await,
        StateMethod::DeleteBulk => {
            unary::serve(request, limit, |message| delete_all(state, message)).await
        }
        StateMethod::Transaction => {
            unary::serve(request, limit, |message| transact(state, message)).await
        }
        StateMethod::Query => unary::serve(request, limit, |message| query(state, message)).await,
    }
}

/// A value, or an empty answer where there is none.
async fn get(
    state: Arc<State>,
    request: tonic::Request<proto::GetStateRequest>,
) -> Result<tonic::Response<proto::GetStateResponse>, Status> {
    let request = request.into_inner();
    let metadata = request.metadata.into_iter().collect();
    let item = async {
        let store = state.store(&request.store_name)?;
        let consistency = messages::consistency(request.consistency)?;
        store.get(&request.key, consistency, metadata).await
    };
    let item = item.await.map_err(failure)?;
    Ok(tonic::Response::new(match item {
        None => proto::GetStateResponse::default(),
        Some(item) => proto::GetStateResponse {
            etag: etag(&item),
            data: item.value.into(),
            metadata: item.metadata.into_iter().collect(),
        },
    }))
}

/// What is known of each key.
async fn get_all(
    state: Arc<State>,
    request: tonic::Request<proto::GetBulkStateRequest>,
) -> Result<tonic::Response<proto::GetBulkStateResponse>, Status> {
    let request = request.into_inner();
    let metadata: Metadata = request.metadata.into_iter().collect();
    let reads = async {
        let store = state.store(&request.store_name)?;
        let at_once = i64::from(request.parallelism);
        store.get_all(request.keys, at_once, &metadata).await
    };
    let reads = reads.await.map_err(failure)?;
    let items = reads.into_iter().map(entry).collect();
    Ok(tonic::Response::new(proto::GetBulkStateResponse { items }))
}

fn entry(read: Read) -> proto::BulkStateItem {
    let key = read.key;
    match read.outcome {
        Ok(None) => proto::BulkStateItem {
            key,
            ..proto::BulkStateItem::default()
        },
        Ok(Some(item)) => proto::BulkStateItem {
            key,
            etag: etag(&item),
            data: item.value.into(),
            error: String::new(),
            metadata: item.metadata.into_iter().collect(),
        },
        Err(error) => proto::BulkStateItem {
            key,
            error,
            ..proto::BulkStateItem::default()
        },
    }
}

/// Answers once all values are saved.
async fn save(state: Arc<State>, request: tonic::Request<proto::SaveStateRequest>) -> Done {
    let request = request.into_inner();
    let saved = async {
        let store = state.store(&request.store_name)?;
        let items = request.states.into_iter().map(messages::save);
        store.save(items.collect::<Result<_, _>>()?).await
    };
    done(saved.await)
}

/// Answers once the value is gone.
async fn delete(state: Arc<State>, request: tonic::Request<proto::DeleteStateRequest>) -> Done {
    let request = request.into_inner();
    let deleted = async {
        let store = state.store(&request.store_name)?;
        let options: Options = messages::options(request.options)?;
        let removal = Removal {
            key: request.key,
            etag: request.etag.map(|etag| etag.value),
            options,
            metadata: request.metadata.into_iter().collect(),
        };
        store.delete(removal).await
    };
    done(deleted.await)
}

/// Answers once all values are gone.
async fn delete_all(
    state: Arc<State>,
    request: tonic::Request<proto::DeleteBulkStateRequest>,
) -> Done {
    let request = request.into_inner();
    let deleted = async {
        let store = state.store(&request.store_name)?;
        let items = request.states.into_iter().map(messages::removal);
        store.delete_all(items.collect::<Result<_, _>>()?).await
    };
    done(deleted.await)
}

/// Answers once all of it is done.
async fn transact(
    state: Arc<State>,
    request: tonic::Request<proto::ExecuteStateTransactionRequest>,
) -> Done {
    let request = request.into_inner();
    let of_all: Metadata = request.metadata.into_iter().collect();
    let transacted = async {
        let store = state.store(&request.store_name)?;
        store.check_transactional()?;
        let changes = request.operations.into_iter().map(|operation| {
            let item = operation.request.unwrap_or_default();
            messages::change(&store, &operation.operation_type, item, &of_all)
        });
        let changes = changes.collect::<Result<_, _>>()?;
        store.transact(changes).await
    };
    done(transacted.await)
}

/// No store can be queried.
async fn query(
    state: Arc<State>,
    request: tonic::Request<proto::QueryStateRequest>,
) -> Result<tonic::Response<proto::QueryStateResponse>, Status> {
    let store = state
        .store(&request.get_ref().store_name)
        .map_err(failure)?;
    Err(failure(store.query_unsupported()))
}

fn etag(item: &Item) -> String {
    let etag = item.etag.as_ref();
    etag.map(ToString::to_string).unwrap_or_default()
}

fn done(outcome: Result<(), Error>) -> Done {
    outcome.map(tonic::Response::new).map_err(failure)
}

fn failure(error: Error) -> Status {
    status::failure(&error)
}
