//! Sidecars of the local network, by multicast DNS (RFC 6762) and DNS-SD (RFC 6763).
//!
//! All sidecars are instances of one service type, which say their app id and namespace in TXT:
//! ```text
//! _sidegate._tcp.local.         PTR  <random>._sidegate._tcp.local.
//! <random>._sidegate._tcp.local. SRV  <random>.local. port   TXT app=<id> ns=<namespace>
//! <random>.local.                A    <host address>
//! ```
//! One query that goes on keeps a list of all of them, which announcements and goodbyes change at
//! once. It speaks on the interface of the host address alone.

use std::collections::HashMap;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use mdns_sd::{IfKind, Receiver, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::peers::name_resolution::address::PeerAddress;
use crate::peers::name_resolution::directory::Directory;
use crate::peers::name_resolution::{Error, Lookup, Registration};
use crate::process::tasks::{BoxError, Tasks};

/// The service type of sidecars.
const SERVICE: &str = "_sidegate._tcp.local.";
/// The keys of the TXT record.
const APP_ID: &str = "app";
const NAMESPACE: &str = "ns";
/// The most sidecars that are kept: anybody on the network can announce some.
const MAX_INSTANCES: usize = 4096;
/// How often the network is asked anew because of an app that is not known.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// What the network says.
#[derive(Debug)]
pub(super) struct Network {
    directory: Arc<ArcSwap<Directory>>,
    asked: Arc<Notify>,
}

/// Sidecars by their full names of DNS-SD.
#[derive(Debug, Default)]
struct Instances(HashMap<String, Instance>);

#[derive(Debug, PartialEq, Eq)]
struct Instance {
    app_id: String,
    namespace: String,
    address: PeerAddress,
}

impl Network {
    /// Announces this sidecar and begins to listen to others.
    pub(super) fn start(registration: &Registration, tasks: &mut Tasks) -> Result<Self, Error> {
        let fail = |cause: BoxError| Error::Start {
            resolver: "mdns",
            cause,
        };
        // Only an address of this machine can be bound, and only such a one is announced.
        UdpSocket::bind((registration.host_address, 0)).map_err(|error| {
            let host = registration.host_address;
            fail(format!("{host} is no address of this machine: {error}").into())
        })?;
        let daemon = ServiceDaemon::new().map_err(|error| fail(error.into()))?;
        let interface = IfKind::Addr(registration.host_address);
        Self::over(daemon, interface, registration, tasks).map_err(fail)
    }

    /// The same over one interface of a daemon.
    fn over(
        daemon: ServiceDaemon,
        interface: IfKind,
        registration: &Registration,
        tasks: &mut Tasks,
    ) -> Result<Self, BoxError> {
        daemon.disable_interface(IfKind::All)?;
        daemon.enable_interface(interface)?;
        let service = service(registration)?;
        let name = service.get_fullname().to_owned();
        daemon.register(service)?;
        let events = daemon.browse(SERVICE)?;
        let network = Self {
            directory: Arc::default(),
            asked: Arc::default(),
        };
        let follow = Follow {
            daemon,
            name,
            directory: Arc::clone(&network.directory),
            asked: Arc::clone(&network.asked),
        };
        tasks.spawn("mDNS", follow.run(events, tasks.shutdown()));
        Ok(network)
    }

    /// The addresses of an app that are known now.
    pub(super) fn find(&self, app: &Lookup<'_>) -> Vec<PeerAddress> {
        self.directory.load().find(app).to_vec()
    }

    /// Asks the network anew, unless that was just done.
    pub(super) fn ask(&self) {
        self.asked.notify_one();
    }
}

/// The record of this sidecar. Its names are random: they conflict with nothing, and tell nothing.
fn service(registration: &Registration) -> Result<ServiceInfo, mdns_sd::Error> {
    let name = format!("{:032x}", fastrand::u128(..));
    let properties = [
        (APP_ID, registration.app_id.as_str()),
        (NAMESPACE, registration.namespace.as_str()),
    ];
    let mut service = ServiceInfo::new(
        SERVICE,
        &name,
        &format!("{name}.local."),
        registration.host_address,
        registration.internal_port,
        &properties[..],
    )?;
    // Nobody else has these names, so that there is nobody to ask before.
    service.set_requires_probe(false);
    Ok(service)
}

/// The task that keeps the list.
struct Follow {
    daemon: ServiceDaemon,
    /// This sidecar's full name.
    name: String,
    directory: Arc<ArcSwap<Directory>>,
    asked: Arc<Notify>,
}

impl Follow {
    async fn run(
        self,
        mut events: Receiver<ServiceEvent>,
        shutdown: CancellationToken,
    ) -> Result<(), BoxError> {
        let mut instances = Instances::default();
        let mut last_asked = Instant::now();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.asked.notified() => {
                    if last_asked.elapsed() >= ASK_INTERVAL {
                        last_asked = Instant::now();
                        events = self.daemon.browse(SERVICE)?;
                    }
                }
                event = events.recv_async() => match event {
                    Ok(event) => {
                        if instances.apply(event) {
                            self.directory.store(Arc::new(instances.directory()));
                        }
                    }
                    // It fell behind, which ends a subscription. What is known comes again.
                    Err(_) => {
                        tokio::time::sleep(ASK_INTERVAL).await;
                        events = self.daemon.browse(SERVICE)?;
                    }
                },
            }
        }
        if tokio::time::timeout(GOODBYE, self.say_goodbye())
            .await
            .is_err()
        {
            warn!("Others may believe for a while that this sidecar is still there");
        }
        Ok(())
    }

    async fn say_goodbye(&self) {
        let said = match self.daemon.unregister(&self.name) {
            Ok(said) => said.recv_async().await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = said {
            debug!(error, "Could not say goodbye");
        }
        if let Ok(ended) = self.daemon.shutdown() {
            let _ = ended.recv_async().await;
        }
    }
}

impl Instances {
    /// Takes over what happened. True where that changed something.
    fn apply(&mut self, event: ServiceEvent) -> bool {
        match event {
            ServiceEvent::ServiceResolved(service) => {
                let name = service.get_fullname().to_owned();
                let Some(instance) = Instance::read(&service) else {
                    debug!(name, "Passed over an announcement without a usable address");
                    return self.0.remove(&name).is_some();
                };
                if self.0.len() >= MAX_INSTANCES && !self.0.contains_key(&name) {
                    debug!(name, "Passed over an announcement: there are too many");
                    return false;
                }
                let changed = self.0.get(&name) != Some(&instance);
                self.0.insert(name, instance);
                changed
            }
            ServiceEvent::ServiceRemoved(_, name) => self.0.remove(&name).is_some(),
            _ => false,
        }
    }

    fn directory(&self) -> Directory {
        let mut directory = Directory::default();
        for Instance {
            app_id,
            namespace,
            address,
        } in self.0.values()
        {
            directory.add(namespace.clone(), app_id.clone(), address.clone());
        }
        directory
    }
}

impl Instance {
    /// What an announcement says; none where it is not one that calls can go to.
    fn read(service: &ResolvedService) -> Option<Self> {
        let mut addresses: Vec<_> = service
            .get_addresses()
            .iter()
            .map(mdns_sd::ScopedIp::to_ip_addr)
            .filter(is_usable)
            .collect();
        // IPv4 first, as in Dapr.
        addresses.sort();
        let address = PeerAddress::of_ip(*addresses.first()?, service.get_port());
        Some(Self {
            app_id: service.get_property_val_str(APP_ID)?.to_owned(),
            namespace: service
                .get_property_val_str(NAMESPACE)
                .unwrap_or_default()
                .to_owned(),
            address: address.ok()?,
        })
    }
}

/// Nobody on a network may send calls to this machine's own loopback; a link-local IPv6 address
/// needs an interface, which a URI has no place for.
fn is_usable(ip: &IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || link_local)
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: Lookup<'static> = Lookup {
        app_id: "shop",
        namespace: "prod",
    };

    fn announced(name: &str, ips: &[&str], properties: &[(&str, &str)]) -> ServiceEvent {
        let ips: Vec<IpAddr> = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        let host = format!("{name}.local.");
        let service = ServiceInfo::new(SERVICE, name, &host, &ips[..], 50002, properties).unwrap();
        ServiceEvent::ServiceResolved(Box::new(service.as_resolved_service()))
    }

    fn removed(name: &str) -> ServiceEvent {
        ServiceEvent::ServiceRemoved(SERVICE.to_owned(), format!("{name}.{SERVICE}"))
    }

    fn found(instances: &Instances) -> Vec<String> {
        instances.directory().sorted(&APP)
    }

    #[test]
    fn follows_what_the_network_says() {
        let shop = [("app", "shop"), ("ns", "prod")];
        let mut instances = Instances::default();
        assert!(instances.apply(announced("a", &["10.0.0.1"], &shop)));
        assert!(!instances.apply(announced("a", &["10.0.0.1"], &shop)));
        assert!(instances.apply(announced("b", &["fd00::2"], &shop)));
        for (name, properties) in [
            ("c", &[("app", "shop"), ("ns", "test")][..]),
            ("d", &[("app", "shop")]),
            ("e", &[("app", "other"), ("ns", "prod")]),
        ] {
            assert!(instances.apply(announced(name, &["10.0.0.3"], properties)));
        }
        assert_eq!(found(&instances), ["10.0.0.1:50002", "[fd00::2]:50002"]);
        assert!(instances.apply(announced("a", &["10.0.0.4", "fd00::4"], &shop)));
        assert_eq!(found(&instances), ["10.0.0.4:50002", "[fd00::2]:50002"]);
        assert!(instances.apply(removed("a")) && !instances.apply(removed("a")));
        assert_eq!(found(&instances), ["[fd00::2]:50002"]);
    }

    #[test]
    fn passes_over_what_no_call_may_go_to() {
        let shop = [("app", "shop"), ("ns", "prod")];
        let mut instances = Instances::default();
        for ip in [
            "127.0.0.1",
            "::1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "ff02::1",
            "fe80::1",
        ] {
            assert!(!instances.apply(announced("a", &[ip], &shop)), "{ip}");
        }
        assert!(!instances.apply(announced("a", &["10.0.0.1"], &[("ns", "prod")])));
        assert!(instances.apply(announced("a", &["127.0.0.1", "10.0.0.1"], &shop)));
        assert_eq!(found(&instances), ["10.0.0.1:50002"]);
        // What became unusable is forgotten.
        assert!(instances.apply(announced("a", &["127.0.0.1"], &shop)));
        assert_eq!(found(&instances), Vec::<String>::new());
    }

    #[test]
    fn keeps_a_limited_number_of_sidecars() {
        let shop = [("app", "shop"), ("ns", "prod")];
        let mut instances = Instances::default();
        for number in 0..=MAX_INSTANCES {
            instances.apply(announced(&format!("n{number}"), &["10.0.0.1"], &shop));
        }
        assert_eq!(instances.0.len(), MAX_INSTANCES);
        assert!(instances.apply(announced("n0", &["10.0.0.2"], &shop)));
    }
}
