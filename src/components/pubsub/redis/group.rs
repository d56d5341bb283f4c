//! A consumer group of a stream, and this sidecar in it.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Value};
use tracing::{debug, warn};

use super::settings::StreamSettings;
use super::shelf::Held;
use super::{millis, text};
use crate::components::BackendError;
use crate::components::redis::{Client, Connection, Repeat, code, failure};

/// How long a consumer without messages may be silent before it counts as gone. One that lives is
/// heard of every few seconds.
const GONE: Duration = Duration::from_secs(600);

/// The most messages that are looked at together when they are given back.
const BATCH: usize = 1000;

/// Removes consumers that have been silent for so long, or the one that is named, but never one
/// that has messages: they would be lost with it.
const REMOVE: &str = "\
local removed = 0
for _, fields in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local of = {}
  for i = 1, #fields, 2 do of[fields[i]] = fields[i + 1] end
  local meant = of.name == ARGV[3] or (ARGV[3] == '' and of.idle >= tonumber(ARGV[2]))
  if meant and of.pending == 0 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], of.name)
    removed = removed + 1
  end
end
return removed";

/// A group.
pub(super) struct Group {
    pub(super) client: Arc<Client>,
    pub(super) settings: StreamSettings,
    pub(super) topic: String,
    pub(super) consumer: String,
    /// The messages that are here or with the app, of every subscription to the topic.
    pub(super) held: Arc<Held>,
}

impl Group {
    pub(super) fn new(
        client: Arc<Client>,
        settings: StreamSettings,
        topic: &str,
        consumer: &str,
    ) -> Self {
        Self {
            client,
            settings,
            topic: topic.to_owned(),
            consumer: consumer.to_owned(),
            held: Arc::default(),
        }
    }

    /// Makes the stream and the group where they are not there, from the first message on.
    pub(super) async fn create(&self) -> Result<(), BackendError> {
        let mut command = redis::cmd("XGROUP");
        command
            .arg("CREATE")
            .arg(&self.topic)
            .arg(&self.settings.group);
        command.arg("0").arg("MKSTREAM");
        let created: Result<(), _> = self.client.ask(&command, Repeat::Allowed).await;
        match created {
            Err(BackendError::Refused(text)) if text.contains("BUSYGROUP") => Ok(()),
            created => created,
        }
    }

    /// The next messages that no consumer had, waiting for them.
    pub(super) async fn read_new(
        &self,
        connection: &mut Connection,
        most: usize,
        wait: Duration,
    ) -> Result<Value, Failed> {
        // Zero would mean for ever.
        let wait = millis(wait).max(1);
        let mut command = self.read(most);
        command.arg("BLOCK").arg(wait);
        command.arg("STREAMS").arg(&self.topic).arg(">");
        send(&command, connection).await
    }

    /// The next messages after an id that this consumer had and nobody settled.
    pub(super) async fn read_own(
        &self,
        connection: &mut Connection,
        most: usize,
        after: &str,
    ) -> Result<Value, Failed> {
        let mut command = self.read(most);
        command.arg("STREAMS").arg(&self.topic).arg(after);
        send(&command, connection).await
    }

    fn read(&self, most: usize) -> Cmd {
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg(&self.settings.group);
        command.arg(&self.consumer).arg("COUNT").arg(most);
        command
    }

    /// The next messages from an id on that nobody settled for so long: they are this consumer's
    /// from now on.
    pub(super) async fn claim(
        &self,
        connection: &mut Connection,
        most: usize,
        idle: Duration,
        from: &str,
    ) -> Result<Value, Failed> {
        let mut command = redis::cmd("XAUTOCLAIM");
        command.arg(&self.topic).arg(&self.settings.group);
        command.arg(&self.consumer).arg(millis(idle)).arg(from);
        command.arg("COUNT").arg(most);
        send(&command, connection).await
    }

    /// Messages are dealt with.
    pub(super) async fn acknowledge(&self, ids: &[String]) -> Result<(), BackendError> {
        let mut command = redis::cmd("XACK");
        command.arg(&self.topic).arg(&self.settings.group).arg(ids);
        self.client.ask(&command, Repeat::Allowed).await
    }

    /// Makes messages of this consumer look as if nobody had settled them for so long.
    pub(super) async fn give_back(
        &self,
        ids: &[String],
        idle: Duration,
    ) -> Result<(), BackendError> {
        let mut command = redis::cmd("XCLAIM");
        command.arg(&self.topic).arg(&self.settings.group);
        command.arg(&self.consumer).arg(0).arg(ids);
        command.arg("IDLE").arg(millis(idle)).arg("JUSTID");
        self.client.ask(&command, Repeat::Allowed).await
    }

    /// Gives back what this consumer has and what is not with the app, so that another takes it at
    /// once; then leaves the group, if nothing is left.
    pub(super) async fn leave(&self) {
        if let Some(redelivery) = self.settings.redelivery
            && let Err(error) = self.give_back_all(redelivery.timeout).await
        {
            warn!(topic = self.topic, %error, "Messages go to another consumer later");
        }
        self.remove(Duration::MAX, &self.consumer).await;
    }

    async fn give_back_all(&self, idle: Duration) -> Result<(), BackendError> {
        let mut from = "-".to_owned();
        loop {
            let mut command = redis::cmd("XPENDING");
            command.arg(&self.topic).arg(&self.settings.group);
            command.arg(&from).arg("+").arg(BATCH).arg(&self.consumer);
            let pending: Vec<Vec<Value>> = self.client.ask(&command, Repeat::Allowed).await?;
            let ids = pending.iter().filter_map(|fields| text(fields.first()?));
            let ids: Vec<_> = ids.collect();
            let Some(last) = ids.last().filter(|_| ids.len() == BATCH) else {
                return self.give_back_free(ids, idle).await;
            };
            from = format!("({last}");
            self.give_back_free(ids, idle).await?;
        }
    }

    async fn give_back_free(&self, ids: Vec<String>, idle: Duration) -> Result<(), BackendError> {
        let is_free = |id: &String| !self.held.has(id);
        let free: Vec<_> = ids.into_iter().filter(is_free).collect();
        if free.is_empty() {
            return Ok(());
        }
        self.give_back(&free, idle).await
    }

    /// Removes consumers that are gone and left nothing.
    pub(super) async fn remove_gone(&self) {
        self.remove(GONE, "").await;
    }

    async fn remove(&self, idle: Duration, name: &str) {
        let mut command = redis::cmd("EVAL");
        command.arg(REMOVE).arg(1).arg(&self.topic);
        command
            .arg(&self.settings.group)
            .arg(millis(idle))
            .arg(name);
        let removed: Result<u64, _> = self.client.ask(&command, Repeat::Allowed).await;
        // Consumers without messages cost little: an account without scripts is no harm.
        match removed {
            Ok(0) => {}
            Ok(count) => debug!(topic = self.topic, count, "Removed consumers that are gone"),
            Err(error) => debug!(topic = self.topic, %error, "Consumers that are gone stay"),
        }
    }
}

/// Why nothing was read.
pub(super) enum Failed {
    /// The group is not there, or not any more.
    NoGroup,
    /// The connection is of no use any more, or the server refuses.
    Broken(BackendError),
}

async fn send(command: &Cmd, connection: &mut Connection) -> Result<Value, Failed> {
    let answer = connection.commands().send_packed_command(command).await;
    let answer = answer.and_then(|answer| answer.extract_error());
    answer.map_err(|error| match code(&error) {
        // The second where the stream went while the server waited for its next entry.
        "NOGROUP" | "UNBLOCKED" => Failed::NoGroup,
        _ => Failed::Broken(failure(&error, connection.server())),
    })
}
