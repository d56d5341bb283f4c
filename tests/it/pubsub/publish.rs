//! Publishing over HTTP and gRPC, up to what the app gets.

use std::collections::HashMap;

use dapr::dapr::proto::runtime::v1::{
    BulkPublishRequest, BulkPublishRequestEntry, PublishEventRequest,
};
use dapr::google::rpc;
use prost::Message as _;
use serde_json::{Value, json};
use sidegate::testing::http_client::send;
use tonic::{Code, Status};

use super::whole::{Whole, json_of};

fn event(topic: &str, content_type: &str, data: &str) -> PublishEventRequest {
    PublishEventRequest {
        pubsub_name: "p".to_owned(),
        topic: topic.to_owned(),
        data: data.as_bytes().to_vec(),
        data_content_type: content_type.to_owned(),
        metadata: HashMap::new(),
    }
}

fn entry(id: &str, content_type: &str, data: &str) -> BulkPublishRequestEntry {
    BulkPublishRequestEntry {
        entry_id: id.to_owned(),
        event: data.as_bytes().to_vec(),
        content_type: content_type.to_owned(),
        metadata: HashMap::new(),
    }
}

/// The types of the details of a status, and the reason in the first.
fn details(status: &Status) -> (Vec<String>, String) {
    let details = rpc::Status::decode(status.details()).unwrap().details;
    let kinds = details.iter().map(|detail| {
        let (_, name) = detail.type_url.rsplit_once('.').unwrap();
        name.to_owned()
    });
    // The reason is the first field of ErrorInfo: a tag, a length, the text.
    let info = &details[0].value;
    let reason = &info[2..2 + usize::from(info[1])];
    (kinds.collect(), String::from_utf8(reason.to_vec()).unwrap())
}

#[tokio::test]
async fn the_content_type_decides_what_the_app_gets() {
    let whole = Whole::start().await;
    for (content_type, body, part) in [
        (
            "application/json",
            r#"{"n": 1.0, "big": 12345678901234567890}"#,
            r#""data":{"n": 1.0, "big": 12345678901234567890},"datacontenttype":"appl"#,
        ),
        (
            "application/json; charset=utf-8",
            "[1]",
            r#""data":[1],"datacontenttype":"application/json; charset=utf-8""#,
        ),
        ("application/json", "{oh", r#""data":"{oh","#),
        ("application/json", "", r#""data":"","#),
        (
            "text/plain",
            "{\"a\":1}",
            r#""data":"{\"a\":1}","datacontenttype":"text/plain""#,
        ),
        (
            "application/xml",
            "<a/>",
            r#""data":"<a/>","datacontenttype":"application/xml""#,
        ),
        ("", "hi", r#""data":"hi","datacontenttype":"text/plain""#),
        (
            "application/octet-stream",
            "hi",
            r#""data_base64":"aGk=","datacontenttype":"application/octet-stream""#,
        ),
        (
            "application/cloudevents+json",
            r#"{"data":{"n":1.0},"id":"7","own":1.50}"#,
            r#"{"data":{"n":1.0},"id":"7","own":1.50,"pubsubname":"p","source":"Dapr""#,
        ),
    ] {
        let envelope = whole.delivered(content_type, body).await;
        assert!(envelope.contains(part), "{part} in {envelope}");
        let fields: Value = serde_json::from_str(&envelope).unwrap();
        assert_eq!(
            (&fields["topic"], &fields["specversion"]),
            (&json!("t"), &json!("1.0"))
        );
        let is_own = content_type.contains("cloudevents");
        let source = if is_own { "Dapr" } else { "app" };
        assert_eq!(fields["source"], source);
        assert_eq!(fields.get("subject").is_some(), !is_own, "{envelope}");
    }
}

#[tokio::test]
async fn the_trace_of_the_caller_is_in_the_envelope() {
    let whole = Whole::start().await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let mut call = tonic::Request::new(event("t", "text/plain", "traced"));
    call.metadata_mut()
        .insert("traceparent", parent.parse().unwrap());
    call.metadata_mut()
        .insert("tracestate", "a=b".parse().unwrap());
    let before = whole.received("/t", 0).await.len();
    whole.client().await.publish_event(call).await.unwrap();
    let envelope: Value = serde_json::from_str(&whole.newest(before).await).unwrap();
    assert_eq!(envelope["data"], "traced");
    // Whether spans are made or not, the trace is the caller's.
    let own = envelope["traceparent"].as_str().unwrap();
    assert_eq!(own[..36], parent[..36]);
    assert_eq!(
        (&envelope["traceid"], &envelope["tracestate"]),
        (&envelope["traceparent"], &json!("a=b"))
    );
}

#[tokio::test]
async fn raw_messages_go_both_ways_without_an_envelope() {
    let whole = Whole::start().await;
    let before = whole.received("/t", 0).await.len();
    let raw = r#"{"any": 1.0}"#;
    let uri = "/v1.0/publish/p/t?metadata.rawPayload=true";
    let answer = whole.post(uri, "application/json", raw).await;
    assert_eq!(answer.status(), 204);
    assert_eq!(whole.newest(before).await, raw);

    let answer = whole
        .post("/v1.0/publish/p/raw", "text/plain", "wrapped")
        .await;
    assert_eq!(answer.status(), 204);
    let uri = "/v1.0/publish/p/raw?metadata.rawPayload=true";
    whole.post(uri, "text/plain", vec![0xff, 0]).await;
    let received = whole.received("/raw", 2).await;
    let mut data: Vec<_> = received
        .iter()
        .map(|request| {
            let event: Value = serde_json::from_slice(&request.body).unwrap();
            assert_eq!(event["datacontenttype"], "application/octet-stream");
            assert_eq!(
                (&event["source"], &event["topic"]),
                (&json!("Dapr"), &json!("raw"))
            );
            event["data_base64"].as_str().unwrap().to_owned()
        })
        .collect();
    data.sort_by_key(String::len);
    assert_eq!(data[0], "/wA=");
    // What was published with an envelope is data of this one.
    assert!(
        data[1].starts_with("eyJkYXRhIjoid3JhcHBlZCIs"),
        "{}",
        data[1]
    );
}

/// A call with its content type and body; the status, the two codes, and a part of the text.
type Failure = (
    &'static str,
    &'static str,
    &'static str,
    u16,
    &'static str,
    &'static str,
    &'static str,
);

const JSON: &str = "application/json";

async fn expect_failures(failures: &[Failure]) {
    let whole = Whole::start_with(&json!([]), &[]).await;
    for &(uri, content_type, body, status, code, reason, text) in failures {
        let answer = whole.post(uri, content_type, body).await;
        assert_eq!(answer.status(), status, "{uri}");
        let body = json_of(&answer);
        assert_eq!(body["errorCode"], code, "{uri}");
        let message = body["message"].as_str().unwrap();
        assert!(message.contains(text), "{message}");
        let [info, resource] = body["details"].as_array().unwrap().as_slice() else {
            panic!("two details in {body}")
        };
        assert_eq!(info["@type"], "type.googleapis.com/google.rpc.ErrorInfo");
        assert_eq!(
            (&info["reason"], &info["domain"]),
            (&reason.into(), &"dapr.io".into())
        );
        assert_eq!(
            resource["@type"],
            "type.googleapis.com/google.rpc.ResourceInfo"
        );
        assert_eq!(resource["resource_type"], "pubsub");
        assert_eq!(resource["description"], message);
    }
}

#[tokio::test]
async fn failures_over_http_have_daprs_codes_and_details() {
    expect_failures(&[
        (
            "/v1.0/publish/x/t",
            JSON,
            "1",
            404,
            "ERR_PUBSUB_NOT_FOUND",
            "DAPR_PUBSUB_NOT_FOUND",
            "pubsub x is not found",
        ),
        (
            "/v1.0/publish/scoped/open",
            JSON,
            "1",
            403,
            "ERR_PUBSUB_FORBIDDEN",
            "DAPR_PUBSUB_FORBIDDEN",
            "topic open is not allowed for app id app",
        ),
        (
            "/v1.0/publish/p/t?metadata.rawPayload=maybe",
            JSON,
            "1",
            400,
            "ERR_PUBSUB_REQUEST_METADATA",
            "DAPR_PUBSUB_METADATA_DESERIALIZATION",
            "rawPayload is \"maybe\"",
        ),
        (
            "/v1.0/publish/p/t?metadata.ttlInSeconds=0",
            JSON,
            "1",
            400,
            "ERR_PUBSUB_REQUEST_METADATA",
            "DAPR_PUBSUB_METADATA_DESERIALIZATION",
            "ttlInSeconds is \"0\"",
        ),
        (
            "/v1.0/publish/p/t",
            "application/cloudevents+json",
            "{",
            500,
            "ERR_PUBSUB_CLOUD_EVENTS_SER",
            "DAPR_PUBSUB_CLOUD_EVENT_CREATION",
            "cannot create cloudevent",
        ),
    ])
    .await;
}

#[tokio::test]
async fn failures_of_several_messages_have_daprs_codes_and_details() {
    expect_failures(&[
        (
            "/v1.0/publish/bulk/p/t",
            JSON,
            "{}",
            400,
            "ERR_PUBSUB_EVENTS_SER",
            "DAPR_PUBSUB_UNMARSHAL_EVENTS",
            "error when unmarshaling the request for topic t pubsub p",
        ),
        (
            "/v1.0/publish/bulk/p/t",
            JSON,
            r#"[{"entryId":"1","event":{},"contentType":"text/plain"}]"#,
            400,
            "ERR_PUBSUB_EVENTS_SER",
            "DAPR_PUBSUB_MARSHAL_ENVELOPE",
            "mismatch between contentType and event",
        ),
        (
            "/v1.0-alpha1/publish/bulk/p/t",
            JSON,
            r#"[{"entryId":"1","event":1,"contentType":"application/json"},
                {"entryId":"1","event":2,"contentType":"application/json"}]"#,
            400,
            "ERR_PUBSUB_EVENTS_SER",
            "DAPR_PUBSUB_UNMARSHAL_EVENTS",
            "entryId is duplicated or not present",
        ),
        (
            "/v1.0/publish/bulk/scoped/closed",
            JSON,
            "[]",
            403,
            "ERR_PUBSUB_FORBIDDEN",
            "DAPR_PUBSUB_FORBIDDEN",
            "topic closed is not allowed for app id app",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_path_without_a_topic_is_no_call_to_publish() {
    let whole = Whole::start_with(&json!([]), &[]).await;
    let answer = whole.post("/v1.0/publish/p/", JSON, "1").await;
    assert_eq!(answer.status(), 404);
    assert_eq!(json_of(&answer)["errorCode"], "ERR_DIRECT_INVOKE");
}

#[tokio::test]
async fn failures_over_grpc_have_daprs_codes_and_details() {
    let whole = Whole::start_with(&json!([]), &[]).await;
    let mut client = whole.client().await;
    let good = || event("t", "text/plain", "d");
    let scoped = |topic: &str| PublishEventRequest {
        pubsub_name: "scoped".to_owned(),
        topic: topic.to_owned(),
        ..good()
    };
    let named = |pubsub: &str| PublishEventRequest {
        pubsub_name: pubsub.to_owned(),
        ..good()
    };
    let mut bad_metadata = good();
    bad_metadata
        .metadata
        .insert("ttlInSeconds".into(), "x".into());
    for (request, code, reason) in [
        (named("x"), Code::InvalidArgument, "DAPR_PUBSUB_NOT_FOUND"),
        (named(""), Code::InvalidArgument, "DAPR_PUBSUB_NAME_EMPTY"),
        (
            event("", "text/plain", "d"),
            Code::InvalidArgument,
            "DAPR_PUBSUB_TOPIC_NAME_EMPTY",
        ),
        (
            scoped("open"),
            Code::PermissionDenied,
            "DAPR_PUBSUB_FORBIDDEN",
        ),
        (
            scoped("closed"),
            Code::PermissionDenied,
            "DAPR_PUBSUB_FORBIDDEN",
        ),
        (
            scoped("unheard"),
            Code::PermissionDenied,
            "DAPR_PUBSUB_FORBIDDEN",
        ),
        (
            bad_metadata,
            Code::InvalidArgument,
            "DAPR_PUBSUB_METADATA_DESERIALIZATION",
        ),
        (
            event("t", "application/cloudevents+json", "[]"),
            Code::InvalidArgument,
            "DAPR_PUBSUB_CLOUD_EVENT_CREATION",
        ),
    ] {
        let status = client.publish_event(request).await.unwrap_err();
        let (kinds, found) = details(&status);
        assert_eq!((status.code(), found.as_str()), (code, reason));
        assert_eq!(kinds, ["ErrorInfo", "ResourceInfo"]);
    }
    client.publish_event(scoped("own")).await.unwrap();
}

#[tokio::test]
async fn several_messages_are_delivered_each() {
    let whole = Whole::start().await;
    let body = r#"[
        {"entryId":"1","event":{"n": 1.0},"contentType":"application/json"},
        {"entryID":"2","event":"text","contentType":"text/plain"},
        {"entryId":"3","event":"aGk=","contentType":"application/octet-stream"},
        {"entryId":"4","event":{"id":"own","data":4},"contentType":"application/cloudevents+json"},
        {"entryId":"5","event":{"raw":true},"contentType":"application/json",
         "metadata":{"rawPayload":"true"}}]"#;
    for uri in ["/v1.0/publish/bulk/p/t", "/v1.0-alpha1/publish/bulk/p/t"] {
        let answer = whole.post(uri, "application/json", body).await;
        assert_eq!((answer.status().as_u16(), answer.body().len()), (204, 0));
    }
    let entries = vec![
        entry("1", "application/json", r#"{"n": 1.0}"#),
        entry("2", "text/plain", "text"),
    ];
    let bulk = BulkPublishRequest {
        pubsub_name: "p".to_owned(),
        topic: "t".to_owned(),
        entries,
        metadata: HashMap::new(),
    };
    let mut client = whole.client().await;
    let answer = client.bulk_publish_event(bulk.clone()).await.unwrap();
    assert_eq!(answer.into_inner().failed_entries, []);
    #[expect(deprecated, reason = "older clients call it")]
    let answer = client.bulk_publish_event_alpha1(bulk.clone()).await;
    assert_eq!(answer.unwrap().into_inner().failed_entries, []);
    let received = whole.received("/t", 14).await;
    let count = |part: &str| {
        let bodies = received
            .iter()
            .map(|request| String::from_utf8_lossy(&request.body));
        bodies.filter(|body| body.contains(part)).count()
    };
    assert_eq!(count(r#""data":{"n": 1.0},"#), 4);
    assert_eq!(count(r#""data":"text","#), 4);
    assert_eq!(count(r#""data_base64":"aGk=","#), 2);
    assert_eq!(count(r#""data":4,"#), 2);
    assert_eq!(count(r#"{"raw":true}"#), 2);

    let twice = BulkPublishRequest {
        entries: vec![entry("1", "", "a"), entry("1", "", "b")],
        ..bulk
    };
    let status = client.bulk_publish_event(twice).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(details(&status).1, "DAPR_PUBSUB_UNMARSHAL_EVENTS");
}

#[tokio::test]
async fn publishing_can_be_denied_and_is_counted() {
    let whole = Whole::start().await;
    let answer = whole.post("/v1.0/publish/p/t", "text/plain", "d").await;
    assert_eq!(answer.status(), 204);
    let request = http::Request::get("/").body(Default::default()).unwrap();
    let metrics = send(whole.sidecar.metrics(), request).await;
    let metrics = String::from_utf8(metrics.body().to_vec()).unwrap();
    let counted = metrics.lines().any(|line| {
        line.starts_with("dapr_component_pubsub_egress_count{")
            && line.contains("component=\"p\"")
            && line.contains("success=\"true\"")
            && line.contains("topic=\"t\"")
    });
    assert!(counted, "{metrics}");

    let files = tempfile::tempdir().unwrap();
    let config = files.path().join("config.yaml");
    let text = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\n\
                spec: {api: {denied: [{name: publish, version: v1, protocol: http}]}}\n";
    std::fs::write(&config, text).unwrap();
    let flag = format!("--config={}", config.display());
    let sidecar = crate::sidecar::Running::start(&[&flag], &[]).await;
    let request = http::Request::post("/v1.0/publish/p/t");
    let answer = send(sidecar.http(), request.body(Default::default()).unwrap()).await;
    assert_eq!(json_of(&answer)["errorCode"], "ERR_DIRECT_INVOKE");
}
