//! Addresses that a URL of a caller may not reach.
//!
//! The metadata services of clouds hand out credentials of the machine to whoever connects. Their
//! addresses are link-local, but for a few. An HTTPEndpoint may name them: an operator wrote it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Azure's wire server, and the metadata service of Alibaba Cloud, which are not link-local.
const METADATA_V4: [Ipv4Addr; 2] = [
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
];

/// The metadata service of EC2, EKS Pod Identity, and the metadata service of Google Cloud.
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// The prefix under which translators reach IPv4 addresses (RFC 6052).
const NAT64: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

/// Whether no caller may choose an address.
pub(super) fn is_refused(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_refused_v4(address),
        IpAddr::V6(address) => match translated(address) {
            Some(address) => is_refused_v4(address),
            None => address.is_unicast_link_local() || METADATA_V6.contains(&address),
        },
    }
}

fn is_refused_v4(address: Ipv4Addr) -> bool {
    address.is_link_local() || METADATA_V4.contains(&address)
}

fn translated(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [prefix @ .., high, low] = address.segments();
    let [a, b] = high.to_be_bytes();
    let [c, d] = low.to_be_bytes();
    (prefix == NAT64).then(|| Ipv4Addr::new(a, b, c, d))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_addresses_of_metadata_services_in_every_form() {
        for address in [
            "169.254.169.254",
            "169.254.170.2",
            "168.63.129.16",
            "100.100.100.200",
            "fe80::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "64:ff9b::169.254.169.254",
        ] {
            assert!(is_refused(address.parse().unwrap()), "{address}");
        }
        for address in [
            "127.0.0.1",
            "::1",
            "10.0.0.1",
            "169.253.0.1",
            "fd00::1",
            "64:ff9b::8.8.8.8",
            "2606:4700::1111",
        ] {
            assert!(!is_refused(address.parse().unwrap()), "{address}");
        }
    }
}
