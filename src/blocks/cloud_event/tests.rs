use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// 2026-01-02T03:04:05Z.
const NOW: u64 = 1_767_323_045;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

pub(super) fn metadata(pairs: &[(&str, &str)]) -> Metadata {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn publication<'a>(content_type: &'a str, data: &'a [u8]) -> Publication<'a> {
    static NO_METADATA: Metadata = Metadata::new();
    static NO_TRACE: Trace = Trace {
        parent: String::new(),
        state: String::new(),
    };
    Publication {
        data,
        content_type,
        pubsub: "p",
        topic: "t",
        app_id: "shop",
        metadata: &NO_METADATA,
        trace: &NO_TRACE,
        expiration: None,
    }
}

fn published(content_type: &str, data: &[u8]) -> Result<Bytes, NoEvent> {
    publication(content_type, data).to_envelope(now())
}

fn envelope(content_type: &str, data: &str) -> Value {
    let envelope = published(content_type, data.as_bytes()).unwrap();
    serde_json::from_slice(&envelope).unwrap()
}

fn decode(data: &[u8], content_type: Option<&str>, metadata: &Metadata, is_raw: bool) -> Event {
    let data = Bytes::copy_from_slice(data);
    Event::decode(&Received {
        data: &data,
        content_type,
        metadata,
        pubsub: "p",
        topic: "t",
        is_raw,
    })
    .unwrap()
}

pub(super) fn plain(data: &[u8]) -> Event {
    decode(data, None, &Metadata::new(), false)
}

#[test]
fn a_new_envelope_has_daprs_fields_in_their_order() {
    let bytes = published("application/json", b" {\"a\": 1.0} ").unwrap();
    let text = std::str::from_utf8(&bytes).unwrap();
    let id = plain(&bytes).id().to_owned();
    assert_eq!(id.len(), 36, "{id}");
    let expected = format!(
        "{{\"data\":{{\"a\": 1.0}},\"datacontenttype\":\"application/json\",\"id\":\"{id}\",\
         \"pubsubname\":\"p\",\"source\":\"shop\",\"specversion\":\"1.0\",\
         \"time\":\"2026-01-02T03:04:05Z\",\"topic\":\"t\",\"traceid\":\"\",\"traceparent\":\"\",\
         \"tracestate\":\"\",\"type\":\"com.dapr.event.sent\"}}"
    );
    assert_eq!(text, expected);
}

#[test]
fn the_type_of_the_data_decides_how_it_stands_in_the_envelope() {
    for (content_type, data, expected) in [
        ("application/json; charset=utf-8", "[1, 2]", json!([1, 2])),
        ("application/json", "null", Value::Null),
        ("application/json", "{broken", json!("{broken")),
        ("application/json", "", json!("")),
        ("text/plain", "{\"a\":1}", json!("{\"a\":1}")),
        ("application/xml", "<a/>", json!("<a/>")),
        ("application/x-other", "é\n", json!("é\n")),
    ] {
        let envelope = envelope(content_type, data);
        assert_eq!(envelope["data"], expected, "{content_type} {data}");
        assert_eq!(envelope["datacontenttype"], content_type);
        assert_eq!(envelope.get("data_base64"), None);
    }
    assert_eq!(envelope("", "a")["datacontenttype"], "text/plain");
    for content_type in [
        "application/octet-stream",
        "application/cloudevents+protobuf",
    ] {
        let envelope = envelope(content_type, "hi");
        assert_eq!(envelope["data_base64"], "aGk=", "{content_type}");
        assert_eq!(envelope.get("data"), None);
    }
}

#[test]
fn metadata_sets_fields_of_a_new_envelope() {
    let metadata = metadata(&[
        ("cloudevent.id", "7"),
        ("cloudevent.source", "s"),
        ("cloudevent.type", "y"),
        ("cloudevent.subject", "u"),
        ("cloudevent.traceid", "i"),
        ("cloudevent.tracestate", "x=y"),
        ("cloudevent.traceparent", ""),
        ("cloudevent.data", "not this"),
        ("cloudevent.topic", "nor this"),
        ("id", "nor this"),
    ]);
    let trace = Trace {
        parent: "00-1-2-01".to_owned(),
        state: "a=b".to_owned(),
    };
    let publication = Publication {
        metadata: &metadata,
        trace: &trace,
        expiration: Some(now() + Duration::from_secs(60)),
        ..publication("text/plain", b"d")
    };
    let bytes = publication.to_envelope(now());
    let envelope: Value = serde_json::from_slice(&bytes.unwrap()).unwrap();
    let expected = json!({
        "data": "d",
        "datacontenttype": "text/plain",
        "expiration": "2026-01-02T03:05:05Z",
        "id": "7",
        "pubsubname": "p",
        "source": "s",
        "specversion": "1.0",
        "subject": "u",
        "time": "2026-01-02T03:04:05Z",
        "topic": "t",
        "traceid": "i",
        "traceparent": "00-1-2-01",
        "tracestate": "x=y",
        "type": "y",
    });
    assert_eq!(envelope, expected);
}

#[test]
fn an_event_of_the_apps_own_is_completed() {
    let kind = "application/cloudevents+json";
    let bare = envelope(
        kind,
        r#"{"id":null,"data":{"n":12345678901234567890123.10}}"#,
    );
    assert_eq!(bare["id"].as_str().map(str::len), Some(36));
    assert_eq!(
        (&bare["source"], &bare["type"], &bare["specversion"]),
        (&json!("Dapr"), &json!("com.dapr.event.sent"), &json!("1.0"))
    );
    assert_eq!(
        (&bare["topic"], &bare["pubsubname"], &bare["traceid"]),
        (&json!("t"), &json!("p"), &json!(""))
    );
    let own = r#"{"id":"1","source":"s","type":"y","specversion":"1.0","time":"T","topic":"other",
        "pubsubname":"other","traceparent":"own","extra":1.50,"data":{"n":1.0}}"#;
    let bytes = published(kind, own.as_bytes()).unwrap();
    let text = std::str::from_utf8(&bytes).unwrap();
    for part in [
        r#""data":{"n":1.0}"#,
        r#""extra":1.50"#,
        r#""id":"1""#,
        r#""pubsubname":"p""#,
        r#""source":"s""#,
        r#""time":"T""#,
        r#""topic":"t""#,
        r#""traceparent":"own""#,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let trace = Trace {
        parent: "call".to_owned(),
        state: String::new(),
    };
    let publication = Publication {
        trace: &trace,
        ..publication(kind, own.as_bytes())
    };
    let bytes = publication.to_envelope(now());
    let text = String::from_utf8(bytes.unwrap().to_vec()).unwrap();
    assert!(text.contains(r#""traceparent":"call""#), "{text}");
    for bad in ["", "[]", "{", "\"a\""] {
        assert!(published(kind, bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn an_envelope_is_handed_on_as_it_is_written() {
    let text = "{ \"id\" : \"1\", \"x\":1e400, \"id2\":\"\\ud800\", \"n\":1.0, \"n\":2.0 }";
    let event = plain(text.as_bytes());
    assert_eq!(
        (event.id(), event.envelope().as_ref()),
        ("1", text.as_bytes())
    );
    // What is beyond this program's values is left out for rules only.
    assert_eq!(event.fields().len(), 2);
    assert_eq!(event.fields()["n"], json!(2.0));
    assert_eq!(plain(b"{}").id(), "");
}

#[test]
fn what_is_no_object_cannot_be_decoded() {
    for bad in [&b""[..], b"[]", b"text", b"{", b"{\"a\":\"\xff\"}", b"1"] {
        let data = Bytes::copy_from_slice(bad);
        let decoded = Event::decode(&Received {
            data: &data,
            content_type: None,
            metadata: &Metadata::new(),
            pubsub: "p",
            topic: "t",
            is_raw: false,
        });
        assert!(decoded.is_err(), "{}", String::from_utf8_lossy(bad));
    }
}

#[test]
fn raw_data_gets_an_envelope() {
    let event = decode(b"\xff", None, &Metadata::new(), true);
    let mut fields = Value::Object(event.fields().clone());
    assert_eq!(event.id().len(), 36);
    fields["id"] = json!("");
    let expected = json!({
        "data_base64": "/w==",
        "datacontenttype": "application/octet-stream",
        "id": "",
        "pubsubname": "p",
        "source": "Dapr",
        "specversion": "1.0",
        "topic": "t",
        "type": "com.dapr.event.sent",
    });
    assert_eq!(fields, expected);
    assert_eq!(event.to_request("", "p", "t").unwrap().data, b"\xff");
}

#[test]
fn an_event_in_binary_mode_gets_its_envelope_back() {
    let attributes = metadata(&[
        ("ce_id", "9"),
        ("ce_source", "elsewhere"),
        ("ce_specversion", "1.0"),
        ("ce_type", "y"),
        ("Ce-Custom", "c"),
        ("ce_data", "not this"),
        ("ce_no name", "nor this"),
        ("other", "nor this"),
    ]);
    let event = decode(b"\0", Some("application/octet-stream"), &attributes, false);
    let fields = Value::Object(event.fields().clone());
    let expected = json!({
        "custom": "c",
        "data_base64": "AA==",
        "datacontenttype": "application/octet-stream",
        "id": "9",
        "pubsubname": "p",
        "source": "elsewhere",
        "specversion": "1.0",
        "topic": "t",
        "type": "y",
    });
    assert_eq!(fields, expected);
    // Another type, or no attributes: the data is the envelope.
    for (content_type, metadata) in [
        (Some("application/json"), &attributes),
        (None, &attributes),
        (
            Some("application/octet-stream"),
            &metadata(&[("ce_id", "9")]),
        ),
    ] {
        let event = decode(b"{\"id\":\"1\"}", content_type, metadata, false);
        assert_eq!(event.id(), "1", "{content_type:?}");
    }
    let mut named = attributes.clone();
    named.insert("Content-Type".into(), "application/octet-stream".into());
    assert_eq!(decode(b"{\"id\":\"1\"}", None, &named, false).id(), "9");
}

#[test]
fn expires_when_its_time_has_come() {
    let event = plain(b"{\"expiration\":\"2026-01-02T03:04:05Z\"}");
    assert!(!event.has_expired(now() - Duration::from_secs(1)));
    assert!(event.has_expired(now()));
    let with_offset = plain(b"{\"expiration\":\"2026-01-02T05:04:05.5+02:00\"}");
    assert!(!with_offset.has_expired(now()));
    assert!(with_offset.has_expired(now() + Duration::from_secs(1)));
    for never in ["{}", "{\"expiration\":\"soon\"}", "{\"expiration\":1}"] {
        assert!(!plain(never.as_bytes()).has_expired(now()), "{never}");
    }
}

/// Any JSON, with numbers that no program's numbers hold.
fn any_json() -> impl Strategy<Value = String> {
    let number = "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?";
    let text = any::<String>().prop_map(|text| Value::from(text).to_string());
    let leaf = prop_oneof![
        number,
        text,
        Just("null".to_owned()),
        Just("true".to_owned()),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let names = prop::collection::vec(("[a-c\"é\\\\]{0,3}", inner.clone()), 0..4);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|list| format!("[{}]", list.join(" ,"))),
            names.prop_map(|fields| {
                let fields = fields.into_iter();
                let fields = fields.map(|(name, value)| format!("{}: {value}", json!(name)));
                format!("{{{}}}", fields.collect::<Vec<_>>().join(",\n"))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_delivered_as_it_was_written(json in any_json()) {
        let envelope = published("application/json", json.as_bytes()).unwrap();
        let event = plain(&envelope);
        prop_assert_eq!(event.envelope(), &envelope);
        let part = format!("{{\"data\":{json},\"datacontenttype\"");
        prop_assert!(std::str::from_utf8(&envelope).unwrap().starts_with(&part));
        let request = event.to_request("", "p", "t").unwrap();
        // An event without data and one whose data is null are the same over gRPC.
        let expected = if json == "null" { "" } else { json.as_str() };
        prop_assert_eq!(std::str::from_utf8(&request.data).unwrap(), expected);
    }

    #[test]
    fn any_bytes_are_delivered(data in any::<Vec<u8>>(), is_text in any::<bool>()) {
        let content_type = if is_text { "text/plain" } else { "application/octet-stream" };
        let envelope = published(content_type, &data).unwrap();
        let request = plain(&envelope).to_request("", "p", "t").unwrap();
        prop_assert_eq!(request.data, data.clone());
        let raw = decode(&data, None, &Metadata::new(), true);
        prop_assert_eq!(raw.to_request("", "p", "t").unwrap().data, data);
    }

    #[test]
    fn nothing_makes_it_panic(
        data in any::<Vec<u8>>(),
        kind in "(application/(json|cloudevents\\+json))?",
    ) {
        if let Ok(envelope) = published(&kind, &data) {
            let _ = plain(&envelope).to_request("", "p", "t");
        }
    }
}
