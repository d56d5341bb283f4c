//! One connection to one server.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo, RedisError};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::hosts::Host;
use super::settings::{Login, Settings};
use super::socket;

/// How many commands wait for their turn on a connection.
const QUEUE: usize = 256;

/// A connection, which many may use at once. It ends with its last clone.
#[derive(Clone)]
pub(in crate::components) struct Connection {
    commands: MultiplexedConnection,
    host: Host,
    server: Arc<str>,
    /// What carries them. Dropped, it ends.
    _driver: Arc<JoinSet<()>>,
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

    pub(super) fn host(&self) -> &Host {
        &self.host
    }
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
        host: host.clone(),
        server: host.to_string().into(),
        _driver: Arc::new(driver),
    })
}
