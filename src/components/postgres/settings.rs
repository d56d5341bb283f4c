//! What the metadata of a component says of its server, in the fields of Dapr 1.18.

use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::warn;

use super::parameters::Parameters;
use super::tls::Tls;
use super::{connection_string, target};
use crate::components::metadata::{self, Reader};
use crate::components::{Error, ResolvedComponent};

/// How long one use of the database may take where `timeout` says nothing, as in Dapr 1.18.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The shortest that is accepted.
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(1);
/// The most connections that can be asked for.
const MAX_CONNECTIONS: u32 = 10_000;
/// The fewest connections of a pool whose size nobody named.
const USUAL_CONNECTIONS: usize = 4;
/// How long an unused connection is kept, and how long any, as Dapr's client does.
const IDLE: Duration = Duration::from_secs(30 * 60);
const AGE: Duration = Duration::from_secs(60 * 60);
/// Fields that stand for parameters of the connection string, and come before them.
const SINGLE: [(&str, &str); 7] = [
    ("host", "host"),
    ("hostaddr", "hostaddr"),
    ("port", "port"),
    ("user", "user"),
    ("password", "password"),
    ("database", "dbname"),
    ("sslRootCert", "sslrootcert"),
];

/// Ways to run a statement, and whether it is prepared under a name that a proxy may lose.
const MODES: &[(&str, bool)] = &[
    ("cache_statement", true),
    ("cache_describe", false),
    ("describe_exec", false),
    ("exec", false),
    ("simple_protocol", false),
];

/// Limits of a pool of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// The most connections.
    pub(super) connections: usize,
    /// How long an unused one is kept.
    pub(super) idle: Duration,
    /// How long any is kept.
    pub(super) age: Duration,
}

/// A server, and how it is spoken to.
#[derive(Clone)]
pub(in crate::components) struct Settings {
    pub(super) config: Config,
    pub(super) tls: MakeRustlsConnect,
    /// For one use of the database, and for a connection until it can be used.
    pub(super) timeout: Duration,
    pub(super) limits: Limits,
    /// Whether statements are prepared once a connection.
    pub(super) prepares: bool,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// What is missing, cannot be used, or is not served. No text shows a value.
    pub(in crate::components) async fn read(
        component: &ResolvedComponent,
        reader: &mut Reader<'_>,
    ) -> Result<Self, Error> {
        refuse_unserved(reader)?;
        let mut parameters = parameters(reader)?;
        let timeout = timeout(reader)?;
        let limits = limits(reader, &mut parameters)?;
        let mode = parameters.word("default_query_exec_mode", MODES)?;
        let prepares = mode_of_field(reader)?.or(mode).unwrap_or(true);
        let tls = Tls::take(&mut parameters).await?;
        let mut config = Config::new();
        config
            .ssl_mode(tls.mode)
            .ssl_negotiation(tls.negotiation)
            .connect_timeout(timeout);
        target::take(component, &mut config, parameters)?;
        if tls.mode == SslMode::Require && !tls.is_verified {
            warn!(
                component = component.name,
                "\"sslmode\" is \"require\" without \"sslrootcert\": the server's certificate is \
                 not checked, and whoever can take over its address gets the password and the data"
            );
        }
        Ok(Self {
            config,
            tls: MakeRustlsConnect::new(tls.config),
            timeout,
            limits,
            prepares,
        })
    }

    /// The server, for texts.
    pub(super) fn server(&self) -> String {
        let port = |at: usize| {
            let ports = self.config.get_ports();
            ports.get(at).or(ports.first()).copied().unwrap_or(5432)
        };
        let hosts = self.config.get_hosts().iter().enumerate();
        let named: Vec<_> = hosts
            .map(|(at, host)| match host {
                Host::Tcp(name) => format!("{name}:{}", port(at)),
                Host::Unix(path) => path.display().to_string(),
            })
            .collect();
        format!("PostgreSQL at {}", named.join(","))
    }
}

fn refuse_unserved(reader: &mut Reader<'_>) -> Result<(), Error> {
    for name in ["useAzureAD", "useAWSIAM"] {
        if reader.truthy(&[name])? {
            return Err(Error::Init(format!(
                "{name:?} is not served by this build; accepted are a user with a password, and a \
                 client certificate, in \"connectionString\""
            )));
        }
    }
    Ok(())
}

/// The connection string with the single fields over it.
fn parameters(reader: &mut Reader<'_>) -> Result<Parameters, Error> {
    let text = reader.text(&["connectionString", "url"])?.unwrap_or("");
    let mut parameters =
        connection_string::parse(text).map_err(|error| Error::Init(error.to_string()))?;
    let mut is_given = !text.trim().is_empty();
    for (field, name) in SINGLE {
        let Some(value) = reader.text(&[field])?.filter(|value| !value.is_empty()) else {
            continue;
        };
        is_given = true;
        if field == "host" {
            // It was the address of the other host.
            parameters.take("hostaddr");
        }
        parameters.put(name, value);
    }
    if is_given {
        return Ok(parameters);
    }
    let missing = "\"connectionString\" is missing: the server, such as \"host=postgres \
                   user=app password=… database=app\"";
    reader.required(&["connectionString", "url"], missing)?;
    Err(Error::Init(missing.to_owned()))
}

fn timeout(reader: &mut Reader<'_>) -> Result<Duration, metadata::Error> {
    let timeout = reader.duration(&["timeout", "timeoutInSeconds"])?;
    let timeout = timeout.unwrap_or(TIMEOUT);
    if timeout < SHORTEST_TIMEOUT {
        return Err(metadata::Error::Invalid {
            name: "timeout",
            accepted: "a duration of at least one second, such as \"20s\"",
        });
    }
    Ok(timeout)
}

fn limits(reader: &mut Reader<'_>, parameters: &mut Parameters) -> Result<Limits, Error> {
    let names = ["maxConns"];
    let field = match reader.text(&names)? {
        // Zero and less are the default.
        Some(text) if text.starts_with('-') && text[1..].parse::<u32>().is_ok() => None,
        _ => reader.number(&names, 0..=MAX_CONNECTIONS)?,
    };
    let given = parameters.number("pool_max_conns", 1..=MAX_CONNECTIONS)?;
    let connections = match field.filter(|&most| most > 0).or(given) {
        Some(most) => most as usize,
        None => {
            let processors = std::thread::available_parallelism();
            processors.map_or(USUAL_CONNECTIONS, |n| n.get().max(USUAL_CONNECTIONS))
        }
    };
    let field = reader.duration(&["connectionMaxIdleTime", "connMaxIdleTime"])?;
    let given = parameters.duration("pool_max_conn_idle_time")?;
    let positive = |time: &Duration| !time.is_zero();
    let idle = field.filter(positive).or(given.filter(positive));
    let age = parameters.duration("pool_max_conn_lifetime")?;
    Ok(Limits {
        connections,
        idle: idle.unwrap_or(IDLE),
        age: age.filter(positive).unwrap_or(AGE),
    })
}

fn mode_of_field(reader: &mut Reader<'_>) -> Result<Option<bool>, metadata::Error> {
    let Some(text) = reader
        .text(&["queryExecMode"])?
        .filter(|text| !text.is_empty())
    else {
        return Ok(None);
    };
    let found = MODES.iter().find(|(word, _)| *word == text);
    found.map(|(_, prepares)| Some(*prepares)).ok_or(metadata::Error::Invalid {
        name: "queryExecMode",
        accepted: "one of cache_statement, cache_describe, describe_exec, exec, simple_protocol",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::certificates::Authority;
    use crate::testing::contract;

    async fn read(properties: &[(&str, &str)]) -> Result<Settings, String> {
        let component = contract::component("state.postgresql", properties);
        let mut reader = Reader::new(&component).unwrap();
        let settings = Settings::read(&component, &mut reader).await;
        settings.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn has_the_defaults_of_dapr() {
        let settings = read(&[("url", "user=app")]).await.unwrap();
        assert_eq!(settings.server(), "PostgreSQL at localhost:5432");
        assert_eq!(settings.timeout, Duration::from_secs(20));
        assert!(settings.prepares && settings.limits.connections >= 4);
        assert_eq!(settings.limits.idle, Duration::from_secs(1800));
        assert_eq!(settings.config.get_ssl_mode(), SslMode::Prefer);
        assert_eq!(settings.config.get_options(), None);
    }

    #[tokio::test]
    async fn takes_parameters_of_the_pool_and_of_the_session() {
        let settings = read(&[
            (
                "connectionString",
                "postgres://app:hunter2@one,two:6000/d?pool_max_conns=7&search_path=a,%20b\
                 &pool_max_conn_idle_time=5m&default_query_exec_mode=exec&connect_timeout=3\
                 &options=-c%20geqo=off&sslmode=disable&sslsni=1",
            ),
            ("timeoutInSeconds", "30"),
        ])
        .await
        .unwrap();
        assert_eq!(settings.server(), "PostgreSQL at one:5432,two:6000");
        assert_eq!(settings.limits.connections, 7);
        assert_eq!(settings.limits.idle, Duration::from_secs(300));
        assert!(!settings.prepares);
        assert_eq!(settings.timeout, Duration::from_secs(30));
        let config = &settings.config;
        assert_eq!(
            config.get_options(),
            Some("-c geqo=off -c search_path=a,\\ b")
        );
        assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(3)));
        assert_eq!(config.get_ssl_mode(), SslMode::Disable);
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[tokio::test]
    async fn single_fields_come_before_the_connection_string() {
        let authority = Authority::new().certificate();
        let settings = read(&[
            (
                "connectionString",
                "host=a hostaddr=10.0.0.1 user=a sslmode=verify-full",
            ),
            ("host", "b"),
            ("port", "6000"),
            ("user", "me"),
            ("password", "hunter2"),
            ("database", "d"),
            ("sslRootCert", &authority),
            ("maxConns", "-1"),
            ("connectionMaxIdleTime", "5m"),
            ("queryExecMode", "simple_protocol"),
        ])
        .await
        .unwrap();
        let config = &settings.config;
        assert_eq!(settings.server(), "PostgreSQL at b:6000");
        assert!(config.get_hostaddrs().is_empty());
        assert_eq!(config.get_user(), Some("me"));
        assert_eq!(config.get_password(), Some(&b"hunter2"[..]));
        assert_eq!(config.get_dbname(), Some("d"));
        assert_eq!(config.get_ssl_mode(), SslMode::Require);
        assert!(settings.limits.connections >= 4 && !settings.prepares);
        let alone = read(&[("hostaddr", "127.0.0.1"), ("user", "me")]).await;
        assert_eq!(alone.unwrap().server(), "PostgreSQL at 127.0.0.1:5432");
    }

    #[tokio::test]
    async fn denies_what_it_cannot_do_and_shows_no_value() {
        let own = Authority::new().issue(&["client"]);
        let with = |text: &str| vec![("connectionString".to_owned(), format!("user=a {text}"))];
        let field = |name: &str, value: &str| {
            let mut fields = with("");
            fields.push((name.to_owned(), value.to_owned()));
            fields
        };
        for (properties, expected) in [
            (vec![], "\"connectionString\" is missing"),
            (with("")[..0].to_vec(), "\"connectionString\" is missing"),
            (
                with("sslmode=hunter2"),
                "\"sslmode\" of the connection string is not one of",
            ),
            (
                with("sslrootcert=hunter2"),
                "\"sslrootcert\" of the connection string is not a text",
            ),
            (
                with(&format!("sslcert='{}'", own.certificate)),
                "one is given without the other",
            ),
            (
                with("passfile=hunter2"),
                "\"passfile\" of the connection string is not served",
            ),
            (with("port=hunter2"), "\"port\" is not a port"),
            (
                with("hostaddr=hunter2"),
                "\"hostaddr\" is not an IP address",
            ),
            (with("host=a,b port=1,2,3"), "do not name as many servers"),
            (
                with("pool_max_conns=hunter2"),
                "\"pool_max_conns\" of the connection string",
            ),
            (with("hunter2-=x"), "is not one of a setting"),
            (field("useAzureAD", "true"), "\"useAzureAD\" is not served"),
            (field("useAWSIAM", "true"), "\"useAWSIAM\" is not served"),
            (
                field("timeout", "999ms"),
                "\"timeout\" is not a duration of at least",
            ),
            (
                field("maxConns", "hunter2"),
                "\"maxConns\" is not a whole number",
            ),
            (
                field("queryExecMode", "hunter2"),
                "\"queryExecMode\" is not one of",
            ),
            (
                vec![("host".to_owned(), "a".to_owned())],
                "the user is missing",
            ),
        ] {
            let pairs = properties.iter().map(|(name, value)| (&**name, &**value));
            let error = read(&pairs.collect::<Vec<_>>()).await.err().unwrap();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
