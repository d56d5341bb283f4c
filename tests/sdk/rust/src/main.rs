//! The common script with the Rust SDK, beside a sidecar of its own.
//!
//! `sidegate run` starts this program and gives it the ports and both tokens; the SDK reads them by
//! itself. The program is the application too.

mod app;
mod inbox;
mod messages;
mod report;
mod stores;
mod stubs;

use std::process::ExitCode;
use std::sync::Arc;

use dapr::Client;
use dapr::client::{ClientOptions, TonicClientWithAuth};
use dapr::dapr::proto::runtime::v1::{BulkPublishRequest, TryLockRequest};
use prost_types::Any;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::Code;

use app::{App, PUBSUB};
use inbox::Inbox;
use messages::TEXT;
use report::{Failure, Note, Report, equal, has_code, holds};
use stores::{MEMORY, SECRETS, SETTINGS};
use stubs::Stubs;

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    let mut report = Report::open()?;
    let app = App::default();
    let mut lasting = JoinSet::new();
    lasting.spawn(serve(app.clone()));
    let mut script = Script {
        inbox: app.inbox.clone(),
        app,
        client: Client::new().await?,
        stubs: stubs::connect(Some(&std::env::var("DAPR_API_TOKEN")?)).await?,
        lasting,
    };
    script.warm_up().await?;
    for name in report::steps()? {
        report.take(&name, note(&name), script.step(&name)).await?;
    }
    Ok(ExitCode::from(u8::from(!report.passed())))
}

/// Nobody waits for it: what goes wrong is at least to be read.
async fn serve(app: App) -> Result<(), Failure> {
    let ended = app.serve().await;
    if let Err(error) = &ended {
        eprintln!("The application serves no more: {error:?}");
    }
    ended
}

/// An application with clients of its sidecar.
struct Script {
    app: App,
    inbox: Arc<Inbox>,
    client: Client<TonicClientWithAuth>,
    stubs: Stubs,
    /// What goes on to the end of the program.
    lasting: JoinSet<Result<(), Failure>>,
}

fn note(step: &str) -> Note {
    match step {
        "state: get many keys"
        | "state: delete with an old ETag"
        | "state: transaction"
        | "publish: many at once"
        | "subscribe: in a stream"
        | "lock: take and release" => Note::Stubs,
        "health: wait for the sidecar" => Note::Lacks("The client has no call for it."),
        _ => Note::Client,
    }
}

impl Script {
    async fn step(&mut self, name: &str) -> Result<(), Failure> {
        let token = std::env::var("DAPR_API_TOKEN")?;
        match name {
            "state: save and get" => self.saves_and_gets(MEMORY).await,
            "state: get a missing key" => self.misses_a_key().await,
            "state: get many keys" => self.gets_many().await,
            "state: delete" => self.deletes().await,
            "state: save with an old ETag" => self.saves_with_an_old_etag().await,
            "state: delete with an old ETag" => self.deletes_with_an_old_etag().await,
            "state: transaction" => self.transacts().await,
            "state: TTL" => self.expires().await,
            "state: Redis, its password a secretKeyRef" => self.saves_and_gets("redis").await,
            "secrets: get one" => self.gets_a_secret().await,
            "secrets: get all" => self.gets_all_secrets().await,
            "secrets: denied by scope" => {
                self.is_refused_a_secret("denied", "PermissionDenied").await
            }
            "secrets: missing" => self.is_refused_a_secret("none", "NotFound").await,
            "invoke: a method of the app" => self.invokes().await,
            "publish: JSON, text and bytes" => self.publishes().await,
            "publish: many at once" => self.publishes_many().await,
            "subscribe: to topics" => self.subscribes().await,
            "subscribe: with a rule" => self.is_routed().await,
            "subscribe: again after a failure" => self.gets_again().await,
            "subscribe: dead letters" => self.drops().await,
            "subscribe: in a stream" => self.streams().await,
            "bind: output" => self.uses_an_output_binding().await,
            "bind: input" => self.inbox.got_at_least("tick", 2).await,
            "configuration: get" => self.gets_settings().await,
            "configuration: subscribe" => self.is_told_of_settings().await,
            "lock: take and release" => self.locks().await,
            "metadata: get" => self.gets_metadata().await,
            "metadata: set" => self.sets_metadata().await,
            "tokens: refused without one" => is_refused(None).await,
            "tokens: refused with a wrong one" => is_refused(Some(&format!("{token}x"))).await,
            "tokens: refused with the app's" => {
                is_refused(Some(&std::env::var("APP_API_TOKEN")?)).await
            }
            "tokens: the app's comes with each call" => self.saw_its_token(),
            "subscribe: nothing twice" => self.inbox.got_nothing_else(),
            other => Err(format!("there is no such step: {other}").into()),
        }
    }

    async fn invokes(&mut self) -> Result<(), Failure> {
        let data = Any {
            value: r#"{"a":"ä"}"#.into(),
            ..Any::default()
        };
        let app_id = std::env::var("APP_ID")?;
        let answer = self
            .client
            .invoke_service(app_id.as_str(), "echo", Some(data))
            .await?;
        let value = answer.data.unwrap_or_default().value;
        equal(
            serde_json::from_slice::<Value>(&value)?,
            json!({"body": {"a": "ä"}}),
        )
    }

    fn saw_its_token(&self) -> Result<(), Failure> {
        let calls = self.app.calls();
        let called = |call| calls.iter().any(|(name, _)| *name == call);
        let is_own = calls.iter().all(|(_, is_own)| *is_own);
        let all = [
            "OnTopicEvent",
            "OnBulkTopicEvent",
            "OnBindingEvent",
            "OnInvoke",
        ];
        holds(is_own && all.into_iter().all(called), || {
            format!("{calls:?}")
        })
    }
}

async fn is_refused(token: Option<&str>) -> Result<(), Failure> {
    const DENIED: &str = "Unauthenticated";
    let options = ClientOptions::from_env()?.with_api_token(token.unwrap_or_default());
    let mut client = Client::from_options(options).await?;
    has_code(client.get_state(MEMORY, "order", None).await, DENIED)?;
    let stolen = "stolen".as_bytes();
    has_code(
        client
            .save_state(MEMORY, "order", stolen.into(), None, None, None)
            .await,
        DENIED,
    )?;
    has_code(client.delete_state(MEMORY, "order", None).await, DENIED)?;
    has_code(client.get_secret(SECRETS, "password").await, DENIED)?;
    has_code(client.get_bulk_secret(SECRETS, None).await, DENIED)?;
    has_code(client.invoke_service("any", "echo", None).await, DENIED)?;
    has_code(
        client
            .publish_event(PUBSUB, "orders", TEXT, stolen.into(), None)
            .await,
        DENIED,
    )?;
    has_code(
        client
            .invoke_binding("outside", "{}".into(), "post", None)
            .await,
        DENIED,
    )?;
    has_code(
        client
            .get_configuration(SETTINGS, vec!["color"], None)
            .await,
        DENIED,
    )?;
    has_code(client.get_metadata().await, DENIED)?;
    let mut stubs = stubs::connect(token).await?;
    let published = stubs
        .bulk_publish_event(BulkPublishRequest::default())
        .await
        .err();
    let locked = stubs.try_lock_alpha1(TryLockRequest::default()).await.err();
    let subscribed = stubs::subscribe(&mut stubs, "orders").await.err();
    for status in [published, locked, subscribed] {
        equal(
            status.map(|status| status.code()),
            Some(Code::Unauthenticated),
        )?;
    }
    Ok(())
}
