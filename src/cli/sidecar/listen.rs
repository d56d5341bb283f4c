//! Where the sidecar listens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use tracing::info;

use crate::process::listener::{BindError, Listener};

/// Everybody in the pod may open the sockets: the app has a uid of its own. The folder belongs to
/// the pod alone.
const SOCKET_MODE: u32 = 0o666;

/// Where one server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Each of these addresses that the host has, at least one.
    Tcp(Vec<IpAddr>, u16),
    /// All addresses of the host, of both families where it has IPv6.
    AllTcp(u16),
    /// A socket file.
    Unix(PathBuf),
}

/// A text that is no IP address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{text:?} is not an address: accepted are IP addresses such as \"127.0.0.1\" and \"[::1]\""
)]
pub(super) struct AddressError {
    text: String,
}

/// Both loopback addresses.
const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V6(Ipv6Addr::LOCALHOST),
    IpAddr::V4(Ipv4Addr::LOCALHOST),
];

impl Place {
    /// The addresses of a comma list, or those of loopback for an empty one. IPv6 addresses may
    /// stand in brackets, and `localhost` is both loopback addresses.
    pub(super) fn listed(list: &str, port: u16) -> Result<Self, AddressError> {
        let mut addresses = Vec::new();
        for text in list
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
        {
            if text == "localhost" {
                addresses.extend(LOOPBACK);
            } else {
                addresses.push(parse_address(text)?);
            }
        }
        if addresses.is_empty() {
            addresses.extend(LOOPBACK);
        }
        addresses.dedup();
        Ok(Self::Tcp(addresses, port))
    }

    /// One address, or all of them for an empty text.
    pub(super) fn one_or_all(address: &str, port: u16) -> Result<Self, AddressError> {
        match address.trim() {
            "" => Ok(Self::AllTcp(port)),
            address => Self::listed(address, port),
        }
    }

    /// The socket of one protocol of an app, in the names of daprd.
    pub(super) fn unix(folder: &Path, app_id: &str, protocol: &str) -> Self {
        Self::Unix(folder.join(format!("dapr-{app_id}-{protocol}.socket")))
    }

    /// Opens the sockets. An address that the host lacks is left out with a line in the log while
    /// another one is there: nodes without IPv6 have no `[::1]`.
    pub(super) async fn bind(&self) -> Result<Vec<Listener>, BindError> {
        match self {
            Self::Unix(path) => Ok(vec![Listener::bind_unix(path, SOCKET_MODE).await?]),
            Self::AllTcp(port) => {
                let all = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
                let mut missing = None;
                for address in all {
                    match Listener::bind_tcp(SocketAddr::new(address, *port)).await {
                        Err(error) if error.is_missing_address() => missing = Some(error),
                        bound => return Ok(vec![bound?]),
                    }
                }
                missing.map_or(Ok(Vec::new()), Err)
            }
            Self::Tcp(addresses, port) => bind_each(addresses, *port).await,
        }
    }
}

async fn bind_each(addresses: &[IpAddr], port: u16) -> Result<Vec<Listener>, BindError> {
    let mut listeners = Vec::new();
    let mut missing = Vec::new();
    for address in addresses {
        match Listener::bind_tcp(SocketAddr::new(*address, port)).await {
            Ok(listener) => listeners.push(listener),
            Err(error) if error.is_missing_address() => missing.push((address, error)),
            Err(error) => return Err(error),
        }
    }
    if listeners.is_empty()
        && let Some((_, error)) = missing.pop()
    {
        return Err(error);
    }
    for (address, _) in missing {
        info!(%address, port, "Not listening on an address that this host does not have");
    }
    Ok(listeners)
}

fn parse_address(text: &str) -> Result<IpAddr, AddressError> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse().map_err(|_| AddressError {
        text: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lists_of_addresses() {
        for (list, expected) in [
            ("", vec!["::1", "127.0.0.1"]),
            ("[::1],127.0.0.1", vec!["::1", "127.0.0.1"]),
            ("localhost", vec!["::1", "127.0.0.1"]),
            ("0.0.0.0", vec!["0.0.0.0"]),
            (" ::1 , ", vec!["::1"]),
        ] {
            let addresses = expected.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(
                Place::listed(list, 1),
                Ok(Place::Tcp(addresses, 1)),
                "{list}"
            );
        }
        assert_eq!(
            Place::listed("127.0.0.1,a", 1).unwrap_err().to_string(),
            "\"a\" is not an address: accepted are IP addresses such as \"127.0.0.1\" and \"[::1]\""
        );
    }

    #[test]
    fn an_empty_address_is_all_of_them_for_one_server_only() {
        assert_eq!(Place::one_or_all("", 1), Ok(Place::AllTcp(1)));
        let one = Place::Tcp(vec!["127.0.0.1".parse().unwrap()], 1);
        assert_eq!(Place::one_or_all("127.0.0.1", 1), Ok(one));
    }

    #[tokio::test]
    async fn leaves_out_what_the_host_lacks_while_another_address_is_there() {
        // 192.0.2.0/24 is for documentation (RFC 5737): no host has it.
        let lacking = "192.0.2.1";
        let both = Place::listed(&format!("{lacking},127.0.0.1"), 0).unwrap();
        assert_eq!(both.bind().await.unwrap().len(), 1);
        let only = Place::listed(lacking, 0).unwrap();
        let error = only.bind().await.unwrap_err();
        assert_eq!(error.to_string(), "cannot listen on 192.0.2.1:0");
    }
}
