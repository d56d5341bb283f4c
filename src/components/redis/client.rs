//! What sends commands, again where that is right, until they are answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::AsyncPushSender;
use redis::{Cmd, FromRedisValue, Value};
use tokio::time::sleep;

use super::connection::Connection;
use super::errand::{Errand, Next, Repeat};
use super::line::Confirm;
use super::script::Script;
use super::servers::Servers;
use super::settings::Settings;
use super::slots::Slot;
use crate::components::{BackendError, Error};

/// How often a command follows servers that send it to others.
const MOST_DETOURS: u32 = 8;

/// A server or a cluster, with one connection to each server that all short commands share.
pub(in crate::components) struct Client {
    settings: Arc<Settings>,
    servers: Servers,
    script: Option<Script>,
}

impl Client {
    /// A client that connects when it is first needed.
    pub(in crate::components) fn new(settings: Settings) -> Self {
        let settings = Arc::new(settings);
        Self {
            servers: Servers::new(&settings),
            settings,
            script: None,
        }
    }

    /// The same, which sends the script again to servers that lost it.
    pub(in crate::components) fn with_script(self, script: Script) -> Self {
        Self {
            script: Some(script),
            ..self
        }
    }

    /// The same, once the server is there and has let the client in.
    pub(in crate::components) async fn reached(self) -> Result<Self, Error> {
        let pong: Result<(), _> = self.ask(&redis::cmd("PING"), Repeat::Allowed).await;
        pong.map_err(|error| Error::Init(error.to_string()))?;
        Ok(self)
    }

    /// A connection of one's own to the server that has a key, for commands that wait there for so
    /// long.
    pub(in crate::components) async fn open(
        &self,
        key: &str,
        wait: Duration,
    ) -> Result<Connection, BackendError> {
        let slot = Slot::of(key.as_bytes());
        let limit = self.settings.answer_timeout.map(|limit| limit + wait);
        let line = self.servers.line(Some(slot), Confirm::Primary).await?;
        Ok(line.open(limit, None).await?)
    }

    /// A connection of one's own, over which the server also tells what it was not asked for:
    /// `pushes` takes it, without waiting. Servers before Redis 6 refuse it.
    pub(in crate::components) async fn open_with_pushes(
        &self,
        pushes: Arc<dyn AsyncPushSender>,
    ) -> Result<Connection, BackendError> {
        let line = self.servers.line(None, Confirm::Primary).await?;
        Ok(line
            .open(self.settings.answer_timeout, Some(pushes))
            .await?)
    }

    /// The answer to a command.
    pub(in crate::components) async fn ask<T: FromRedisValue>(
        &self,
        command: &Cmd,
        repeat: Repeat,
    ) -> Result<T, BackendError> {
        let errands = vec![Errand::new(0, command, repeat)];
        let mut answers = self.answers(errands, Confirm::Primary).await;
        let answer = answers.pop().unwrap_or_else(|| Err(unanswered()))?;
        let parsed = redis::from_redis_value(answer);
        parsed.map_err(|error| BackendError::Refused(error.to_string()))
    }

    /// The answers to several commands, in their order. Those to one server are sent together.
    pub(in crate::components) async fn ask_each(
        &self,
        commands: &[(Cmd, Repeat)],
        confirm: Confirm,
    ) -> Vec<Result<Value, BackendError>> {
        let errands = commands.iter().enumerate();
        let errands = errands.map(|(at, (command, repeat))| Errand::new(at, command, *repeat));
        self.answers(errands.collect(), confirm).await
    }

    /// The server, for texts.
    pub(in crate::components) fn server(&self) -> String {
        self.settings.hosts[0].to_string()
    }

    /// The number of the database.
    pub(in crate::components) fn database(&self) -> i64 {
        self.settings.database
    }

    /// Whether it is a cluster, of which each server has a part of the keys.
    pub(in crate::components) fn is_cluster(&self) -> bool {
        self.servers.is_cluster()
    }

    /// Whether one command may have all these keys.
    pub(in crate::components) fn are_together<'a>(
        &self,
        keys: impl IntoIterator<Item = &'a str>,
    ) -> bool {
        let mut slots = keys.into_iter().map(|key| Slot::of(key.as_bytes()));
        let first = slots.next();
        !self.servers.is_cluster() || slots.all(|slot| Some(slot) == first)
    }

    async fn answers(
        &self,
        mut errands: Vec<Errand<'_>>,
        confirm: Confirm,
    ) -> Vec<Result<Value, BackendError>> {
        let mut answers: Vec<_> = errands.iter().map(|_| Err(unanswered())).collect();
        let retries = self.settings.retries;
        // One server alone sends nobody away; it can lack the script.
        let most_detours = if self.servers.is_cluster() {
            MOST_DETOURS
        } else {
            1
        };
        let (mut failures, mut detours) = (0, 0);
        while !errands.is_empty() {
            let since = Instant::now();
            let (mut fails, mut turns, mut doubts) = (false, false, false);
            let mut again = Vec::new();
            for (errand, answer) in self.servers.deliver(errands, confirm).await {
                let at = errand.at;
                let miss = match answer {
                    Ok(answer) => {
                        answers[at] = Ok(answer);
                        continue;
                    }
                    Err(miss) => miss,
                };
                doubts |= miss.doubts_owner();
                match errand.after(&miss, self.script.as_ref()) {
                    Next::Now(errand) if detours < most_detours => {
                        turns = true;
                        again.push(errand);
                    }
                    Next::Later(errand) if failures < retries.most => {
                        fails = true;
                        again.push(errand);
                    }
                    _ => answers[at] = Err(miss.into()),
                }
            }
            errands = again;
            detours += u32::from(turns);
            if doubts {
                self.servers.refresh(since).await;
            }
            if fails {
                failures += 1;
                sleep(retries.pause(failures)).await;
            }
        }
        answers
    }
}

/// No errand stays without an answer.
fn unanswered() -> BackendError {
    BackendError::Unavailable("no answer".to_owned())
}
