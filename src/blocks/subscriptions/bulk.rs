//! Messages together, as an app gets them over HTTP.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Message, Outcome, verdicts};
use crate::components::message::Metadata;

/// The type of the envelope around several messages.
pub(super) const TYPE: &str = "com.dapr.event.sent.bulk";
/// The type of each of them.
pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json";

#[derive(Serialize)]
struct Envelope<'a> {
    entries: Vec<Entry<'a>>,
    id: String,
    metadata: BTreeMap<&'a str, &'a str>,
    pubsubname: &'a str,
    topic: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    entry_id: &'a str,
    event: Event<'a>,
    content_type: &'static str,
    metadata: &'a Metadata,
}

/// The envelope of a message in JSON, as it stands.
#[derive(Serialize)]
#[serde(untagged)]
enum Event<'a> {
    Written(&'a RawValue),
    Read(&'a Map<String, Value>),
}

/// Names for messages by which the app speaks of them.
pub(super) fn entry_ids(count: usize) -> Vec<String> {
    (0..count).map(|_| random_id()).collect()
}

/// A name that nothing else has.
pub(super) fn random_id() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// The body of the request with messages of one topic, whose entries have these ids.
pub(super) fn envelope(messages: &[Message], ids: &[String]) -> Bytes {
    let first = messages.first();
    let entries = messages.iter().zip(ids).map(|(message, id)| Entry {
        entry_id: id,
        event: match serde_json::from_slice(message.event.envelope()) {
            Ok(written) => Event::Written(written),
            Err(_) => Event::Read(message.event.fields()),
        },
        content_type: CONTENT_TYPE,
        metadata: &message.metadata,
    });
    let envelope = Envelope {
        entries: entries.collect(),
        id: random_id(),
        metadata: BTreeMap::new(),
        pubsubname: first.map_or("", |message| &message.pubsub),
        topic: first.map_or("", |message| &message.topic),
        kind: TYPE,
    };
    let body = serde_json::to_vec(&envelope);
    body.expect("texts and JSON always become JSON").into()
}

/// What the app says of each message. It wants those again of which it says nothing.
pub(super) fn outcomes(messages: &[Message], ids: &[String], body: &[u8]) -> Vec<Outcome> {
    let answer: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    let statuses = verdicts::field(&answer, "statuses").and_then(Value::as_array);
    let statuses = statuses.into_iter().flatten().filter_map(|entry| {
        let entry = entry.as_object()?;
        Some((
            verdicts::text(entry, "entryId")?,
            verdicts::text(entry, "status")?,
        ))
    });
    let statuses: HashMap<_, _> = statuses.collect();
    let outcome = |(message, id): (&Message, &String)| {
        let event = message.event.id();
        match statuses.get(id.as_str()) {
            None | Some(&"") => verdicts::nothing(event),
            Some(status) => verdicts::of_status(status, event),
        }
    };
    messages.iter().zip(ids).map(outcome).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::subscriptions::tests::message;
    use serde_json::json;

    #[test]
    fn messages_stand_together_as_they_were_sent() {
        let mut second = message(r#"{"id":"2","data":1.0}"#);
        second.metadata.insert("k".to_owned(), "v".to_owned());
        let messages = [
            message(r#"{"id":"1","data":12345678901234567890123}"#),
            second,
        ];
        let ids = entry_ids(2);
        assert_ne!(ids[0], ids[1]);
        let body = envelope(&messages, &ids);
        let text = String::from_utf8(body.to_vec()).unwrap();
        // Numbers are those that the publisher wrote.
        assert!(
            text.contains(r#""event":{"id":"1","data":12345678901234567890123}"#),
            "{text}"
        );
        assert!(text.contains(r#""event":{"id":"2","data":1.0}"#), "{text}");
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["type"], TYPE);
        assert_eq!(read["pubsubname"], "pubsub");
        assert_eq!(read["topic"], "t");
        assert_eq!(read["metadata"], json!({}));
        assert_eq!(read["id"].as_str().unwrap().len(), 32);
        let entry = &read["entries"][1];
        assert_eq!(entry["entryId"], ids[1].as_str());
        assert_eq!(entry["contentType"], CONTENT_TYPE);
        assert_eq!(entry["metadata"], json!({"k": "v"}));
    }

    #[test]
    fn each_message_has_its_own_status_and_those_without_come_again() {
        let messages: Vec<_> = (0..6)
            .map(|number| message(&format!(r#"{{"id":"{number}"}}"#)))
            .collect();
        let ids: Vec<_> = (0..6).map(|number| format!("e{number}")).collect();
        let body = json!({"statuses": [
            {"entryId": "e1", "status": "RETRY"},
            {"entryId": "e0", "status": "SUCCESS"},
            {"entryId": "e2", "status": "DROP"},
            {"entryId": "e3", "status": ""},
            {"entryId": "e4", "status": "WHAT"},
            {"entryId": "unknown", "status": "DROP"},
        ]});
        let outcomes = outcomes(&messages, &ids, body.to_string().as_bytes());
        assert_eq!(
            outcomes,
            [
                Outcome::Success,
                verdicts::retry("1"),
                verdicts::drop("2"),
                verdicts::nothing("3"),
                verdicts::unknown("4", "WHAT"),
                verdicts::nothing("5"),
            ]
        );
    }

    #[test]
    fn an_answer_that_says_nothing_wants_all_again() {
        let messages = [message(r#"{"id":"1"}"#)];
        for body in [
            "",
            "fine",
            "{}",
            "[]",
            r#"{"statuses":null}"#,
            r#"{"statuses":[1]}"#,
        ] {
            let outcomes = outcomes(&messages, &["e".to_owned()], body.as_bytes());
            assert_eq!(outcomes, [verdicts::nothing("1")], "{body}");
        }
    }
}
