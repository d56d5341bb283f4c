//! A connection that hears what others say on channels.

use std::collections::VecDeque;
use std::future::poll_fn;

use tokio::time::timeout;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Client, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failure::Failure;
use super::settings::Settings;
use super::table::quoted;

type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// Hears on channels. It is of use as long as its connection stands; what is said meanwhile, no
/// later connection hears.
pub(in crate::components) struct Listener {
    connection: Connection<Socket, Stream>,
    /// Dropped, the connection would end.
    _client: Client,
    server: String,
    /// What came before the last of the channels was there.
    early: VecDeque<String>,
}

impl Listener {
    /// Connects and listens. What is said on the channels after this is heard.
    pub(in crate::components) async fn open(
        settings: &Settings,
        channels: &[String],
    ) -> Result<Self, Failure> {
        let server = settings.server();
        let opened = timeout(settings.timeout, Self::listen(settings, channels, &server)).await;
        opened.unwrap_or_else(|_| {
            let seconds = settings.timeout.as_secs_f32();
            Err(Failure::late(&server, format_args!("{seconds} s")))
        })
    }

    async fn listen(
        settings: &Settings,
        channels: &[String],
        server: &str,
    ) -> Result<Self, Failure> {
        let failed = |error: tokio_postgres::Error| Failure::of(server, &error);
        let tls = settings.tls.clone();
        let (client, mut connection) = settings.config.connect(tls).await.map_err(failed)?;
        let statements = channels
            .iter()
            .map(|name| format!("LISTEN {}", quoted(name)));
        let statements = statements.collect::<Vec<_>>().join(";");
        let mut early = VecDeque::new();
        {
            let mut listening = std::pin::pin!(client.batch_execute(&statements));
            loop {
                tokio::select! {
                    done = &mut listening => break done.map_err(failed)?,
                    said = said(&mut connection, server) => early.extend(said?),
                }
            }
        }
        Ok(Self {
            connection,
            _client: client,
            server: server.to_owned(),
            early,
        })
    }

    /// What is said next, however long it takes. Dropping the future loses nothing.
    pub(in crate::components) async fn next(&mut self) -> Result<String, Failure> {
        loop {
            if let Some(early) = self.early.pop_front() {
                return Ok(early);
            }
            if let Some(said) = said(&mut self.connection, &self.server).await? {
                return Ok(said);
            }
        }
    }
}

/// The next message of a connection, where it is one of a channel.
async fn said(
    connection: &mut Connection<Socket, Stream>,
    server: &str,
) -> Result<Option<String>, Failure> {
    match poll_fn(|context| connection.poll_message(context)).await {
        Some(Ok(AsyncMessage::Notification(said))) => Ok(Some(said.payload().to_owned())),
        Some(Ok(_)) => Ok(None),
        Some(Err(error)) => Err(Failure::of(server, &error)),
        None => Err(Failure::ended(server)),
    }
}
