//! One connection, which is made when it is needed and again when it broke.

use std::sync::Arc;
use std::time::Duration;

use lapin::{Channel, Connection, ConnectionProperties};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::broker_error;
use super::server::Server;
use super::socket::{self, Attempt};
use crate::components::BackendError;

/// How long a connection may take until it stands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// The pause after the first try that failed.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// A connection to the server.
pub(in crate::components) struct Link {
    server: Arc<Server>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Arc<Connection>>,
    failure: Option<Failure>,
}

/// The last try.
struct Failure {
    error: BackendError,
    pause: Duration,
    until: Instant,
}

/// A channel, with the connection that it lives on.
#[derive(Clone)]
pub(in crate::components) struct Open {
    /// The channel.
    pub(super) channel: Channel,
    // Dropped, it would close.
    _connection: Arc<Connection>,
}

impl Link {
    /// To a server, not yet connected.
    pub(in crate::components) fn new(server: Arc<Server>) -> Self {
        Self {
            server,
            state: Mutex::default(),
        }
    }

    /// Opens a channel, and connects where there is no connection. Soon after a try that failed it
    /// fails without another.
    pub(in crate::components) async fn open(&self) -> Result<Open, BackendError> {
        let connection = self.connection().await?;
        let channel = connection.create_channel().await;
        let channel = channel.map_err(|error| broker_error("no channel", &error))?;
        Ok(Open {
            channel,
            _connection: connection,
        })
    }

    async fn connection(&self) -> Result<Arc<Connection>, BackendError> {
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.connection
            && connection.status().connected()
        {
            return Ok(Arc::clone(connection));
        }
        if let Some(failure) = &state.failure
            && Instant::now() < failure.until
        {
            return Err(failure.error.clone());
        }
        state.connection = None;
        match connect(&self.server).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                state.connection = Some(Arc::clone(&connection));
                state.failure = None;
                Ok(connection)
            }
            Err(error) => {
                let before = state.failure.take().map(|failure| failure.pause * 2);
                let longest = self.server.reconnect_wait();
                let pause = before.unwrap_or(FIRST_PAUSE).min(longest);
                state.failure = Some(Failure {
                    error: error.clone(),
                    pause,
                    until: Instant::now() + pause,
                });
                Err(error)
            }
        }
    }
}

async fn connect(server: &Arc<Server>) -> Result<Connection, BackendError> {
    let mut properties = ConnectionProperties::default();
    if let Some(name) = server.client_name() {
        properties = properties.with_connection_name(name.into());
    }
    let attempt = Attempt::default();
    let (target, slot) = (Arc::clone(server), attempt.slot());
    let opening = async move |_, _| {
        let opened = socket::open(Arc::clone(&target), Arc::clone(&slot)).await;
        opened.map_err(lapin::Error::from)
    };
    let connecting = Connection::connector(server.uri(), socket::runtime(), opening, properties);
    let unavailable = format!("no connection to {}:{}", server.host(), server.port());
    match timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(connection)) => {
            attempt.succeeds();
            Ok(connection)
        }
        Ok(Err(error)) => Err(broker_error(&unavailable, &error)),
        Err(_) => {
            let seconds = CONNECT_TIMEOUT.as_secs();
            let text = format!("{unavailable}: no answer within {seconds} s");
            Err(BackendError::Unavailable(text))
        }
    }
}
