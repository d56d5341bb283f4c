//! `mdns`: sidecars find each other without anything being set up. Those of one machine do by files
//! (module `siblings`), those of a network by multicast DNS ([`network`]).
//!
//! Invariant: a sidecar that only its own machine can reach opens no multicast socket, and sends
//! nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::address::PeerAddress;
use super::directory::{Cached, spread};
use super::siblings::{Announcement, Siblings};
use super::{Error, Lookup, Registration, ResolveError, Resolver};
use crate::process::tasks::{BoxError, Tasks, blocking, with_causes};
use network::Network;

mod network;

/// How long to wait for an app that is not known: it may be about to start, or to answer (Dapr 1.18
/// waits as long).
const PATIENCE: Duration = Duration::from_secs(1);
/// How often to look meanwhile.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a sidecar looks whether its own file is still there.
const RECHECK: Duration = Duration::from_secs(30);

/// Both ways to find others. At least one is there.
#[derive(Debug)]
pub(super) struct Mdns {
    siblings: Option<Cached<Siblings>>,
    network: Option<Network>,
}

/// Starts both ways, or the one for this machine alone.
pub(super) async fn start(
    registration: Registration,
    runtime_dir: &Path,
    tasks: &mut Tasks,
) -> Result<Arc<dyn Resolver>, Error> {
    let address = registration.address()?;
    let network = if registration.host_address.is_loopback() {
        None
    } else {
        Some(Network::start(&registration, tasks)?)
    };
    let runtime_dir = runtime_dir.to_owned();
    let own = registration;
    let own_address = address.clone();
    let opened = blocking(move || {
        let siblings = Siblings::open(&runtime_dir)?;
        let announcement = siblings.announce(&own, &own_address)?;
        Ok((siblings, announcement, own, own_address))
    });
    let siblings = match opened.await {
        Ok((siblings, announcement, own, own_address)) => {
            let shutdown = tasks.shutdown();
            let keep = keep_announced(siblings.clone(), announcement, (own, own_address), shutdown);
            tasks.spawn("announcement to siblings", keep);
            Some(Cached::new(siblings))
        }
        // A container may have no place for files; the app is none the worse for it.
        Err(error) => {
            let error: Error = error;
            let problem = with_causes(&error);
            warn!(
                error = problem,
                "Other sidecars of this machine are not found by files"
            );
            None
        }
    };
    let by_multicast = network.is_some();
    info!(%address, by_multicast, "Announced this sidecar to others");
    Ok(Arc::new(Mdns { siblings, network }))
}

/// Holds the announcement until shutdown, and renews it where its file is gone.
async fn keep_announced(
    siblings: Siblings,
    announcement: Announcement,
    own: (Registration, PeerAddress),
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let own = Arc::new(own);
    let mut held = Some(announcement);
    while !shutdown.is_cancelled() {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(RECHECK) => {
                let (siblings, own) = (siblings.clone(), Arc::clone(&own));
                held = blocking(move || renewed(held, &siblings, &own)).await;
            }
        }
    }
    drop(held);
    Ok(())
}

fn renewed(
    held: Option<Announcement>,
    siblings: &Siblings,
    own: &(Registration, PeerAddress),
) -> Option<Announcement> {
    if held.as_ref().is_some_and(Announcement::is_there) {
        return held;
    }
    let (registration, address) = own;
    match siblings.announce(registration, address) {
        Ok(announcement) => Some(announcement),
        Err(error) => {
            let problem = with_causes(&error);
            warn!(
                error = problem,
                "Siblings cannot find this sidecar; trying again"
            );
            None
        }
    }
}

impl Mdns {
    /// The addresses that are known now.
    async fn known(&self, app: &Lookup<'_>) -> Result<Vec<PeerAddress>, ResolveError> {
        let network = self.network.as_ref();
        let mut addresses = network.map_or_else(Vec::new, |network| network.find(app));
        let Some(siblings) = &self.siblings else {
            return Ok(addresses);
        };
        match siblings.find(app).await {
            Ok(siblings) => {
                // A sibling that is in the network too has one address in both.
                addresses.retain(|address| !siblings.contains(address));
                addresses.extend(siblings);
            }
            Err(failure) if addresses.is_empty() => return Err(failure),
            Err(_) => {}
        }
        Ok(addresses)
    }
}

#[async_trait]
impl Resolver for Mdns {
    async fn resolve(&self, app: &Lookup<'_>) -> Result<Vec<PeerAddress>, ResolveError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let addresses = self.known(app).await?;
            if !addresses.is_empty() {
                return Ok(spread(addresses));
            }
            if Instant::now() >= deadline {
                return Err(ResolveError::not_found(app));
            }
            if let Some(network) = &self.network {
                network.ask();
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_that_something_removed_is_renewed() {
        let dir = tempfile::tempdir().unwrap();
        let siblings = Siblings::open(&dir.path().join("s")).unwrap();
        let registration = Registration {
            app_id: "shop".to_owned(),
            namespace: String::new(),
            host_address: [127, 0, 0, 1].into(),
            internal_port: 1,
        };
        let address = registration.address().unwrap();
        let own = (registration, address);
        let first = renewed(None, &siblings, &own).unwrap();
        let kept = renewed(Some(first), &siblings, &own).unwrap();
        assert!(kept.is_there());
        std::fs::remove_dir_all(dir.path().join("s")).unwrap();
        assert!(!kept.is_there());
        let renewed_one = renewed(Some(kept), &siblings, &own).unwrap();
        assert!(renewed_one.is_there());
        std::fs::remove_dir_all(dir.path()).unwrap();
        assert!(renewed(Some(renewed_one), &siblings, &own).is_none());
    }
}
