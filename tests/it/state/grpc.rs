//! State over gRPC.

use std::collections::HashMap;

use dapr::dapr::proto::common::v1::{Etag, StateItem, StateOptions};
use dapr::dapr::proto::runtime::v1::{
    DeleteBulkStateRequest, DeleteStateRequest, ExecuteStateTransactionRequest,
    GetBulkStateRequest, GetStateRequest, GetStateResponse, QueryStateRequest, SaveStateRequest,
    TransactionalStateOperation,
};
use tonic::{Code, Status};

use super::*;

/// A client of the store `s`.
struct Client(DaprClient<Channel>);

impl Client {
    async fn get(&mut self, key: &str) -> GetStateResponse {
        let request = GetStateRequest {
            store_name: "s".to_owned(),
            key: key.to_owned(),
            consistency: 2,
            metadata: HashMap::new(),
        };
        self.0.get_state(request).await.unwrap().into_inner()
    }

    async fn save(&mut self, states: Vec<StateItem>) -> Result<(), Status> {
        let request = SaveStateRequest {
            store_name: "s".to_owned(),
            states,
        };
        self.0.save_state(request).await.map(|_| ())
    }

    async fn delete(&mut self, key: &str, etag: &str) -> Result<(), Status> {
        let request = DeleteStateRequest {
            store_name: "s".to_owned(),
            key: key.to_owned(),
            etag: Some(Etag {
                value: etag.to_owned(),
            }),
            ..DeleteStateRequest::default()
        };
        self.0.delete_state(request).await.map(|_| ())
    }

    async fn transact(&mut self, operations: &[(&str, StateItem)]) -> Result<(), Status> {
        let operations = operations.iter();
        let operations = operations.map(|(operation, item)| TransactionalStateOperation {
            operation_type: (*operation).to_owned(),
            request: Some(item.clone()),
        });
        let request = ExecuteStateTransactionRequest {
            store_name: "s".to_owned(),
            operations: operations.collect(),
            metadata: HashMap::new(),
        };
        self.0.execute_state_transaction(request).await.map(|_| ())
    }
}

fn item(key: &str, value: &[u8]) -> StateItem {
    StateItem {
        key: key.to_owned(),
        value: value.to_vec(),
        ..StateItem::default()
    }
}

fn with_etag(item: StateItem, etag: &str) -> StateItem {
    let value = etag.to_owned();
    StateItem {
        etag: Some(Etag { value }),
        ..item
    }
}

#[track_caller]
fn assert_status(outcome: Result<(), Status>, code: Code, begin: &str) {
    let status = outcome.unwrap_err();
    assert_eq!(status.code(), code, "{status:?}");
    assert!(status.message().starts_with(begin), "{status:?}");
}

#[tokio::test]
async fn any_bytes_are_a_value() {
    let world = World::start().await;
    let mut client = Client(world.client().await);
    assert_eq!(client.get("k").await, GetStateResponse::default());
    for value in [&b"\xff\0\x01"[..], b"", b"text", b"{\"n\": 1.0}"] {
        client.save(vec![item("k", value)]).await.unwrap();
        let read = client.get("k").await;
        assert_eq!(read.data, value);
        assert!(!read.etag.is_empty());
        let over_http = world.get("s/k").await;
        assert_eq!(over_http.status(), 200);
        assert_eq!(over_http.body(), value);
        assert_eq!(over_http.headers()["etag"], read.etag);
    }
    let mut json = item("k", b"{\"n\": 1.0}");
    json.metadata = [
        ("contentType".to_owned(), "application/json".to_owned()),
        ("ttlInSeconds".to_owned(), "1000".to_owned()),
    ]
    .into();
    client.save(vec![json.clone()]).await.unwrap();
    let read = client.get("k").await;
    assert_eq!(read.data, b"{\"n\": 1.0}");
    assert!(read.metadata.contains_key("ttlExpireTime"), "{read:?}");
    json.value = b"{".to_vec();
    let refused = client.save(vec![json]).await;
    assert_status(
        refused,
        Code::InvalidArgument,
        "the value of key \"k\" is not JSON",
    );
}

#[tokio::test]
async fn conditions_are_those_of_http() {
    let world = World::start().await;
    let mut client = Client(world.client().await);
    let first_write = StateItem {
        options: Some(StateOptions {
            concurrency: 1,
            consistency: 1,
        }),
        ..item("k", b"1")
    };
    client.save(vec![first_write.clone()]).await.unwrap();
    let second = client.save(vec![first_write]).await;
    assert_status(
        second,
        Code::Aborted,
        "failed saving state in state store s: possible etag",
    );
    let etag = client.get("k").await.etag;
    let right = with_etag(item("k", b"2"), &etag);
    client.save(vec![right.clone()]).await.unwrap();
    assert_status(
        client.save(vec![right]).await,
        Code::Aborted,
        "failed saving state",
    );
    let invalid = with_etag(item("k", b"2"), "none");
    let begin = "failed saving state in state store s: invalid etag value";
    assert_status(
        client.save(vec![invalid]).await,
        Code::InvalidArgument,
        begin,
    );
    // An ETag without a text is none.
    let empty = with_etag(item("k", b"3"), "");
    client.save(vec![empty]).await.unwrap();

    let begin = "failed deleting state with key k: possible etag mismatch.";
    assert_status(client.delete("k", &etag).await, Code::Aborted, begin);
    let begin = "failed deleting state with key k: invalid etag value";
    assert_status(
        client.delete("k", "none").await,
        Code::InvalidArgument,
        begin,
    );
    let etag = client.get("k").await.etag;
    client.delete("k", &etag).await.unwrap();
    client.delete("k", "").await.unwrap();
    assert_eq!(client.get("k").await, GetStateResponse::default());
}

#[tokio::test]
async fn several_values_are_read_and_deleted() {
    let world = World::start().await;
    let mut client = Client(world.client().await);
    let states = vec![item("a", b"1"), item("b", b"\xff")];
    client.save(states).await.unwrap();
    client.save(Vec::new()).await.unwrap();
    let bulk = |keys: &[&str]| GetBulkStateRequest {
        store_name: "s".to_owned(),
        keys: keys.iter().map(ToString::to_string).collect(),
        parallelism: 10,
        metadata: HashMap::new(),
    };
    let read = client.0.get_bulk_state(bulk(&["b", "none", "a"])).await;
    let items = read.unwrap().into_inner().items;
    let told: Vec<_> = items
        .iter()
        .map(|item| (item.key.as_str(), &item.data[..], item.error.as_str()))
        .collect();
    let expected = [("b", &b"\xff"[..], ""), ("none", b"", ""), ("a", b"1", "")];
    assert_eq!(told, expected);
    assert_eq!(items[2].etag, client.get("a").await.etag);
    assert_eq!(items[1].etag, "");
    let delete = |states| DeleteBulkStateRequest {
        store_name: "s".to_owned(),
        states,
    };
    let wrong = with_etag(item("b", b""), "1");
    let answer = client
        .0
        .delete_bulk_state(delete(vec![item("a", b""), wrong]));
    let begin = "failed deleting state in state store s: 1 of 2 keys failed: key \"b\": possible";
    assert_status(answer.await.map(|_| ()), Code::Aborted, begin);
    assert_eq!(client.get("a").await, GetStateResponse::default());
    assert_eq!(client.get("b").await.data, b"\xff");
    let states = vec![item("b", b""), item("none", b"")];
    client.0.delete_bulk_state(delete(states)).await.unwrap();
    assert_eq!(client.get("b").await, GetStateResponse::default());
}

#[tokio::test]
async fn a_transaction_is_all_or_nothing() {
    let world = World::start().await;
    let mut client = Client(world.client().await);
    client.save(vec![item("gone", b"1")]).await.unwrap();
    let operations = [
        ("upsert", item("a", b"\xff")),
        ("delete", item("gone", b"")),
    ];
    client.transact(&operations).await.unwrap();
    client.transact(&[]).await.unwrap();
    assert_eq!(client.get("a").await.data, b"\xff");
    assert_eq!(client.get("gone").await, GetStateResponse::default());
    let wrong = with_etag(item("a", b"2"), "1");
    let failing = [("upsert", item("b", b"2")), ("upsert", wrong)];
    let begin = "error while executing state transaction: possible etag mismatch.";
    assert_status(client.transact(&failing).await, Code::Aborted, begin);
    assert_eq!(client.get("b").await, GetStateResponse::default());
    let bad = client.transact(&[("bad", item("a", b""))]).await;
    assert_status(bad, Code::Unimplemented, "operation type bad not supported");
}

#[tokio::test]
async fn failures_have_the_codes_of_dapr() {
    let world = World::start().await;
    let mut client = Client(world.client().await);
    let illegal = client.save(vec![item("a||b", b"1")]).await;
    let begin = "input key/keyPrefix 'a||b' can't contain '||'";
    assert_status(illegal, Code::InvalidArgument, begin);
    let empty = client.save(vec![item("", b"1")]).await;
    assert_status(empty, Code::InvalidArgument, "\"key\" is a required field");
    let request = GetStateRequest {
        store_name: "x".to_owned(),
        ..GetStateRequest::default()
    };
    let answer = client.0.get_state(request.clone()).await;
    let begin = "state store x is not found";
    assert_status(answer.map(|_| ()), Code::InvalidArgument, begin);
    let request = GetStateRequest {
        consistency: 7,
        store_name: "s".to_owned(),
        key: "k".to_owned(),
        ..request
    };
    let answer = client.0.get_state(request).await;
    let begin = "unrecognized consistency model '7'";
    assert_status(answer.map(|_| ()), Code::InvalidArgument, begin);
    let request = QueryStateRequest {
        store_name: "s".to_owned(),
        ..QueryStateRequest::default()
    };
    let answer = client.0.query_state_alpha1(request).await;
    let begin = "state store does not support querying";
    assert_status(answer.map(|_| ()), Code::Unimplemented, begin);

    let sidecar = Running::start(&[], &[]).await;
    let address = format!("http://{}", sidecar.grpc());
    let mut client = Client(DaprClient::connect(address).await.unwrap());
    let answer = client.save(vec![item("k", b"1")]).await;
    let begin = "state store s is not configured";
    assert_status(answer, Code::FailedPrecondition, begin);
}

#[tokio::test]
async fn a_value_is_at_most_as_large_as_a_message() {
    let world = World::start_with(&["--max-body-size=128Ki"], &[]).await;
    let mut client = Client(world.client().await);
    let large = vec![7; 127 * 1024];
    client.save(vec![item("k", &large)]).await.unwrap();
    assert_eq!(client.get("k").await.data, large);
    let above = client.save(vec![item("k", &[7; 128 * 1024])]).await;
    assert!(above.is_err());
    assert_eq!(client.get("k").await.data.len(), large.len());
}
