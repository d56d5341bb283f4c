//! The connection to the servers. The client keeps it up by itself.

use async_nats::jetstream::{self, Context, context::ContextBuilder};
use async_nats::{ConnectOptions, Event, ServerAddr};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::components::Error;
use crate::components::client_tls::{self, Names};
use crate::components::metadata::{self, Reader};

const TLS: Names = Names {
    authority: "caCert",
    certificate: "tls_client_cert",
    key: "tls_client_key",
};

/// What is said of addresses that cannot be read. They may hold a password.
const URLS: &str = "a URL such as \"nats://host:4222\" or \"tls://…\", or several with commas";
/// How many messages wait for the server's word at once.
const IN_FLIGHT: usize = 1024;

/// A connection.
#[derive(Clone)]
pub(in crate::components) struct Nats {
    /// JetStream over it.
    pub(in crate::components) context: Context,
    /// Changes whenever the connection stands anew.
    pub(super) connected: watch::Receiver<u64>,
}

impl Nats {
    /// Reads the settings and connects.
    ///
    /// # Errors
    ///
    /// Settings that cannot be used, and servers that are not there or let nobody in.
    pub(in crate::components) async fn start(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let addresses = addresses(reader.required(&["natsURL"], "missing nats URL")?)?;
        let options = credentials(reader)?;
        let (sender, connected) = watch::channel(0);
        let options = with_tls(options, &addresses, reader).await?;
        let name = reader.text(&["name"])?.filter(|name| !name.is_empty());
        let options = options
            .name(name.unwrap_or("dapr.io - pubsub.jetstream"))
            .event_callback(move |event| {
                tell(&event, &sender);
                std::future::ready(())
            });
        let client = options.connect(addresses).await.map_err(|error| {
            let text = format!("no connection to the servers of \"natsURL\": {error}");
            Error::Init(text)
        })?;
        let domain = reader.text(&["domain"])?.filter(|text| !text.is_empty());
        let prefix = reader.text(&["apiPrefix"])?.filter(|text| !text.is_empty());
        let builder = ContextBuilder::new();
        let builder = match (prefix, domain) {
            (Some(prefix), _) => builder.api_prefix(prefix).max_ack_inflight(IN_FLIGHT),
            (None, Some(domain)) => builder.domain(domain).max_ack_inflight(IN_FLIGHT),
            (None, None) => builder.max_ack_inflight(IN_FLIGHT),
        };
        let context = builder.build(client);
        Ok(Self { context, connected })
    }
}

fn addresses(text: &str) -> Result<Vec<ServerAddr>, Error> {
    let addresses = text.split(',').map(|one| one.trim().parse());
    let addresses = addresses.collect::<Result<Vec<ServerAddr>, _>>();
    addresses.map_err(|_| {
        metadata::Error::Invalid {
            name: "natsURL",
            accepted: URLS,
        }
        .into()
    })
}

fn credentials(reader: &mut Reader<'_>) -> Result<ConnectOptions, Error> {
    let mut given = |name| -> Result<Option<&str>, Error> {
        Ok(reader.text(&[name])?.filter(|text| !text.is_empty()))
    };
    let (jwt, seed) = (given("jwt")?, given("seedKey")?);
    let (token, username) = (given("token")?, given("username")?);
    let password = given("password")?;
    match (jwt, seed) {
        (Some(jwt), Some(seed)) => {
            // The form of a file of credentials.
            let text = format!(
                "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
                 -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
            );
            let options = ConnectOptions::with_credentials(&text);
            return options.map_err(|_| {
                let text = "\"jwt\" and \"seedKey\" are not the JWT and the seed of a user";
                Error::Init(text.to_owned())
            });
        }
        (Some(_), None) => return Err(metadata::Error::Missing("missing seed key").into()),
        (None, Some(_)) => return Err(metadata::Error::Missing("missing jwt").into()),
        (None, None) => {}
    }
    Ok(match (token, username) {
        (Some(token), _) => ConnectOptions::with_token(token.to_owned()),
        (None, Some(username)) => {
            let password = password.unwrap_or_default().to_owned();
            ConnectOptions::with_user_and_password(username.to_owned(), password)
        }
        (None, None) => ConnectOptions::new(),
    })
}

async fn with_tls(
    options: ConnectOptions,
    addresses: &[ServerAddr],
    reader: &mut Reader<'_>,
) -> Result<ConnectOptions, Error> {
    if let Some(config) = client_tls::read(reader, TLS).await? {
        // What is meant to be encrypted never goes in the clear.
        return Ok(options.require_tls(true).tls_client_config(config));
    }
    if addresses.iter().any(ServerAddr::tls_required) {
        return Ok(options.tls_client_config(client_tls::of_system()?));
    }
    // A server may ask for TLS where the address does not.
    Ok(match client_tls::of_system() {
        Ok(config) => options.tls_client_config(config),
        Err(_) => options,
    })
}

fn tell(event: &Event, connected: &watch::Sender<u64>) {
    match event {
        Event::Connected => {
            info!("Connected to NATS");
            connected.send_modify(|count| *count += 1);
        }
        event => warn!(%event, "The connection to NATS"),
    }
}

/// Whether a subject is one that a message can be published to.
pub(in crate::components) fn is_subject(text: &str) -> bool {
    let is_token = |token: &str| !token.is_empty() && token != "*" && token != ">";
    text.split('.').all(is_token) && !text.contains(|c: char| c.is_whitespace() || c == '\0')
}

/// What an error of a request to JetStream means: whether the server answered, and refused.
pub(in crate::components) fn is_refusal(error: Option<&jetstream::Error>) -> bool {
    error.is_some_and(|error| (400..500).contains(&error.code()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::contract;

    async fn refusal(properties: &[(&str, &str)]) -> String {
        let component = contract::component("pubsub.jetstream", properties);
        let mut reader = Reader::new(&component).unwrap();
        let started = Nats::start(&mut reader).await;
        started.err().unwrap().to_string()
    }

    #[tokio::test]
    async fn says_what_is_wrong_without_showing_it() {
        let url = ("natsURL", "nats://127.0.0.1:1");
        for (properties, expected) in [
            (vec![], "missing nats URL"),
            (vec![url, ("jwt", "hunter2")], "missing seed key"),
            (vec![url, ("seedKey", "hunter2")], "missing jwt"),
            (
                vec![url, ("seedKey", "hunter2"), ("jwt", "hunter2")],
                "\"jwt\" and \"seedKey\" are not the JWT and the seed of a user",
            ),
            (
                vec![url, ("tls_client_cert", "hunter2")],
                "the value of \"tls_client_cert\" is not a text in PEM form or the path of a file \
                 with one",
            ),
            (
                vec![("natsURL", "http://u:hunter2@host")],
                "the value of \"natsURL\" is not a URL such as \"nats://host:4222\" or \
                 \"tls://…\", or several with commas",
            ),
        ] {
            assert_eq!(refusal(&properties).await, expected);
        }
        let error = refusal(&[("natsURL", "nats://u:hunter2@127.0.0.1:1")]).await;
        assert!(error.starts_with("no connection to the servers"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn messages_go_to_whole_subjects() {
        for subject in ["orders", "orders.new", "a-b_c", "orders.a*b"] {
            assert!(is_subject(subject), "{subject}");
        }
        for none in [
            "", "orders.", ".orders", "orders.*", "orders.>", "or ders", "a\r\nb",
        ] {
            assert!(!is_subject(none), "{none}");
        }
    }
}
