//! `pubsub.redis`: topics are streams, and subscribers consumer groups.
//!
//! The streams are those of Dapr: an entry has the fields `data` and, as JSON, `metadata`. A
//! message is acknowledged when it was dealt with and not before, which Dapr does also where it
//! was not.
//!
//! ```text
//! publish   → XADD, over the shared connection of the client
//! subscribe → Reader (XREADGROUP, XAUTOCLAIM, over a connection of its own) → Shelf → Subscription
//! settle    → XACK, or back to the shelf or the group
//! ```

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use redis::{Cmd, Value};

use super::{Feature, Interest, Outgoing, PubSub};
use crate::base::environment::Environment;
use crate::components::message::Intake;
use crate::components::metadata::Reader;
use crate::components::redis::{Client, Confirm, Repeat, Settings};
use crate::components::{BackendError, Error, ResolvedComponent};
use group::Group;
use settings::{StreamSettings, Trim};
use subscription::Subscription;

mod entry;
mod group;
mod reader;
mod settings;
mod shelf;
mod subscription;

/// How many brokers of this process read groups so far: two of one pod must not have one name.
static READERS: AtomicU64 = AtomicU64::new(0);

/// The broker.
pub struct RedisStreams {
    client: Arc<Client>,
    settings: StreamSettings,
    /// The name of this sidecar in its groups.
    consumer: String,
    groups: Mutex<HashMap<String, Arc<Group>>>,
}

impl RedisStreams {
    /// The broker that the metadata of a component names. The server has to be there.
    ///
    /// # Errors
    ///
    /// Settings that cannot be used, and a server that is away or lets nobody in.
    pub async fn start(
        component: &ResolvedComponent,
        reader: &mut Reader<'_>,
        environment: &Environment,
        app_id: &str,
    ) -> Result<Self, Error> {
        let server = Settings::read(component, reader).await?;
        let settings = StreamSettings::read(component, reader, app_id)?;
        let client = Client::new(server).reached().await?;
        Ok(Self {
            client: Arc::new(client),
            settings,
            consumer: consumer(environment, app_id),
            groups: Mutex::default(),
        })
    }

    fn group(&self, topic: &str) -> Arc<Group> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let group = groups.entry(topic.to_owned()).or_insert_with(|| {
            let client = Arc::clone(&self.client);
            let settings = self.settings.clone();
            Arc::new(Group::new(client, settings, topic, &self.consumer))
        });
        Arc::clone(group)
    }
}

#[async_trait]
impl PubSub for RedisStreams {
    fn features(&self) -> &[Feature] {
        &[]
    }

    async fn publish(&self, topic: &str, message: Outgoing) -> Result<(), BackendError> {
        let command = add(topic, &message, self.settings.trim);
        self.client.ask(&command, Repeat::Allowed).await
    }

    async fn publish_all(
        &self,
        topic: &str,
        messages: Vec<Outgoing>,
    ) -> Vec<Result<(), BackendError>> {
        let commands: Vec<_> = messages
            .iter()
            .map(|message| (add(topic, message, self.settings.trim), Repeat::Allowed))
            .collect();
        let answers = self.client.ask_each(&commands, Confirm::Primary).await;
        answers.into_iter().map(|answer| answer.map(drop)).collect()
    }

    async fn subscribe(&self, interest: &Interest) -> Result<Box<dyn Intake>, BackendError> {
        let group = self.group(&interest.topic);
        Ok(Box::new(Subscription::open(group).await?))
    }
}

/// `XADD` as Dapr 1.18 sends it.
fn add(topic: &str, message: &Outgoing, trim: Trim) -> Cmd {
    let mut command = redis::cmd("XADD");
    command.arg(topic);
    match trim {
        Trim::Never => {}
        Trim::Length(most) => {
            command.arg("MAXLEN").arg("~").arg(most);
        }
        Trim::Age(most) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let oldest = now.unwrap_or_default().saturating_sub(most);
            command.arg("MINID").arg("~").arg(millis(oldest));
        }
    }
    command.arg("*").arg("data").arg(&*message.data);
    if !message.metadata.is_empty() {
        let metadata = serde_json::to_vec(&message.metadata);
        // A map of texts always is JSON.
        command.arg("metadata").arg(metadata.unwrap_or_default());
    }
    command
}

/// A pod keeps its name when its sidecar starts again, and with it what it had read. Elsewhere the
/// name is new at each start: two sidecars of one machine are two consumers.
fn consumer(environment: &Environment, app_id: &str) -> String {
    let number = READERS.fetch_add(1, Ordering::Relaxed);
    match (environment.non_empty("POD_NAME"), number) {
        (Some(pod), 0) => pod.to_owned(),
        (Some(pod), number) => format!("{pod}-{number}"),
        (None, _) => format!("{app_id}-{:016x}", fastrand::u64(..)),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A text of an answer.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn packed(trim: Trim, metadata: &[(&str, &str)]) -> String {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let message = Outgoing {
            data: Bytes::from_static(b"{}"),
            content_type: Some("application/json".to_owned()),
            metadata: metadata.iter().map(owned).collect(),
        };
        let words: Vec<_> = add("orders", &message, trim)
            .args_iter()
            .map(|word| match word {
                redis::Arg::Simple(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                _ => unreachable!("no cursor is sent"),
            })
            .collect();
        words.join(" ")
    }

    #[test]
    fn adds_entries_as_dapr_does() {
        assert_eq!(packed(Trim::Never, &[]), "XADD orders * data {}");
        assert_eq!(
            packed(Trim::Length(10), &[("a", "1"), ("b", "2")]),
            "XADD orders MAXLEN ~ 10 * data {} metadata {\"a\":\"1\",\"b\":\"2\"}"
        );
        let aged = packed(Trim::Age(Duration::from_secs(60)), &[]);
        assert!(aged.starts_with("XADD orders MINID ~ 1"), "{aged}");
    }

    #[test]
    fn no_two_consumers_of_a_process_have_one_name() {
        let pod: Environment = [("POD_NAME", "pod")].into_iter().collect();
        let none = Environment::default();
        let names = [&pod, &pod, &none, &none].map(|environment| consumer(environment, "app"));
        let different: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(different.len(), 4, "{names:?}");
        assert!(
            names[1].starts_with("pod-") && names[2].starts_with("app-"),
            "{names:?}"
        );
    }
}
