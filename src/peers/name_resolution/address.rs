//! Where a sidecar can be reached.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A host with a port, in the form of a URI's authority without user information: `10.0.0.1:50002`,
/// `[::1]:50002`, `a-dapr.default.svc.cluster.local:50002`.
///
/// Invariant: the host is an IPv4 address, an IPv6 address in brackets or a name of at most 253
/// letters, digits, `-`, `_` and `.`; the port is not 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerAddress {
    text: String,
    host_length: usize,
    port: u16,
}

/// A text that is no address of a sidecar.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{text:?} is not an address: accepted are a host name, an IPv4 address or an IPv6 address in \
     brackets, then \":\" and a port (1-65535)"
)]
pub struct AddressError {
    text: String,
}

impl PeerAddress {
    /// Reads `host:port`, where an IPv6 address stands in brackets.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let parsed = text.rsplit_once(':').and_then(|(host, port)| {
            let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
            let port = port.parse().ok().filter(|port| *port != 0 && is_number)?;
            is_host(host).then(|| Self {
                text: format!("{host}:{port}"),
                host_length: host.len(),
                port,
            })
        });
        parsed.ok_or_else(|| AddressError {
            text: text.to_owned(),
        })
    }

    /// The same for a text that may lack the port.
    pub fn parse_with_default(text: &str, port: u16) -> Result<Self, AddressError> {
        if is_host(text) {
            Self::parse(&format!("{text}:{port}"))
        } else {
            Self::parse(text)
        }
    }

    /// The address of a port of an IP address.
    pub fn of_ip(ip: IpAddr, port: u16) -> Result<Self, AddressError> {
        Self::parse(&std::net::SocketAddr::new(ip, port).to_string())
    }

    /// The whole, as the authority of a URI.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host, an IPv6 address with its brackets.
    pub fn host(&self) -> &str {
        &self.text[..self.host_length]
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn is_host(text: &str) -> bool {
    if let Some(inner) = text.strip_prefix('[') {
        let inner = inner.strip_suffix(']');
        return inner.is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok());
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let in_label = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(in_label);
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        // A name cannot end with a number (RFC 1123, 2.1), so that this is an address or nothing.
        return text.parse::<Ipv4Addr>().is_ok();
    }
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_names_and_addresses_with_a_port() {
        for (text, host, port) in [
            ("127.0.0.1:50002", "127.0.0.1", 50002),
            ("[::1]:1", "[::1]", 1),
            ("[fd00::1]:65535", "[fd00::1]", 65535),
            ("localhost:80", "localhost", 80),
            (
                "a-dapr.ns.svc.cluster.local:80",
                "a-dapr.ns.svc.cluster.local",
                80,
            ),
            ("a_b.example.:80", "a_b.example.", 80),
        ] {
            let address = PeerAddress::parse(text).unwrap();
            assert_eq!((address.host(), address.port()), (host, port));
            assert_eq!(
                (address.as_str(), address.to_string().as_str()),
                (text, text)
            );
        }
    }

    #[test]
    fn refuses_everything_else() {
        let long = format!("{}:80", "a.".repeat(127) + "com");
        let long_label = format!("{}:80", "a".repeat(64));
        for text in [
            "",
            ":",
            ":80",
            "a",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a:-1",
            "a: 1",
            "a:1/",
            "::1:80",
            "[::1]",
            "[::1",
            "[a]:80",
            "[fe80::1%eth0]:80",
            "user@a:80",
            "a/b:80",
            "a?b:80",
            "a#b:80",
            "a b:80",
            "a..b:80",
            ".a:80",
            "ä:80",
            "1.2.3:80",
            "256.1.1.1:80",
            "127.1:80",
            "a.1:80",
            "a\n:80",
            "a:b:80",
            &long,
            &long_label,
        ] {
            assert!(PeerAddress::parse(text).is_err(), "{text:?}");
        }
        let error = PeerAddress::parse("a").unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"a\" is not an address: accepted are a host name, an IPv4 address or an IPv6 address \
             in brackets, then \":\" and a port (1-65535)"
        );
    }

    #[test]
    fn takes_a_port_where_the_text_has_none() {
        for (text, expected) in [
            ("a.b", "a.b:7"),
            ("a.b:8", "a.b:8"),
            ("[::1]", "[::1]:7"),
            ("[::1]:8", "[::1]:8"),
            ("10.0.0.1", "10.0.0.1:7"),
        ] {
            let address = PeerAddress::parse_with_default(text, 7).unwrap();
            assert_eq!(address.as_str(), expected);
        }
        assert!(PeerAddress::parse_with_default("::1", 7).is_err());
    }

    #[test]
    fn puts_ipv6_into_brackets() {
        let of = |ip: &str, port| PeerAddress::of_ip(ip.parse().unwrap(), port);
        assert_eq!(of("::1", 80).unwrap().as_str(), "[::1]:80");
        assert_eq!(of("10.0.0.1", 80).unwrap().as_str(), "10.0.0.1:80");
        assert!(of("::1", 0).is_err());
    }

    proptest! {
        #[test]
        fn is_always_the_authority_of_a_uri(text in "[a-z0-9.:@/?#\\[\\]%_ -]{0,40}") {
            if let Ok(address) = PeerAddress::parse(&text) {
                let uri: http::Uri = format!("http://{address}/").parse().unwrap();
                let authority = uri.authority().unwrap();
                prop_assert_eq!(authority.host(), address.host());
                prop_assert_eq!(authority.port_u16(), Some(address.port()));
            }
        }

        #[test]
        fn never_panics(text in ".*") {
            let _ = PeerAddress::parse(&text);
        }
    }
}
