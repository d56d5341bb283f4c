//! The steps of publishing and subscribing, and of bindings. What is published is tested by what
//! arrives at the application.

use std::collections::HashMap;
use std::time::Duration;

use dapr::dapr::proto::runtime::v1::{BulkPublishRequest, BulkPublishRequestEntry};
use serde_json::{Value, json};

use crate::app::{PUBSUB, TOPICS};
use crate::inbox::{Event, WARM_UP, warm_up_of};
use crate::report::{Failure, equal};
use crate::{Script, stubs};

const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";
/// The content type of text.
pub(crate) const TEXT: &str = "text/plain";

impl Script {
    async fn publish(&mut self, topic: &str, data: &[u8], form: &str) -> Result<(), Failure> {
        self.client
            .publish_event(PUBSUB, topic, form, data.to_owned(), None)
            .await?;
        Ok(())
    }

    /// The sidecar subscribes as soon as the app listens, which it does not wait for.
    pub(crate) async fn warm_up(&mut self) -> Result<(), Failure> {
        for topic in TOPICS {
            let mut tries_left = 600;
            let place = warm_up_of(topic);
            loop {
                self.publish(topic, WARM_UP.as_bytes(), TEXT).await?;
                let arrived = self.inbox.wait(&place, 1, Duration::from_millis(100)).await;
                if !arrived.is_empty() {
                    break;
                }
                tries_left -= 1;
                if tries_left == 0 {
                    return Err(format!("nothing arrives of topic {topic}").into());
                }
            }
        }
        Ok(())
    }

    pub(crate) async fn publishes(&mut self) -> Result<(), Failure> {
        let all = [
            (r#"{"a":"ä"}"#.as_bytes(), JSON),
            ("grüß".as_bytes(), TEXT),
            (&[0, 255], BYTES),
        ];
        for (data, form) in all {
            self.publish("orders", data, form).await?;
        }
        self.inbox
            .got("orders", &all.map(|(data, form)| Event::sent(data, form)))
            .await
    }

    pub(crate) async fn publishes_many(&mut self) -> Result<(), Failure> {
        let all = [(r#"{"n":1}"#, JSON), ("two", TEXT)];
        let entry = |(data, form): (&str, &str)| BulkPublishRequestEntry {
            entry_id: data.to_owned(),
            event: data.into(),
            content_type: form.to_owned(),
            ..Default::default()
        };
        let request = BulkPublishRequest {
            pubsub_name: PUBSUB.to_owned(),
            topic: "many".to_owned(),
            entries: all.into_iter().map(entry).collect(),
            ..Default::default()
        };
        let answer = self.stubs.bulk_publish_event(request).await?;
        let failed = answer.into_inner().failed_entries;
        if !failed.is_empty() {
            return Err(format!("{failed:?} failed").into());
        }
        let sent = all.map(|(data, form)| Event::sent(data.as_bytes(), form));
        self.inbox.got("many", &sent).await
    }

    pub(crate) async fn subscribes(&mut self) -> Result<(), Failure> {
        let all: [(&[u8], &str); 2] = [(br#"{"n":1}"#, JSON), (&[1, 255], BYTES)];
        for (data, form) in all {
            self.publish("orders", data, form).await?;
        }
        let sent = all.map(|(data, form)| Event::sent(data, form));
        self.inbox.got("orders", &sent).await
    }

    pub(crate) async fn is_routed(&mut self) -> Result<(), Failure> {
        let metadata = HashMap::from([("cloudevent.type".to_owned(), "urgent".to_owned())]);
        self.client
            .publish_event(PUBSUB, "orders", TEXT, "now".into(), Some(metadata))
            .await?;
        self.inbox
            .got("urgent", &[Event::text("now").of_kind("urgent")])
            .await
    }

    pub(crate) async fn gets_again(&mut self) -> Result<(), Failure> {
        self.publish("retried", b"again", TEXT).await?;
        self.inbox
            .got("retried", &[Event::text("again"), Event::text("again")])
            .await
    }

    pub(crate) async fn drops(&mut self) -> Result<(), Failure> {
        self.publish("refused", b"no", TEXT).await?;
        self.inbox.got("refused", &[Event::text("no")]).await?;
        self.inbox.got("dead", &[Event::text("no")]).await
    }

    /// With a subscription that lasts to the end: it gets nothing twice either.
    pub(crate) async fn streams(&mut self) -> Result<(), Failure> {
        let subscription = stubs::subscribe(&mut self.stubs, "streamed").await?;
        self.lasting.spawn(subscription.answer(self.inbox.clone()));
        for (text, times) in [("keep", 1), ("again", 2), ("drop", 1), ("last", 1)] {
            self.publish("streamed", text.as_bytes(), TEXT).await?;
            let expected = vec![Event::text(text); times];
            self.inbox.got("streamed", &expected).await?;
        }
        Ok(())
    }

    pub(crate) async fn uses_an_output_binding(&mut self) -> Result<(), Failure> {
        let metadata = HashMap::from([("path".to_owned(), "/orders".to_owned())]);
        let data = r#"{"a":"ä"}"#.into();
        let answer = self
            .client
            .invoke_binding("outside", data, "post", Some(metadata))
            .await?;
        let seen: Value = serde_json::from_slice(&answer.data)?;
        let expected = json!({"verb": "POST", "path": "/orders", "body": {"a": "ä"}, "tokens": []});
        equal(seen, expected)
    }
}
