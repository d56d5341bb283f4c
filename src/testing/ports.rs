//! Ports for programs that a test starts.

use std::net::{Ipv4Addr, SocketAddr};

use crate::process::free_ports::FreePorts;

/// A port that nobody has on `127.0.0.1` and on `[::1]`, reserved for this test to the end of the
/// process.
pub fn free_port() -> u16 {
    let ports = FreePorts::find().unwrap();
    let [port] = ports.numbers;
    std::mem::forget(ports);
    port
}

/// The same at `127.0.0.1`.
pub fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_port_is_handed_out_twice() {
        let ports: HashSet<_> = (0..100).map(|_| free_port()).collect();
        assert_eq!(ports.len(), 100);
    }
}
