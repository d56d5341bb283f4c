//! Where servers are.

use std::fmt;

/// The port of a server that names none.
const PORT: u16 = 6379;

/// The host and the port of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) port: u16,
}

/// Why a list of hosts cannot be used. No text holds the list, in which a password may be.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum HostError {
    /// A part of the list that is no address.
    #[error(
        "the value of \"redisHost\" is not a comma-separated list of hosts, each with its port \
         where it is not 6379, such as \"redis:6379\""
    )]
    Host,
    /// A port of its own that is none.
    #[error("the value of \"redisPort\" is not a port, a whole number from 1 to 65535")]
    Port,
    /// Two ports for one host.
    #[error("\"redisPort\" and the port in \"redisHost\" differ; give one of them")]
    Differ,
}

impl Host {
    /// `redisHost` and `redisPort`: at least one host.
    pub(super) fn parse_all(hosts: &str, port: Option<&str>) -> Result<Vec<Self>, HostError> {
        let port = match port.map(str::trim).filter(|port| !port.is_empty()) {
            Some(port) => Some(parse_port(port).ok_or(HostError::Port)?),
            None => None,
        };
        hosts
            .split(',')
            .map(|host| Self::parse(host.trim(), port))
            .collect()
    }

    /// A server that another one of its cluster names, where it knows more than the port.
    pub(super) fn beside(&self, name: &str, port: u16) -> Self {
        let is_known = !matches!(name, "" | "?");
        Self {
            name: if is_known { name } else { &self.name }.to_owned(),
            port,
        }
    }

    /// The server that a redirection names: all before the last colon is its name.
    pub(super) fn redirected(&self, address: &str) -> Option<Self> {
        let (name, port) = address.rsplit_once(':')?;
        Some(self.beside(name, parse_port(port)?))
    }

    fn parse(text: &str, port: Option<u16>) -> Result<Self, HostError> {
        let (name, own) = split(text).ok_or(HostError::Host)?;
        let own = match own {
            Some(own) => Some(parse_port(own).ok_or(HostError::Host)?),
            None => None,
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(HostError::Host);
        }
        match (own, port) {
            (Some(own), Some(port)) if own != port => Err(HostError::Differ),
            (own, port) => Ok(Self {
                name: name.to_owned(),
                port: own.or(port).unwrap_or(PORT),
            }),
        }
    }
}

/// A name, and what stands behind its colon. IPv6 addresses may stand in brackets, and have to
/// where a port follows.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (name, after) = rest.split_once(']')?;
        return match after.strip_prefix(':') {
            Some(port) => Some((name, Some(port))),
            None => after.is_empty().then_some((name, None)),
        };
    }
    Some(match text.split_once(':') {
        Some((name, port)) if !port.contains(':') => (name, Some(port)),
        _ => (text, None),
    })
}

fn parse_port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0)
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, port } = self;
        if name.contains(':') {
            write!(f, "[{name}]:{port}")
        } else {
            write!(f, "{name}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(hosts: &str, port: Option<&str>) -> Result<String, HostError> {
        let hosts = Host::parse_all(hosts, port)?;
        let texts: Vec<_> = hosts.iter().map(Host::to_string).collect();
        Ok(texts.join(" "))
    }

    #[test]
    fn takes_hosts_with_ports_and_without() {
        for (hosts, port, expected) in [
            ("redis", None, "redis:6379"),
            ("redis", Some("7000"), "redis:7000"),
            ("redis:7000", Some(""), "redis:7000"),
            ("redis:7000", Some("7000"), "redis:7000"),
            ("a:1, b ,c:3", None, "a:1 b:6379 c:3"),
            ("[::1]:7000", None, "[::1]:7000"),
            ("::1", None, "[::1]:6379"),
            ("127.0.0.1", None, "127.0.0.1:6379"),
        ] {
            assert_eq!(parse(hosts, port).as_deref(), Ok(expected), "{hosts}");
        }
    }

    #[test]
    fn follows_redirections() {
        let asked = Host::parse("redis", None).unwrap();
        for (address, expected) in [
            ("10.0.0.1:7000", Some("10.0.0.1:7000")),
            ("::1:7000", Some("[::1]:7000")),
            (":7000", Some("redis:7000")),
            ("?:7000", Some("redis:7000")),
            ("redis", None),
            ("redis:x", None),
        ] {
            let host = asked.redirected(address).map(|host| host.to_string());
            assert_eq!(host.as_deref(), expected, "{address}");
        }
    }

    #[test]
    fn denies_what_is_no_address_without_showing_it() {
        for (hosts, port, expected) in [
            ("", None, HostError::Host),
            ("a,,b", None, HostError::Host),
            ("redis:x", None, HostError::Host),
            ("redis:0", None, HostError::Host),
            ("redis://:hunter2@redis", None, HostError::Host),
            ("[::1", None, HostError::Host),
            ("redis", Some("x"), HostError::Port),
            ("redis:7000", Some("7001"), HostError::Differ),
        ] {
            assert_eq!(parse(hosts, port), Err(expected), "{hosts}");
            assert!(!expected.to_string().contains("hunter2"));
        }
    }
}
