//! Ports for programs that are about to start.
//!
//! Between the choice of a port and its use somebody else could take it. So they are none of those
//! that the system hands out by itself, to listeners without a port and to connections, and each
//! stays reserved among the commands that choose here: its number is also taken for UDP, which
//! these programs do not use.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

/// Below the ports of Kubernetes' nodes, from 30000 on, and of Linux' own choice, from 32768 on
/// (`ip_local_port_range`).
const FIRST: u16 = 20_000;
/// How many there are.
const COUNT: u16 = 10_000;

/// Ports that are free at the moment on `127.0.0.1` and on `[::1]`, each another one.
#[derive(Debug)]
pub struct FreePorts<const N: usize> {
    /// Their numbers.
    pub numbers: [u16; N],
    _reserved: Vec<UdpSocket>,
}

impl<const N: usize> FreePorts<N> {
    /// Chooses some. They stay reserved until it is dropped.
    ///
    /// # Errors
    ///
    /// Too few are free.
    pub fn find() -> io::Result<Self> {
        let mut numbers = [0; N];
        let mut reserved = Vec::with_capacity(N);
        let start = fastrand::u16(..COUNT);
        let mut candidates = (0..COUNT).map(|at| FIRST + (start + at) % COUNT);
        for number in &mut numbers {
            let found = candidates.find_map(|port| Some((port, reserve(port)?)));
            let Some((port, socket)) = found else {
                let text = format!("no port from {FIRST} to {} is free", FIRST + COUNT - 1);
                return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
            };
            *number = port;
            reserved.push(socket);
        }
        Ok(Self {
            numbers,
            _reserved: reserved,
        })
    }
}

/// Reserves a port that nobody has.
fn reserve(port: u16) -> Option<UdpSocket> {
    let reserved = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
    is_free_or_missing((Ipv6Addr::LOCALHOST, port).into()).then_some(reserved)
}

/// A host without IPv6 has no such address.
fn is_free_or_missing(address: SocketAddr) -> bool {
    let bound = TcpListener::bind(address);
    !bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn nobody_gets_a_port_of_another() {
        let all: Vec<_> = (0..50).map(|_| FreePorts::<4>::find().unwrap()).collect();
        let numbers: HashSet<_> = all.iter().flat_map(|ports| ports.numbers).collect();
        assert_eq!(numbers.len(), 200);
        assert!(numbers.iter().all(|port| (20_000..30_000).contains(port)));
    }

    #[test]
    fn a_port_that_is_taken_on_one_address_is_not_free() {
        let FreePorts { numbers, .. } = FreePorts::<2>::find().unwrap();
        let [one, other] = numbers;
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, one)).unwrap();
        assert!(reserve(one).is_none());
        if let Ok(_taken) = TcpListener::bind((Ipv6Addr::LOCALHOST, other)) {
            assert!(reserve(other).is_none());
        }
    }
}
