//! Ports for programs that a test starts.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below those that the system hands out by itself, to listeners without a port and to
/// connections: between the choice of a port and its use none of them takes it.
const FIRST: u16 = 10_240;
/// How many there are.
const COUNT: u16 = 9_700;
/// From one to the next: there are programs that take the port after theirs as well.
const STEP: u16 = 17;

/// The next port, from a place on that is another one in each process.
static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(fastrand::u16(..)));

/// A port that nobody has on `127.0.0.1` and on `[::1]`, and that no other test of this process
/// gets.
pub fn free_port() -> u16 {
    loop {
        let port = FIRST + NEXT.fetch_add(STEP, Ordering::Relaxed) % COUNT;
        let is_free = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            && is_free_or_missing((Ipv6Addr::LOCALHOST, port).into());
        if is_free {
            return port;
        }
    }
}

/// The same at `127.0.0.1`.
pub fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}

fn is_free_or_missing(address: SocketAddr) -> bool {
    let bound = TcpListener::bind(address);
    !bound.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_port_is_handed_out_twice_and_none_that_is_taken() {
        let ports: HashSet<_> = (0..100).map(|_| free_port()).collect();
        assert_eq!(ports.len(), 100);
        let ahead = NEXT.load(Ordering::Relaxed);
        let taken: Vec<_> = (0..10)
            .map(|at| FIRST + ahead.wrapping_add(at * STEP) % COUNT)
            .filter_map(|port| Some((port, TcpListener::bind(("127.0.0.1", port)).ok()?)))
            .collect();
        for _ in 0..10 {
            let port = free_port();
            assert!(taken.iter().all(|(other, _)| *other != port));
        }
    }
}
