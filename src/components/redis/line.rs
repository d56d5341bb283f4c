//! The connection to a server that many share, and that comes back by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use redis::aio::AsyncPushSender;
use redis::{Cmd, RedisError, Value};
use tokio::sync::Mutex;

use super::connection::{Connection, Purpose, connect};
use super::errand::Errand;
use super::failure::{Miss, Unreached, is_of_connection};
use super::hosts::Host;
use super::replicas;
use super::sentinel;
use super::settings::Settings;

/// How many servers have a write when its answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::components) enum Confirm {
    /// The primary.
    Primary,
    /// And every replica that is with it.
    Replicas,
}

/// Where a line leads to.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// The server that the settings name, or that sentinels know.
    Configured,
    /// A server of a cluster.
    Node(Host),
}

/// A connection that opens when it is first needed, and again after it broke.
pub(super) struct Line {
    settings: Arc<Settings>,
    target: Target,
    confirm: Confirm,
    current: ArcSwapOption<Connection>,
    /// Held while a connection is opened: when the last try failed, and why.
    opening: Mutex<Option<(Instant, Unreached)>>,
}

impl Line {
    pub(super) fn new(settings: Arc<Settings>, target: Target, confirm: Confirm) -> Self {
        Self {
            settings,
            target,
            confirm,
            current: ArcSwapOption::empty(),
            opening: Mutex::new(None),
        }
    }

    /// Both lines to a server. What waits for replicas holds up what comes after it, so that it
    /// has a line of its own.
    pub(super) fn pair(settings: &Arc<Settings>, target: &Target) -> [Arc<Self>; 2] {
        [Confirm::Primary, Confirm::Replicas].map(|confirm| {
            let settings = Arc::clone(settings);
            Arc::new(Self::new(settings, target.clone(), confirm))
        })
    }

    /// A connection of one's own, with this limit for an answer, and what takes in what the server
    /// was not asked for.
    pub(super) async fn open(
        &self,
        limit: Option<Duration>,
        pushes: Option<Arc<dyn AsyncPushSender>>,
    ) -> Result<Connection, Unreached> {
        let settings = &*self.settings;
        let purpose = Purpose {
            login: &settings.login,
            database: settings.database,
            limit,
            pushes,
        };
        let found;
        let hosts = match (&self.target, &settings.sentinel) {
            (Target::Node(host), _) => std::slice::from_ref(host),
            (Target::Configured, Some(sentinel)) => {
                found = [sentinel::primary(settings, sentinel).await?];
                &found[..]
            }
            (Target::Configured, None) => &settings.hosts[..],
        };
        let mut last = None;
        for host in hosts {
            match connect(settings, host, purpose.clone()).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = Some(Unreached::new(host, error)),
            }
        }
        Err(last.expect("there is at least one host"))
    }

    /// The answers to commands that are sent together, in their order.
    pub(super) async fn send(&self, errands: &[Errand<'_>]) -> Vec<Result<Value, Miss>> {
        let connection = match self.connection().await {
            Ok(connection) => connection,
            Err(unreached) => return all(errands, Miss::Unreached(unreached)),
        };
        let failed = |error| Miss::Failed {
            host: connection.host().clone(),
            error,
        };
        let answers = match self.exchange(&connection, errands).await {
            Ok(answers) => answers,
            Err(error) => {
                self.forget(&connection, &error);
                return all(errands, failed(error));
            }
        };
        let answers = answers.into_iter().map(|answer| {
            answer.extract_error().map_err(|error| {
                self.forget(&connection, &error);
                failed(error)
            })
        });
        let answers: Vec<_> = answers.collect();
        if self.confirm == Confirm::Primary || answers.iter().all(Result::is_err) {
            return answers;
        }
        match replicas::wait(&connection).await {
            Ok(true) => answers,
            Ok(false) => confirmed(answers, &Miss::Behind(connection.host().clone())),
            Err(error) => {
                self.forget(&connection, &error);
                confirmed(answers, &failed(error))
            }
        }
    }

    /// The answers as they are, errors of the server among them.
    async fn exchange(
        &self,
        connection: &Connection,
        errands: &[Errand<'_>],
    ) -> Result<Vec<Value>, RedisError> {
        let mut connection = connection.clone();
        if let [errand] = errands
            && !errand.asks()
        {
            let answer = connection.commands().send_packed_command(&errand.command);
            return Ok(vec![answer.await?]);
        }
        let mut pipeline = redis::pipe();
        for errand in errands {
            if errand.asks() {
                pipeline.add_command(redis::cmd("ASKING"));
            }
            pipeline.add_command(Cmd::clone(&errand.command));
        }
        let count = pipeline.len();
        let commands = connection.commands();
        let mut answers = commands
            .send_packed_commands(&pipeline, 0, count)
            .await?
            .into_iter();
        let mut wanted = Vec::with_capacity(errands.len());
        for errand in errands {
            if errand.asks() {
                answers.next();
            }
            wanted.extend(answers.next());
        }
        if wanted.len() < errands.len() {
            return Err(std::io::Error::other("too few answers").into());
        }
        Ok(wanted)
    }

    /// The connection. Those who come while it is opened wait for it, and share the failure.
    pub(super) async fn connection(&self) -> Result<Arc<Connection>, Unreached> {
        if let Some(connection) = self.current.load_full() {
            return Ok(connection);
        }
        let came = Instant::now();
        let mut opening = self.opening.lock().await;
        if let Some(connection) = self.current.load_full() {
            return Ok(connection);
        }
        if let Some((at, unreached)) = &*opening
            && *at >= came
        {
            return Err(unreached.clone());
        }
        match self.open(self.limit(), None).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                self.current.store(Some(Arc::clone(&connection)));
                Ok(connection)
            }
            Err(unreached) => {
                *opening = Some((Instant::now(), unreached.clone()));
                Err(unreached)
            }
        }
    }

    /// Whether there is a connection.
    pub(super) fn is_open(&self) -> bool {
        self.current.load().is_some()
    }

    fn limit(&self) -> Option<Duration> {
        let limit = self.settings.answer_timeout;
        match self.confirm {
            Confirm::Primary => limit,
            Confirm::Replicas => limit.map(|limit| limit + replicas::WAIT),
        }
    }

    /// After an error of the connection, the next command opens another.
    fn forget(&self, connection: &Arc<Connection>, error: &RedisError) {
        if is_of_connection(error) {
            self.current.compare_and_swap(connection, None);
        }
    }
}

fn all(errands: &[Errand<'_>], miss: Miss) -> Vec<Result<Value, Miss>> {
    vec![Err(miss); errands.len()]
}

/// What succeeded is not confirmed.
fn confirmed(answers: Vec<Result<Value, Miss>>, miss: &Miss) -> Vec<Result<Value, Miss>> {
    let unconfirmed = |answer: Result<Value, Miss>| answer.and(Err(miss.clone()));
    answers.into_iter().map(unconfirmed).collect()
}
