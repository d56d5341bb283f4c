//! Which server, and who the client is.

use std::sync::Arc;
use std::time::Duration;

use lapin::uri::{AMQPScheme, AMQPUri, SASLMechanism};
use rustls::ClientConfig;

use crate::components::Error;
use crate::components::client_tls::{self, Names};
use crate::components::metadata::{self, Reader};

const TLS: Names = Names {
    authority: "caCert",
    certificate: "clientCert",
    key: "clientKey",
};

/// The pace of heartbeats, as in Dapr 1.18.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// The longest pause between two tries to connect, as in Dapr 1.18.
const RECONNECT_WAIT: Duration = Duration::from_secs(3);
/// What is said of a URL that cannot be read. The URL may hold a password.
const URL: &str = "a URL such as \"amqp://user:password@host:5672/vhost\" or \"amqps://…\"";

/// A server. It has no `Debug`: its address holds the password.
pub(in crate::components) struct Server {
    uri: AMQPUri,
    tls: Option<Arc<ClientConfig>>,
    client_name: Option<String>,
    reconnect_wait: Duration,
}

impl Server {
    /// Reads the settings of pub/sub: `connectionString`, or the parts of it.
    pub(in crate::components) async fn of_pubsub(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let given = reader.text(&["connectionString", "host"])?;
        let protocol = reader.text(&["protocol"])?.unwrap_or("amqp");
        let hostname = reader.text(&["hostname"])?.unwrap_or("localhost");
        let username = reader.text(&["username"])?;
        let password = reader.text(&["password"])?;
        let mut uri = match given.filter(|text| !text.is_empty()) {
            Some(text) => parse("connectionString", text)?,
            None => {
                let text = format!("{protocol}://{hostname}");
                let mut uri = parse("hostname", &text)?;
                if !has_port(&text) {
                    uri.authority.port = uri.scheme.default_port();
                }
                uri
            }
        };
        if let Some(username) = username.filter(|text| !text.is_empty()) {
            username.clone_into(&mut uri.authority.userinfo.username);
        }
        if let Some(password) = password.filter(|text| !text.is_empty()) {
            password.clone_into(&mut uri.authority.userinfo.password);
        }
        Self::with(uri, reader).await
    }

    /// Reads the settings of a binding: `host` is the URL.
    pub(in crate::components) async fn of_binding(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let text = reader.required(&["host"], "missing host address")?;
        Self::with(parse("host", text)?, reader).await
    }

    async fn with(mut uri: AMQPUri, reader: &mut Reader<'_>) -> Result<Self, Error> {
        let heartbeat = reader.duration(&["heartBeat"])?.unwrap_or(HEARTBEAT);
        uri.query.heartbeat = Some(u16::try_from(heartbeat.as_secs()).unwrap_or(u16::MAX));
        let is_external = reader.truthy(&["saslExternal", "externalSasl"])?;
        if is_external {
            uri.query.auth_mechanism = Some(SASLMechanism::External);
        }
        let given = client_tls::read(reader, TLS).await?;
        let tls = match uri.scheme {
            AMQPScheme::AMQPS => Some(given.map_or_else(client_tls::of_system, Ok)?),
            // What is meant to be encrypted never goes in the clear.
            AMQPScheme::AMQP if given.is_some() || is_external => {
                let text = "\"caCert\", \"clientCert\" and \"saslExternal\" need TLS; accepted is \
                            an address that begins with amqps://";
                return Err(Error::Init(text.to_owned()));
            }
            AMQPScheme::AMQP => None,
        };
        let wait = reader.duration(&[
            "reconnectWaitSeconds",
            "reconnectWait",
            "reconnectWaitInSeconds",
        ])?;
        Ok(Self {
            uri,
            tls: tls.map(Arc::new),
            client_name: reader.text(&["clientName"])?.map(str::to_owned),
            reconnect_wait: wait.unwrap_or(RECONNECT_WAIT),
        })
    }

    /// As the client wants it.
    pub(super) fn uri(&self) -> AMQPUri {
        self.uri.clone()
    }

    /// Its name or address.
    pub(super) fn host(&self) -> &str {
        &self.uri.authority.host
    }

    /// Its port.
    pub(super) fn port(&self) -> u16 {
        self.uri.authority.port
    }

    /// How it is spoken to over TLS, where it is.
    pub(super) fn tls(&self) -> Option<Arc<ClientConfig>> {
        self.tls.clone()
    }

    /// What the connection is called in the broker's own lists.
    pub(super) fn client_name(&self) -> Option<&str> {
        self.client_name.as_deref()
    }

    /// The longest pause between two tries to connect.
    pub(super) fn reconnect_wait(&self) -> Duration {
        self.reconnect_wait
    }
}

fn parse(name: &'static str, text: &str) -> Result<AMQPUri, Error> {
    let invalid = || metadata::Error::Invalid {
        name,
        accepted: URL,
    };
    let mut uri: AMQPUri = text.trim().parse().map_err(|_| invalid())?;
    if uri.vhost.is_empty() {
        "/".clone_into(&mut uri.vhost);
    }
    // The parser takes an IPv6 address for no host, and no host for the own machine.
    let (host, _) = authority(text);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err(invalid().into());
    }
    host.clone_into(&mut uri.authority.host);
    Ok(uri)
}

fn has_port(text: &str) -> bool {
    authority(text).1
}

/// The host of a URL, and whether a port follows it.
fn authority(text: &str) -> (&str, bool) {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest).trim();
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..end];
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    match host.rsplit_once(':') {
        Some((name, _)) if !name.starts_with('[') || name.ends_with(']') => (name, true),
        _ => (host, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::contract;

    async fn read(properties: &[(&str, &str)]) -> Result<Server, String> {
        let component = contract::component("pubsub.rabbitmq", properties);
        let mut reader = Reader::new(&component).unwrap();
        let server = Server::of_pubsub(&mut reader).await;
        server.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn reads_a_url_or_its_parts() {
        for (properties, expected) in [
            (
                vec![("connectionString", "amqp://u:p%40@broker:5673/v%2fh")],
                ("u", "p@", "broker", 5673, "v/h"),
            ),
            (
                vec![("connectionString", "amqp://broker/")],
                ("guest", "guest", "broker", 5672, "/"),
            ),
            (
                vec![("connectionString", "amqp://[::1]:5674")],
                ("guest", "guest", "::1", 5674, "/"),
            ),
            (
                vec![("connectionString", "amqp://[::1]")],
                ("guest", "guest", "::1", 5672, "/"),
            ),
            (
                vec![
                    ("hostname", "10.0.0.1"),
                    ("username", "u"),
                    ("password", "p/:@"),
                ],
                ("u", "p/:@", "10.0.0.1", 5672, "/"),
            ),
            (vec![], ("guest", "guest", "localhost", 5672, "/")),
        ] {
            let uri = read(&properties).await.ok().unwrap().uri;
            let user = &uri.authority.userinfo;
            let read = (&*user.username, &*user.password, &*uri.authority.host);
            let (username, password, host, port, vhost) = expected;
            assert_eq!(read, (username, password, host), "{properties:?}");
            assert_eq!((uri.authority.port, &*uri.vhost), (port, vhost));
            assert_eq!(uri.query.heartbeat, Some(10));
        }
    }

    #[tokio::test]
    async fn never_shows_an_address_and_never_falls_back_to_plain_text() {
        for (properties, expected) in [
            (
                vec![("connectionString", "http://u:hunter2@broker")],
                format!("the value of \"connectionString\" is not {URL}"),
            ),
            (
                vec![("connectionString", "amqp://u:hunter2@")],
                format!("the value of \"connectionString\" is not {URL}"),
            ),
            (
                vec![
                    ("connectionString", "amqp://broker"),
                    ("saslExternal", "true"),
                ],
                "\"caCert\", \"clientCert\" and \"saslExternal\" need TLS; accepted is an address \
                 that begins with amqps://"
                    .to_owned(),
            ),
        ] {
            let error = read(&properties).await.err().unwrap();
            assert_eq!(error, expected);
        }
    }

    #[tokio::test]
    async fn tls_is_what_the_scheme_says() {
        let authority = crate::testing::certificates::Authority::new().certificate();
        let server = read(&[
            ("connectionString", "amqps://broker"),
            ("caCert", &authority),
        ])
        .await;
        let server = server.ok().unwrap();
        assert!(server.tls().is_some());
        assert_eq!(server.port(), 5671);
    }
}
