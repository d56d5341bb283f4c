//! The Rust SDK publishes and gets messages, and uses bindings, beside a sidecar of its own.
//!
//! `sidegate run` starts this program and gives it the ports and both tokens; the SDK reads them by
//! itself. The program is the application too. What is published is tested by what arrives.

mod app;
mod inbox;
mod report;
mod stream;

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

use dapr::Client;
use dapr::client::{ClientOptions, TonicClientWithAuth};
use dapr::dapr::proto::runtime::v1::{BulkPublishRequest, BulkPublishRequestEntry};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use app::{App, PUBSUB, TOPICS};
use inbox::{Event, WARM_UP, warm_up_of};
use report::{Failure, Report};

const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";
const TEXT: &str = "text/plain";

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    let mut report = Report::open()?;
    let app = App::default();
    // What serves to the end of the program.
    let mut lasting = JoinSet::new();
    lasting.spawn(app.clone().serve());
    let mut run = Run {
        app,
        client: Client::new().await?,
        lasting,
    };
    let token = std::env::var("DAPR_API_TOKEN")?;
    let app_token = std::env::var("APP_API_TOKEN")?;
    let wrong = format!("{token}x");
    report
        .run("is subscribed to its topics", run.is_subscribed())
        .await?;
    report
        .run("publishes JSON, text and bytes", run.publishes())
        .await?;
    report
        .run(
            "publishes many messages at once",
            run.publishes_many(&token),
        )
        .await?;
    report
        .run("gets messages by a rule", run.is_routed())
        .await?;
    report
        .run(
            "gets a message again that it could not handle",
            run.gets_again(),
        )
        .await?;
    report
        .run("drops a message to the dead letter topic", run.drops())
        .await?;
    report
        .run("gets messages in a stream", run.streams(&token))
        .await?;
    report
        .run("uses an output binding", run.uses_an_output_binding())
        .await?;
    report
        .run(
            "uses an input binding",
            run.app.inbox.got_at_least("tick", 2),
        )
        .await?;
    report
        .run("sends no message without the token", is_refused(None))
        .await?;
    report
        .run(
            "sends no message with a wrong token",
            is_refused(Some(&wrong)),
        )
        .await?;
    report
        .run(
            "sends no message with the app's token",
            is_refused(Some(&app_token)),
        )
        .await?;
    report
        .run("got no message twice", run.got_nothing_else())
        .await?;
    report
        .run("saw the app's token with each call", run.saw_its_token())
        .await?;
    Ok(ExitCode::from(u8::from(!report.passed())))
}

/// An application with a client of its sidecar.
struct Run {
    app: App,
    client: Client<TonicClientWithAuth>,
    lasting: JoinSet<Result<(), Failure>>,
}

impl Run {
    async fn publish(&mut self, topic: &str, data: &[u8], form: &str) -> Result<(), Failure> {
        self.client
            .publish_event(PUBSUB, topic, form, data.to_owned(), None)
            .await?;
        Ok(())
    }

    /// The sidecar subscribes as soon as the app listens, which it does not wait for.
    async fn is_subscribed(&mut self) -> Result<(), Failure> {
        for topic in TOPICS {
            let mut tries_left = 600;
            let place = warm_up_of(topic);
            loop {
                self.publish(topic, WARM_UP.as_bytes(), TEXT).await?;
                let arrived = self
                    .app
                    .inbox
                    .wait(&place, 1, Duration::from_millis(100))
                    .await;
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

    async fn publishes(&mut self) -> Result<(), Failure> {
        let all = [
            (r#"{"a":"ä"}"#.as_bytes(), JSON),
            ("grüß".as_bytes(), TEXT),
            (&[0, 255], BYTES),
        ];
        for (data, form) in all {
            self.publish("orders", data, form).await?;
        }
        self.app
            .inbox
            .got("orders", &all.map(|(data, form)| Event::sent(data, form)))
            .await
    }

    async fn publishes_many(&mut self, token: &str) -> Result<(), Failure> {
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
        let answer = stream::connect(Some(token))
            .await?
            .bulk_publish_event(request)
            .await?;
        let failed = answer.into_inner().failed_entries;
        if !failed.is_empty() {
            return Err(format!("{failed:?} failed").into());
        }
        let sent = all.map(|(data, form)| Event::sent(data.as_bytes(), form));
        self.app.inbox.got("many", &sent).await
    }

    async fn is_routed(&mut self) -> Result<(), Failure> {
        let metadata = HashMap::from([("cloudevent.type".to_owned(), "urgent".to_owned())]);
        self.client
            .publish_event(PUBSUB, "orders", TEXT, "now".into(), Some(metadata))
            .await?;
        self.app
            .inbox
            .got("urgent", &[Event::text("now").of_kind("urgent")])
            .await
    }

    async fn gets_again(&mut self) -> Result<(), Failure> {
        self.publish("retried", b"again", TEXT).await?;
        self.app
            .inbox
            .got("retried", &[Event::text("again"), Event::text("again")])
            .await
    }

    async fn drops(&mut self) -> Result<(), Failure> {
        self.publish("refused", b"no", TEXT).await?;
        self.app.inbox.got("refused", &[Event::text("no")]).await?;
        self.app.inbox.got("dead", &[Event::text("no")]).await
    }

    /// With a subscription that lasts to the end: it gets nothing twice either.
    async fn streams(&mut self, token: &str) -> Result<(), Failure> {
        let mut stubs = stream::connect(Some(token)).await?;
        let subscription = stream::subscribe(&mut stubs, "streamed").await?;
        self.lasting
            .spawn(subscription.answer(self.app.inbox.clone()));
        let mut expected = Vec::new();
        for (text, times) in [("keep", 1), ("again", 2), ("drop", 1), ("last", 1)] {
            self.publish("streamed", text.as_bytes(), TEXT).await?;
            expected.extend(std::iter::repeat_n(Event::text(text), times));
            self.app.inbox.got("streamed", &expected).await?;
        }
        Ok(())
    }

    async fn uses_an_output_binding(&mut self) -> Result<(), Failure> {
        let metadata = HashMap::from([("path".to_owned(), "/orders".to_owned())]);
        let data = r#"{"a":"ä"}"#.into();
        let answer = self
            .client
            .invoke_binding("outside", data, "post", Some(metadata))
            .await?;
        let seen: Value = serde_json::from_slice(&answer.data)?;
        let expected = json!({"verb": "POST", "path": "/orders", "body": {"a": "ä"}, "tokens": []});
        if seen == expected {
            Ok(())
        } else {
            Err(seen.to_string().into())
        }
    }

    async fn got_nothing_else(&self) -> Result<(), Failure> {
        for (place, number) in [
            ("orders", 3),
            ("many", 2),
            ("urgent", 1),
            ("retried", 2),
            ("refused", 1),
            ("dead", 1),
            ("streamed", 5),
        ] {
            let arrived = self.app.inbox.at(place);
            if arrived.len() != number {
                return Err(format!("{place}: {arrived:?}").into());
            }
        }
        Ok(())
    }

    async fn saw_its_token(&self) -> Result<(), Failure> {
        let calls = self.app.calls();
        let called = |call| calls.iter().any(|(name, _)| *name == call);
        let is_own = calls.iter().all(|(_, is_own)| *is_own);
        let all = ["OnTopicEvent", "OnBulkTopicEvent", "OnBindingEvent"];
        if is_own && all.into_iter().all(called) {
            Ok(())
        } else {
            Err(format!("{calls:?}").into())
        }
    }
}

async fn is_refused(token: Option<&str>) -> Result<(), Failure> {
    let options = ClientOptions::from_env()?.with_api_token(token.unwrap_or_default());
    let mut client = Client::from_options(options).await?;
    // The SDK tells the status of its errors in this way only.
    let published = client
        .publish_event(PUBSUB, "orders", TEXT, "stolen".into(), None)
        .await;
    let bound = client
        .invoke_binding("outside", "{}".into(), "post", None)
        .await;
    for told in [
        format!("{:?}", published.err()),
        format!("{:?}", bound.err()),
    ] {
        if !told.contains("Unauthenticated") {
            return Err(format!("it was told {told}").into());
        }
    }
    let mut stubs = stream::connect(token).await?;
    let published = stubs
        .bulk_publish_event(BulkPublishRequest::default())
        .await
        .err();
    let subscribed = stream::subscribe(&mut stubs, "orders").await.err();
    for status in [published, subscribed] {
        let code = status.map(|status| status.code());
        if code != Some(tonic::Code::Unauthenticated) {
            return Err(format!("it was told {code:?}").into());
        }
    }
    Ok(())
}
