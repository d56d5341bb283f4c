//! The road to other sidecars: how they find this one, and how it finds them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;

use anyhow::Context as _;
use tracing::{info, warn};

use super::config::Config;
use super::mtls;
use crate::base::environment::Environment;
use crate::blocks::invoke::{Forwarding, Invoke};
use crate::cli::environment::host_name;
use crate::peers::Peers;
use crate::peers::identity::Mtls;
use crate::peers::name_resolution::{self, Registration};
use crate::process::listener::ListenAddr;
use crate::process::tasks::Tasks;
use crate::resources::configuration::name_resolution::NameResolution;
use crate::tls::spiffe::SpiffeHandshake;

/// An address that no packet reaches (RFC 5737): asking for the way to it sends nothing, and tells
/// which of its own addresses this host would send from.
const ELSEWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 1);

/// The namespace by which other sidecars know this one: without `NAMESPACE`, that of Kubernetes for
/// whatever names none (Dapr 1.18).
pub(super) fn namespace(given: Option<&str>) -> &str {
    given.unwrap_or("default")
}

/// Gives `invoke` the road to other sidecars. `listening` is where this one serves them, with the
/// handshake where it is mutual TLS. Nobody can find this sidecar before it has a certificate.
pub(super) async fn connect(
    invoke: Invoke,
    config: &Config,
    chosen: Option<&NameResolution>,
    listening: &[ListenAddr],
    tasks: &mut Tasks,
) -> anyhow::Result<(Invoke, Option<SpiffeHandshake>)> {
    let own = &config.registry;
    let default = NameResolution::of_mode(own.is_kubernetes);
    let bound = listening.iter().find_map(|address| match address {
        ListenAddr::Tcp(address) => Some(*address),
        ListenAddr::Unix(_) => None,
    });
    let bound = bound.context("the port for other sidecars is not open")?;
    let host_address = host_address(&own.environment, bound)?;
    let mtls = mtls::start(config.sentry.clone(), tasks).await?;
    let handshake = mtls.as_ref().map(Mtls::handshake).transpose()?;
    if handshake.is_some() {
        info!("Sidecars that call this one have to prove which app they are of");
    } else {
        say_who_may_call(bound, own.is_kubernetes);
    }
    let registration = Registration {
        app_id: own.app_id.clone(),
        namespace: namespace(own.namespace.as_deref()).to_owned(),
        host_address,
        internal_port: bound.port(),
    };
    let runtime_dir = runtime_dir(&own.environment);
    let chosen = chosen.unwrap_or(&default);
    let resolver = name_resolution::start(chosen, registration, &runtime_dir, tasks).await?;
    let peers = Peers::new(resolver, config.max_body, mtls);
    let forwarding = Forwarding {
        address: host_address.to_string(),
        host: host_name(&own.environment),
    };
    Ok((invoke.with_peers(peers, forwarding), handshake))
}

fn say_who_may_call(bound: SocketAddr, is_kubernetes: bool) {
    if bound.ip().is_loopback() {
        info!(
            "Other sidecars of this machine can call this one, and nobody beyond: nothing tells \
             who calls on the internal port (--dapr-internal-grpc-listen-address opens it)"
        );
    } else if is_kubernetes {
        warn!(
            address = %bound,
            "Whoever reaches the internal port can call the app: let a NetworkPolicy admit \
             sidecars only"
        );
    } else {
        warn!(
            address = %bound,
            "Whoever reaches the internal port can call the app: \
             --dapr-internal-grpc-listen-address opens it to more than this machine"
        );
    }
}

/// `DAPR_HOST_IP`, or the address at which the port is open, or the one from which this host
/// sends (Dapr 1.18).
fn host_address(environment: &Environment, bound: SocketAddr) -> anyhow::Result<IpAddr> {
    if !bound.ip().is_unspecified() {
        return Ok(bound.ip());
    }
    if let Some(given) = environment.non_empty("DAPR_HOST_IP") {
        let parsed = given.parse();
        return parsed.with_context(|| format!("DAPR_HOST_IP: {given:?} is not an IP address"));
    }
    let way = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect(ELSEWHERE)?;
        socket.local_addr()
    });
    // A host without any network still has itself.
    Ok(way.map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip()))
}

/// Where the sidecars of one user on this machine find each other.
fn runtime_dir(environment: &Environment) -> PathBuf {
    match environment.non_empty("XDG_RUNTIME_DIR") {
        Some(folder) => PathBuf::from(folder).join("sidegate"),
        None => {
            let user = rustix::process::getuid().as_raw();
            let temporary = environment.non_empty("TMPDIR").unwrap_or("/tmp");
            PathBuf::from(temporary).join(format!("sidegate-{user}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn the_host_is_where_the_port_is_open() {
        let given = environment(&[("DAPR_HOST_IP", "192.0.2.7")]);
        for (bound, expected) in [
            ("127.0.0.1:1", "127.0.0.1"),
            ("10.0.0.1:1", "10.0.0.1"),
            ("0.0.0.0:1", "192.0.2.7"),
            ("[::]:1", "192.0.2.7"),
        ] {
            let address = host_address(&given, bound.parse().unwrap()).unwrap();
            assert_eq!(address.to_string(), expected, "{bound}");
        }
        let bad = environment(&[("DAPR_HOST_IP", "here")]);
        let error = host_address(&bad, "0.0.0.0:1".parse().unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "DAPR_HOST_IP: \"here\" is not an IP address"
        );
    }

    #[test]
    fn the_folder_belongs_to_one_user() {
        let given = environment(&[("XDG_RUNTIME_DIR", "/run/user/1")]);
        assert_eq!(runtime_dir(&given), PathBuf::from("/run/user/1/sidegate"));
        let text = runtime_dir(&environment(&[])).display().to_string();
        assert!(text.starts_with("/tmp/sidegate-"), "{text}");
    }
}
