//! `POST /v1.0/publish/{pubsub}/{topic}` and `POST /v1.0/publish/bulk/{pubsub}/{topic}`.

use std::collections::BTreeMap;

use axum::body::{Body, Bytes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::answer::{self, Answer};
use super::query;
use crate::api::status;
use crate::blocks::cloud_event::content_type::Kind;
use crate::blocks::error::{Error, Reason};
use crate::blocks::publish::{Entry, FailedEntry, Message, Publish, Target, Trace};

/// 204 once the broker has the message.
pub(super) async fn single(
    publish: &Publish,
    (pubsub, topic): (&str, &str),
    head: &Parts,
    body: Body,
    max_body: usize,
) -> Result<Answer, Error> {
    let content_type = head.headers.get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let message = Message {
        content_type: content_type.unwrap_or_default().to_owned(),
        data: answer::read(body, max_body).await?,
    };
    let target = Target {
        pubsub,
        topic,
        metadata: &query::parameters(head.uri.query()),
        trace: &Trace::of(&head.headers),
    };
    publish.one(&target, message).await?;
    Ok(answer::no_content())
}

/// 204 once the broker has all messages; 500 with those that it has not.
pub(super) async fn bulk(
    publish: &Publish,
    (pubsub, topic): (&str, &str),
    head: &Parts,
    body: Body,
    max_body: usize,
) -> Result<Answer, Error> {
    let target = Target {
        pubsub,
        topic,
        metadata: &query::parameters(head.uri.query()),
        trace: &Trace::of(&head.headers),
    };
    let body = answer::read(body, max_body).await?;
    let entries = read(&target, &body)?;
    let failed = publish.many(&target, entries).await?;
    if failed.is_empty() {
        return Ok(answer::no_content());
    }
    let row = status::of(Reason::PublishFailed);
    let body = Failure {
        failed_entries: failed.iter().map(Failed::of).collect(),
        code: row.code,
    };
    Ok(answer::json_with(row.http, &body))
}

#[derive(Serialize)]
struct Failure<'a> {
    #[serde(rename = "failedEntries")]
    failed_entries: Vec<Failed<'a>>,
    #[serde(rename = "errorCode")]
    code: &'static str,
}

#[derive(Serialize)]
struct Failed<'a> {
    #[serde(rename = "entryId")]
    entry_id: &'a str,
    error: &'a str,
}

impl<'a> Failed<'a> {
    fn of(entry: &'a FailedEntry) -> Self {
        let FailedEntry { entry_id, error } = entry;
        Self { entry_id, error }
    }
}

/// One event of the list, as it is sent. Dapr takes a name in any case, and the JavaScript SDK
/// writes `entryID`.
#[derive(Deserialize)]
struct Listed<'a> {
    #[serde(rename = "entryId", alias = "entryID", default)]
    entry_id: String,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(rename = "contentType", default)]
    content_type: String,
    metadata: Option<BTreeMap<String, String>>,
}

fn read(target: &Target<'_>, body: &[u8]) -> Result<Vec<Entry>, Error> {
    let Target { pubsub, topic, .. } = target;
    let listed: Vec<Listed<'_>> = serde_json::from_slice(body).map_err(|error| {
        let text = format!(
            "error when unmarshaling the request for topic {topic} pubsub {pubsub}: {error}"
        );
        Error::new(Reason::BulkUnreadable, text).about_topic(pubsub, topic)
    })?;
    let entries = listed.into_iter().map(|entry| {
        let data = data(&entry).ok_or_else(|| {
            let Listed { entry_id, .. } = &entry;
            let text = format!(
                "error when marshalling cloud event envelope for topic {topic} pubsub {pubsub}: \
                 mismatch between contentType and event, in the entry {entry_id:?}"
            );
            Error::new(Reason::BulkEventMismatch, text).about_topic(pubsub, topic)
        })?;
        let content_type = entry.content_type;
        Ok(Entry {
            id: entry.entry_id,
            message: Message { data, content_type },
            metadata: entry.metadata.unwrap_or_default(),
        })
    });
    entries.collect()
}

/// The bytes of an event: JSON as it is written, bytes in base64, everything else a text.
fn data(entry: &Listed<'_>) -> Option<Bytes> {
    let json = entry.event?.get();
    let text = || serde_json::from_str::<String>(json).ok();
    match Kind::of(&entry.content_type) {
        Kind::Json => Some(Bytes::copy_from_slice(json.as_bytes())),
        Kind::CloudEvent => json
            .starts_with('{')
            .then(|| Bytes::copy_from_slice(json.as_bytes())),
        Kind::Binary => Some(BASE64.decode(text()?).ok()?.into()),
        Kind::Text => text().map(Into::into),
    }
}
