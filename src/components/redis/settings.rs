//! What the metadata of a component says of its server, in the fields of Dapr 1.18.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tracing::{info, warn};

use super::hosts::Host;
use crate::base::back_off;
use crate::base::duration::parse_go_duration;
use crate::base::secret::Secret;
use crate::components::client_tls::{self, Names};
use crate::components::metadata::{self, Reader};
use crate::components::{Error, ResolvedComponent};
use crate::tls::client::{Trust, client_config};

/// The fields of TLS.
const TLS: Names = Names {
    authority: "caCert",
    certificate: "clientCert",
    key: "clientKey",
};

/// Fields that a pool of connections needs: here all commands share one.
const POOL: [&str; 6] = [
    "poolSize",
    "minIdleConns",
    "maxConnAge",
    "poolTimeout",
    "idleTimeout",
    "idleCheckFrequency",
];

/// Ways to log in that this build has not. Without them nobody is let in, so that they are errors.
const UNSERVED: [&[&str]; 2] = [&["useEntraID", "useAzureAD"], &["useOIDC"]];

/// The highest number of a database.
const MAX_DATABASES: u32 = 1_000_000;
/// The most tries after the first.
const MAX_RETRIES: u32 = 1000;

/// Who the client is.
#[derive(Clone, Debug, Default)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
}

/// Servers that know which server is the primary.
#[derive(Clone, Debug)]
pub(super) struct Sentinel {
    pub(super) primary: String,
    pub(super) login: Login,
}

/// How often and how fast a command is tried again that did not reach the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retries {
    pub(super) most: u32,
    pub(super) pauses: [Duration; 2],
}

impl Retries {
    /// The pause after so many failures: twice as long each time, up to the longest.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        back_off::pause(self.pauses, failures)
    }
}

/// A server, and how it is spoken to.
#[derive(Clone, Debug)]
pub(in crate::components) struct Settings {
    /// The server, or others that are asked in turn; with `sentinel`, those that know it.
    pub(super) hosts: Vec<Host>,
    pub(super) sentinel: Option<Sentinel>,
    /// Whether the hosts are of a cluster, which tells of all its servers.
    pub(super) is_cluster: bool,
    pub(super) login: Login,
    pub(super) database: i64,
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// For a connection until it can be used.
    pub(super) dial_timeout: Option<Duration>,
    /// For an answer.
    pub(super) answer_timeout: Option<Duration>,
    pub(super) retries: Retries,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// What is missing, cannot be used, or is not served.
    pub(in crate::components) async fn read(
        component: &ResolvedComponent,
        reader: &mut Reader<'_>,
    ) -> Result<Self, Error> {
        refuse_unserved(reader)?;
        let hosts = reader.required(
            &["redisHost"],
            "\"redisHost\" is missing: the server, such as \"redis:6379\"",
        )?;
        let port = reader.text(&["redisPort"])?;
        let hosts = Host::parse_all(hosts, port).map_err(|error| Error::Init(error.to_string()))?;
        let sentinel = sentinel(reader)?;
        let is_cluster = is_cluster(reader, sentinel.as_ref())?;
        let settings = Self {
            hosts,
            sentinel,
            is_cluster,
            login: login(reader, &["redisUsername"], &["redisPassword"])?,
            database: database(component, reader, is_cluster)?,
            tls: tls(component, reader).await?,
            dial_timeout: limit(reader, "dialTimeout", Duration::from_secs(5))?,
            answer_timeout: answer_timeout(reader)?,
            retries: retries(reader)?,
        };
        name_unused(component, reader)?;
        Ok(settings)
    }
}

fn refuse_unserved(reader: &mut Reader<'_>) -> Result<(), Error> {
    for names in UNSERVED {
        if reader.truthy(names)? {
            let name = names[0];
            let text = format!(
                "{name:?} is not served by this build; accepted are \"redisUsername\" and \
                 \"redisPassword\", and a client certificate"
            );
            return Err(Error::Init(text));
        }
    }
    Ok(())
}

fn is_cluster(reader: &mut Reader<'_>, sentinel: Option<&Sentinel>) -> Result<bool, Error> {
    let kind = reader.text(&["redisType"])?.unwrap_or_default();
    match (kind.to_lowercase().as_str(), sentinel) {
        ("" | "node", _) => Ok(false),
        ("cluster", None) => Ok(true),
        ("cluster", Some(_)) => Err(Error::Init(
            "\"failover\" and the value \"cluster\" of \"redisType\" exclude each other: the \
             servers of a cluster name their primaries themselves"
                .to_owned(),
        )),
        _ => Err(Error::Metadata(metadata::Error::Invalid {
            name: "redisType",
            accepted: "\"node\", one server, or with \"failover\" the primary that sentinels \
                       name, or \"cluster\"",
        })),
    }
}

/// Clusters have one only.
fn database(
    component: &ResolvedComponent,
    reader: &mut Reader<'_>,
    is_cluster: bool,
) -> Result<i64, Error> {
    let number = reader.number(&["redisDB"], 0..=MAX_DATABASES)?.unwrap_or(0);
    if is_cluster && number != 0 {
        warn!(
            component = component.name,
            "\"redisDB\" is without effect: a cluster has one database"
        );
        return Ok(0);
    }
    Ok(number.into())
}

fn sentinel(reader: &mut Reader<'_>) -> Result<Option<Sentinel>, Error> {
    let login = login(reader, &["sentinelUsername"], &["sentinelPassword"])?;
    let name = ["sentinelMasterName"];
    if !reader.truthy(&["failover"])? {
        // Known, so that nobody is warned of it where failover is off for a while.
        reader.text(&name)?;
        return Ok(None);
    }
    let missing = "\"sentinelMasterName\" is missing, which \"failover\" needs";
    let primary = reader.required(&name, missing)?.to_owned();
    Ok(Some(Sentinel { primary, login }))
}

fn login(
    reader: &mut Reader<'_>,
    user: &[&'static str],
    password: &[&'static str],
) -> Result<Login, metadata::Error> {
    let given = |text: &&str| !text.is_empty();
    Ok(Login {
        user: reader.text(user)?.filter(given).map(str::to_owned),
        password: reader.text(password)?.filter(given).map(Secret::new),
    })
}

/// What is given of TLS is checked also where TLS is off.
async fn tls(
    component: &ResolvedComponent,
    reader: &mut Reader<'_>,
) -> Result<Option<Arc<ClientConfig>>, Error> {
    let given = client_tls::read(reader, TLS).await?;
    let skips = reader.truthy(&["insecureSkipTLSVerify"])?;
    if !reader.truthy(&["enableTLS"])? {
        return Ok(None);
    }
    if !skips {
        return match given {
            Some(config) => Ok(Some(Arc::new(config))),
            None => Ok(Some(Arc::new(client_tls::of_system()?))),
        };
    }
    warn!(
        component = component.name,
        "\"insecureSkipTLSVerify\" is on: whoever can take over the address of Redis gets the \
         password and every message"
    );
    let trust = Trust {
        skip_verification: true,
        ..Trust::default()
    };
    let mut config = client_config(&trust).map_err(|error| Error::Init(error.to_string()))?;
    config.alpn_protocols.clear();
    if let Some(given) = given {
        config.client_auth_cert_resolver = given.client_auth_cert_resolver;
    }
    Ok(Some(Arc::new(config)))
}

/// The longer of the times to write and to read: a command and its answer share it.
fn answer_timeout(reader: &mut Reader<'_>) -> Result<Option<Duration>, Error> {
    let read = limit(reader, "readTimeout", Duration::from_secs(3))?;
    let write = limit(reader, "writeTimeout", read.unwrap_or_default())?;
    Ok(match (read, write) {
        (Some(read), Some(write)) => Some(read.max(write)),
        _ => None,
    })
}

/// The old names count where the new ones are not given.
fn retries(reader: &mut Reader<'_>) -> Result<Retries, Error> {
    let (old, new) = (most_retries(reader, "maxRetries")?, "redisMaxRetries");
    let most = most_retries(reader, new)?.or(old);
    let first = limit(reader, "redisMinRetryInterval", Duration::from_millis(8))?;
    let old = nanoseconds(reader, "maxRetryBackoff")?;
    let default = old.unwrap_or(Duration::from_millis(512));
    let longest = limit(reader, "redisMaxRetryInterval", default)?;
    Ok(Retries {
        most: most.unwrap_or(3),
        pauses: [first.unwrap_or_default(), longest.unwrap_or_default()],
    })
}

fn most_retries(reader: &mut Reader<'_>, name: &'static str) -> Result<Option<u32>, Error> {
    Ok(match reader.text(&[name])? {
        Some("-1") => Some(0),
        _ => reader.number(&[name], 0..=MAX_RETRIES)?,
    })
}

/// A time in whole nanoseconds, as the first versions of Dapr had it, or in Go's form; `-1` is
/// none.
fn nanoseconds(
    reader: &mut Reader<'_>,
    name: &'static str,
) -> Result<Option<Duration>, metadata::Error> {
    let text = match reader.text(&[name])? {
        None | Some("") => return Ok(None),
        Some("-1") => return Ok(Some(Duration::ZERO)),
        Some(text) => text,
    };
    let nanoseconds = text.parse().ok().map(Duration::from_nanos);
    let time = nanoseconds.or_else(|| parse_go_duration(text).ok());
    time.map(Some).ok_or(metadata::Error::Invalid {
        name,
        accepted: "a duration, such as \"2s\" or whole nanoseconds",
    })
}

/// A time as the client of Dapr reads it: absent or zero is the default, `-1` is none.
fn limit(
    reader: &mut Reader<'_>,
    name: &'static str,
    default: Duration,
) -> Result<Option<Duration>, metadata::Error> {
    if reader.text(&[name])? == Some("-1") {
        return Ok(None);
    }
    let given = reader.duration_or_millis(&[name])?;
    Ok(given.filter(|given| !given.is_zero()).or(Some(default)))
}

/// Fields of Dapr's that have no effect here.
fn name_unused(component: &ResolvedComponent, reader: &mut Reader<'_>) -> Result<(), Error> {
    let mut unused = Vec::new();
    for name in POOL {
        if reader.text(&[name])?.is_some() {
            unused.push(name);
        }
    }
    if !unused.is_empty() {
        info!(
            component = component.name,
            fields = unused.join(", "),
            "Without effect: all commands share one connection"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::certificates::Authority;
    use crate::testing::contract;

    async fn read(properties: &[(&str, &str)]) -> Result<Settings, String> {
        let component = contract::component("pubsub.redis", properties);
        let mut reader = Reader::new(&component).unwrap();
        let settings = Settings::read(&component, &mut reader).await;
        settings.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn has_the_defaults_of_dapr() {
        let settings = read(&[("redisHost", "redis")]).await.unwrap();
        assert_eq!(settings.hosts[0].to_string(), "redis:6379");
        assert_eq!(settings.database, 0);
        assert!(settings.tls.is_none() && settings.sentinel.is_none());
        assert_eq!(settings.dial_timeout, Some(Duration::from_secs(5)));
        assert_eq!(settings.answer_timeout, Some(Duration::from_secs(3)));
        let pauses: Vec<_> = (1..9)
            .map(|n| settings.retries.pause(n).as_millis())
            .collect();
        assert_eq!(pauses, [8, 16, 32, 64, 128, 256, 512, 512]);
        assert_eq!(settings.retries.most, 3);
    }

    #[tokio::test]
    async fn reads_times_in_gos_form_and_in_milliseconds() {
        let settings = read(&[
            ("redisHost", "redis"),
            ("dialTimeout", "1m"),
            ("readTimeout", "250"),
            ("writeTimeout", "4s"),
            ("redisMaxRetries", "-1"),
            ("redisMinRetryInterval", "-1"),
        ])
        .await
        .unwrap();
        assert_eq!(settings.dial_timeout, Some(Duration::from_secs(60)));
        assert_eq!(settings.answer_timeout, Some(Duration::from_secs(4)));
        assert_eq!(settings.retries.most, 0);
        assert_eq!(settings.retries.pause(9), Duration::ZERO);
        let unlimited = read(&[("redisHost", "redis"), ("readTimeout", "-1")]).await;
        assert_eq!(unlimited.unwrap().answer_timeout, None);
    }

    #[tokio::test]
    async fn old_names_count_where_the_new_ones_are_not_given() {
        let h = ("redisHost", "redis");
        let old = [("maxRetries", "5"), ("maxRetryBackoff", "3000000000")];
        let settings = read(&[&[h][..], &old].concat()).await.unwrap();
        let longest = |settings: &Settings| settings.retries.pauses[1];
        assert_eq!(settings.retries.most, 5);
        assert_eq!(longest(&settings), Duration::from_secs(3));
        let new = [("redisMaxRetries", "2"), ("redisMaxRetryInterval", "1s")];
        let settings = read(&[&[h][..], &old, &new].concat()).await.unwrap();
        assert_eq!(settings.retries.most, 2);
        assert_eq!(longest(&settings), Duration::from_secs(1));
    }

    #[tokio::test]
    async fn a_cluster_has_one_database() {
        let properties = [
            ("redisHost", "a,b"),
            ("redisType", "Cluster"),
            ("redisDB", "3"),
        ];
        let settings = read(&properties).await.unwrap();
        assert!(settings.is_cluster && settings.hosts.len() == 2);
        assert_eq!(settings.database, 0);
    }

    #[tokio::test]
    async fn denies_what_it_cannot_do_and_shows_no_value() {
        let h = ("redisHost", "redis");
        for (properties, expected) in [
            (&[][..], "\"redisHost\" is missing: the server"),
            (&[h, ("useEntraID", "true")], "\"useEntraID\" is not served"),
            (&[h, ("useAzureAD", "yes")], "\"useEntraID\" is not served"),
            (&[h, ("useOIDC", "1")], "\"useOIDC\" is not served"),
            (
                &[h, ("redisType", "hunter2")],
                "the value of \"redisType\" is not \"node\"",
            ),
            (
                &[
                    h,
                    ("redisType", "cluster"),
                    ("failover", "1"),
                    ("sentinelMasterName", "main"),
                ],
                "\"failover\" and the value \"cluster\"",
            ),
            (
                &[h, ("maxRetryBackoff", "hunter2")],
                "the value of \"maxRetryBackoff\" is not",
            ),
            (
                &[h, ("failover", "true")],
                "\"sentinelMasterName\" is missing",
            ),
            (
                &[h, ("redisDB", "hunter2")],
                "the value of \"redisDB\" is not",
            ),
            (&[h, ("redisDB", "-1")], "the value of \"redisDB\" is not"),
            (
                &[h, ("dialTimeout", "hunter2")],
                "the value of \"dialTimeout\" is not",
            ),
            (
                &[h, ("clientCert", "hunter2")],
                "the value of \"clientCert\" is not",
            ),
            (
                &[("redisHost", "r:1"), ("redisPort", "2")],
                "\"redisPort\" and the port in",
            ),
        ] {
            let error = read(properties).await.err().unwrap();
            assert!(
                error.starts_with(expected) || error.contains(expected),
                "{error}"
            );
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[tokio::test]
    async fn takes_certificates_and_shows_no_password() {
        let authority = Authority::new();
        let client = authority.issue(&["client"]);
        let settings = read(&[
            ("redisHost", "redis"),
            ("redisPassword", "hunter2"),
            ("sentinelPassword", "hunter2"),
            ("failover", "true"),
            ("sentinelMasterName", "main"),
            ("enableTLS", "true"),
            ("insecureSkipTLSVerify", "true"),
            ("clientCert", &client.certificate),
            ("clientKey", &client.key),
        ])
        .await
        .unwrap();
        let tls = settings.tls.as_ref().unwrap();
        assert!(tls.client_auth_cert_resolver.has_certs());
        assert!(tls.alpn_protocols.is_empty());
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
