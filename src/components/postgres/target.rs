//! Which server and database a connection string means, and how a session with it begins.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, LoadBalanceHosts, TargetSessionAttrs};
use tracing::info;

use super::parameters::Parameters;
use crate::components::{Error, ResolvedComponent};

/// When a silent server is asked whether it is there, so that a dead one is noticed in a minute.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// Parameters that would change who is let in, or where, and that this build does not know.
const UNSERVED: [&str; 6] = [
    "krbspn",
    "passfile",
    "requirepeer",
    "service",
    "servicefile",
    "sslpassword",
];

/// Parameters of the clients of others, without a meaning here.
const UNUSED: [&str; 20] = [
    "client_encoding",
    "description_cache_capacity",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "krbsrvname",
    "min_read_buffer_size",
    "pool_health_check_period",
    "pool_max_conn_lifetime_jitter",
    "pool_min_conns",
    "pool_min_idle_conns",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslsni",
    "statement_cache_capacity",
];

/// Takes all parameters.
pub(super) fn take(
    component: &ResolvedComponent,
    config: &mut Config,
    mut parameters: Parameters,
) -> Result<(), Error> {
    take_server(config, &mut parameters)?;
    take_socket(config, &mut parameters)?;
    take_session(component, config, parameters)
}

/// Who, where, and which database.
fn take_server(config: &mut Config, parameters: &mut Parameters) -> Result<(), Error> {
    let mut hosts = parameters.list("host");
    let addresses = parameters.list("hostaddr");
    if hosts.is_empty() {
        // A certificate may be for an address, too.
        hosts = addresses.clone();
    }
    if hosts.is_empty() {
        hosts.push("localhost".to_owned());
    }
    if !addresses.is_empty() && addresses.len() != hosts.len() {
        let text = "\"host\" and \"hostaddr\" do not name as many servers each";
        return Err(Error::Init(text.to_owned()));
    }
    for address in &addresses {
        let address: IpAddr = address
            .parse()
            .map_err(|_| Error::Init("\"hostaddr\" is not an IP address".to_owned()))?;
        config.hostaddr(address);
    }
    let ports = parameters.list("port");
    if ports.len() > 1 && ports.len() != hosts.len() {
        let text = "\"host\" and \"port\" do not name as many servers each";
        return Err(Error::Init(text.to_owned()));
    }
    for port in ports {
        let port = if port.is_empty() {
            Ok(5432)
        } else {
            port.parse()
        };
        config.port(port.map_err(|_| Error::Init("\"port\" is not a port".to_owned()))?);
    }
    for host in hosts {
        config.host(if host.is_empty() { "localhost" } else { &host });
    }
    let Some(user) = parameters.take("user") else {
        let text = "the user is missing: \"user=…\" in \"connectionString\", or the field \"user\"";
        return Err(Error::Init(text.to_owned()));
    };
    config.user(user.expose());
    if let Some(password) = parameters.take("password") {
        // To the server that it is for.
        config.password(password.expose());
    }
    if let Some(name) = parameters.take("dbname") {
        config.dbname(name.expose());
    }
    Ok(())
}

/// How the connection is made and kept.
fn take_socket(config: &mut Config, parameters: &mut Parameters) -> Result<(), Error> {
    if let Some(limit) = parameters.seconds("connect_timeout")? {
        config.connect_timeout(limit);
    }
    let is_on = parameters.word("keepalives", &[("0", false), ("1", true)])?;
    let idle = parameters.seconds("keepalives_idle")?;
    let interval = parameters.seconds("keepalives_interval")?;
    let retries = parameters.number("keepalives_count", 1..=100)?;
    config
        .keepalives(is_on.unwrap_or(true))
        .keepalives_idle(idle.unwrap_or(KEEPALIVE))
        .keepalives_interval(interval.unwrap_or(KEEPALIVE_INTERVAL))
        .keepalives_retries(retries.unwrap_or(KEEPALIVE_RETRIES));
    if let Some(limit) = parameters.number("tcp_user_timeout", 1..=u32::MAX)? {
        config.tcp_user_timeout(Duration::from_millis(limit.into()));
    }
    let sessions = [
        ("any", TargetSessionAttrs::Any),
        ("read-write", TargetSessionAttrs::ReadWrite),
        ("primary", TargetSessionAttrs::ReadWrite),
        ("read-only", TargetSessionAttrs::ReadOnly),
        ("standby", TargetSessionAttrs::ReadOnly),
    ];
    if let Some(session) = parameters.word("target_session_attrs", &sessions)? {
        config.target_session_attrs(session);
    }
    let orders = [
        ("disable", LoadBalanceHosts::Disable),
        ("random", LoadBalanceHosts::Random),
    ];
    if let Some(order) = parameters.word("load_balance_hosts", &orders)? {
        config.load_balance_hosts(order);
    }
    let bindings = [
        ("disable", ChannelBinding::Disable),
        ("prefer", ChannelBinding::Prefer),
        ("require", ChannelBinding::Require),
    ];
    if let Some(binding) = parameters.word("channel_binding", &bindings)? {
        config.channel_binding(binding);
    }
    Ok(())
}

/// What a session begins with. Every other name is a setting of the server, such as `search_path`.
fn take_session(
    component: &ResolvedComponent,
    config: &mut Config,
    mut parameters: Parameters,
) -> Result<(), Error> {
    if let Some(name) = parameters.take("application_name") {
        config.application_name(name.expose());
    }
    let options = parameters.take("options");
    let mut options = options
        .map(|text| text.expose().to_owned())
        .unwrap_or_default();
    let mut unused = Vec::new();
    for (name, value) in parameters.rest() {
        if UNSERVED.contains(&name.as_str()) {
            return Err(Error::Init(format!(
                "{name:?} of the connection string is not served by this build"
            )));
        }
        if UNUSED.contains(&name.as_str()) {
            unused.push(name);
            continue;
        }
        let is_inner = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(is_inner) {
            let text = "a name in the connection string is not one of a setting: letters, digits, \
                        \"_\" and \".\"";
            return Err(Error::Init(text.to_owned()));
        }
        // To a text, which cannot fail.
        let _ = write!(options, " -c {name}={}", escaped(value.expose()));
    }
    if !options.is_empty() {
        config.options(options.trim_start());
    }
    if !unused.is_empty() {
        info!(
            component = component.name,
            parameters = unused.join(", "),
            "Parameters of the connection string without effect"
        );
    }
    Ok(())
}

/// A value as the server takes it in `options`.
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for character in value.chars() {
        if character == '\\' || character.is_whitespace() {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}
