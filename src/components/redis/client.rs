//! Connections to a server.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Cmd, FromRedisValue, Pipeline, ProtocolVersion, RedisConnectionInfo,
    RedisError, Value,
};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::failure::{failure, is_of_connection, is_passing};
use super::hosts::Host;
use super::settings::{Login, Settings};
use super::{sentinel, socket};
use crate::components::message::BrokerError;

/// How many commands wait for their turn on a connection.
const QUEUE: usize = 256;

/// A connection, which many may use at once. It ends with its last clone.
#[derive(Clone)]
pub(in crate::components) struct Connection {
    commands: MultiplexedConnection,
    server: Arc<str>,
    /// What carries them. Dropped, it ends.
    driver: Arc<JoinSet<()>>,
}

impl Connection {
    /// What takes commands, for as long as the connection is there.
    pub(in crate::components) fn commands(&mut self) -> &mut MultiplexedConnection {
        &mut self.commands
    }

    /// The server, for texts.
    pub(in crate::components) fn server(&self) -> &str {
        &self.server
    }
}

/// Whether a command may be sent again that may have reached the server already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::components) enum Repeat {
    /// It may: twice is as good as once, or better than not at all.
    Allowed,
    /// It may not.
    Denied,
}

/// A server, with a connection that all short commands share.
pub(in crate::components) struct Client {
    settings: Settings,
    shared: Mutex<Option<Connection>>,
}

impl Client {
    /// A client that connects when it is first needed.
    pub(in crate::components) fn new(settings: Settings) -> Self {
        Self {
            settings,
            shared: Mutex::new(None),
        }
    }

    /// Whether the server is there and lets the client in.
    pub(in crate::components) async fn ping(&self) -> Result<(), BrokerError> {
        self.ask(&redis::cmd("PING"), Repeat::Allowed).await
    }

    /// A connection of one's own, for commands that wait at the server for so long.
    pub(in crate::components) async fn open(
        &self,
        wait: Duration,
    ) -> Result<Connection, BrokerError> {
        let limit = self.settings.answer_timeout.map(|limit| limit + wait);
        let opened = self.connect(self.purpose(limit)).await;
        opened.map_err(|(host, error)| failure(&error, &host.to_string()))
    }

    /// A connection of one's own, over which the server also tells what it was not asked for:
    /// `pushes` takes it, without waiting. Servers before Redis 6 refuse it.
    pub(in crate::components) async fn open_with_pushes(
        &self,
        pushes: Arc<dyn AsyncPushSender>,
    ) -> Result<Connection, BrokerError> {
        let mut purpose = self.purpose(self.settings.answer_timeout);
        purpose.pushes = Some(pushes);
        let opened = self.connect(purpose).await;
        opened.map_err(|(host, error)| failure(&error, &host.to_string()))
    }

    /// The answer to a command.
    pub(in crate::components) async fn ask<T: FromRedisValue>(
        &self,
        command: &Cmd,
        repeat: Repeat,
    ) -> Result<T, BrokerError> {
        let answered = self.answer(Request::One(command), repeat).await?;
        let parsed = redis::from_redis_value(answered);
        parsed.map_err(|error| BrokerError::Refused(error.to_string()))
    }

    /// The answers to several commands that are sent together.
    pub(in crate::components) async fn ask_all(
        &self,
        commands: &Pipeline,
    ) -> Result<Vec<Value>, BrokerError> {
        match self
            .answer(Request::Several(commands), Repeat::Allowed)
            .await?
        {
            Value::Array(answers) => Ok(answers),
            _ => Err(BrokerError::Refused("no list of answers".to_owned())),
        }
    }

    /// The server, for texts.
    pub(in crate::components) fn server(&self) -> String {
        self.settings.hosts[0].to_string()
    }

    /// The number of the database.
    pub(in crate::components) fn database(&self) -> i64 {
        self.settings.database
    }

    async fn answer(&self, request: Request<'_>, repeat: Repeat) -> Result<Value, BrokerError> {
        let retries = self.settings.retries;
        let mut failures = 0;
        loop {
            let (server, error, was_sent) = match self.shared().await {
                Ok(connection) => match self.send(request, &connection).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => (connection.server.to_string(), error, true),
                },
                Err((host, error)) => (host.to_string(), error, false),
            };
            failures += 1;
            let may_repeat = repeat == Repeat::Allowed || !was_sent;
            if failures > retries.most || !may_repeat || !is_passing(&error) {
                return Err(failure(&error, &server));
            }
            sleep(retries.pause(failures)).await;
        }
    }

    async fn send(
        &self,
        request: Request<'_>,
        connection: &Connection,
    ) -> Result<Value, RedisError> {
        let mut commands = connection.commands.clone();
        let answered = match request {
            Request::One(command) => commands.send_packed_command(command).await,
            Request::Several(pipeline) => commands
                .send_packed_commands(pipeline, 0, pipeline.len())
                .await
                .map(Value::Array),
        };
        let answered = answered.and_then(|answer| match request {
            Request::One(_) => answer.extract_error(),
            Request::Several(_) => Ok(answer),
        });
        if answered.as_ref().is_err_and(is_of_connection) {
            self.forget(connection).await;
        }
        answered
    }

    /// The shared connection. Those who come while it is opened wait for it.
    async fn shared(&self) -> Result<Connection, (Host, RedisError)> {
        let mut shared = self.shared.lock().await;
        if let Some(connection) = &*shared {
            return Ok(connection.clone());
        }
        let purpose = self.purpose(self.settings.answer_timeout);
        let connection = self.connect(purpose).await?;
        Ok(shared.insert(connection).clone())
    }

    /// The next command opens another.
    async fn forget(&self, connection: &Connection) {
        let mut shared = self.shared.lock().await;
        if shared
            .as_ref()
            .is_some_and(|shared| Arc::ptr_eq(&shared.driver, &connection.driver))
        {
            *shared = None;
        }
    }

    fn purpose(&self, limit: Option<Duration>) -> Purpose<'_> {
        Purpose {
            login: &self.settings.login,
            database: self.settings.database,
            limit,
            pushes: None,
        }
    }

    /// A connection to the primary, or to the first host that is there.
    async fn connect(&self, purpose: Purpose<'_>) -> Result<Connection, (Host, RedisError)> {
        let settings = &self.settings;
        let found;
        let hosts = match &settings.sentinel {
            Some(sentinel) => {
                found = [sentinel::primary(settings, sentinel).await?];
                &found[..]
            }
            None => &settings.hosts[..],
        };
        let mut last = None;
        for host in hosts {
            match connect(settings, host, purpose.clone()).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = Some((host.clone(), error)),
            }
        }
        Err(last.expect("there is at least one host"))
    }
}

#[derive(Clone, Copy)]
enum Request<'a> {
    One(&'a Cmd),
    Several(&'a Pipeline),
}

/// What a connection is for.
#[derive(Clone)]
pub(super) struct Purpose<'a> {
    /// Who comes.
    pub(super) login: &'a Login,
    /// The database.
    pub(super) database: i64,
    /// For an answer.
    pub(super) limit: Option<Duration>,
    /// Takes what the server was not asked for.
    pub(super) pushes: Option<Arc<dyn AsyncPushSender>>,
}

/// A connection that is let in and has chosen its database.
pub(super) async fn connect(
    settings: &Settings,
    host: &Host,
    purpose: Purpose<'_>,
) -> Result<Connection, RedisError> {
    let Purpose {
        login,
        database,
        limit,
        pushes,
    } = purpose;
    let mut info = RedisConnectionInfo::default().set_db(database);
    if let Some(user) = &login.user {
        info = info.set_username(user);
    }
    if let Some(password) = &login.password {
        // Exposed to the server that it is for.
        info = info.set_password(password.expose());
    }
    let mut config = AsyncConnectionConfig::new()
        .set_response_timeout(limit)
        .set_pipeline_buffer_size(QUEUE);
    if let Some(pushes) = pushes {
        info = info.set_protocol(ProtocolVersion::RESP3);
        config = config.set_push_sender(pushes);
    }
    let opening = async {
        let stream = socket::open(host, settings.tls.as_ref()).await?;
        MultiplexedConnection::new_with_config(&info, stream, config).await
    };
    let (commands, driving) = match settings.dial_timeout {
        Some(limit) => timeout(limit, opening)
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time"))??,
        None => opening.await?,
    };
    let mut driver = JoinSet::new();
    driver.spawn(driving);
    Ok(Connection {
        commands,
        server: host.to_string().into(),
        driver: Arc::new(driver),
    })
}
