//! The servers of a cluster.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use redis::RedisError;
use tracing::debug;

use super::failure::Unreached;
use super::hosts::Host;
use super::line::{Confirm, Line, Target};
use super::settings::Settings;
use super::slots::{Slot, SlotMap};

/// Lines to the servers of a cluster, and which of them has which slots.
pub(super) struct Cluster {
    settings: Arc<Settings>,
    map: ArcSwap<SlotMap>,
    /// Held while servers are asked for the map: when they were asked last, and why none told.
    asking: tokio::sync::Mutex<Option<(Instant, Result<(), Unreached>)>>,
    lines: Mutex<HashMap<Host, [Arc<Line>; 2]>>,
}

impl Cluster {
    pub(super) fn new(settings: &Arc<Settings>) -> Self {
        Self {
            settings: Arc::clone(settings),
            map: ArcSwap::default(),
            asking: tokio::sync::Mutex::new(None),
            lines: Mutex::default(),
        }
    }

    /// The line to the primary that has a slot, or to any.
    pub(super) async fn line(
        &self,
        slot: Option<Slot>,
        confirm: Confirm,
    ) -> Result<Arc<Line>, Unreached> {
        if let Some(host) = self.owner(slot) {
            return Ok(self.line_to(&host, confirm));
        }
        self.refresh(Instant::now()).await?;
        match self.owner(slot) {
            Some(host) => Ok(self.line_to(&host, confirm)),
            None => Err(self.nobody()),
        }
    }

    /// The line to a server.
    pub(super) fn line_to(&self, host: &Host, confirm: Confirm) -> Arc<Line> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = match lines.get(host) {
            Some(pair) => pair,
            None => {
                let pair = Line::pair(&self.settings, &Target::Node(host.clone()));
                lines.entry(host.clone()).or_insert(pair)
            }
        };
        Arc::clone(match confirm {
            Confirm::Primary => &pair[0],
            Confirm::Replicas => &pair[1],
        })
    }

    /// Asks servers which of them has which slots, unless somebody did since then.
    pub(super) async fn refresh(&self, since: Instant) -> Result<(), Unreached> {
        let mut asking = self.asking.lock().await;
        if let Some((at, told)) = &*asking
            && *at >= since
        {
            return told.clone();
        }
        let told = self.ask_all().await;
        *asking = Some((Instant::now(), told.clone()));
        told
    }

    /// Asks one after the other until one tells.
    async fn ask_all(&self) -> Result<(), Unreached> {
        let mut last = None;
        for host in self.known() {
            match self.ask(&host).await {
                Ok(map) => {
                    self.take(map);
                    return Ok(());
                }
                Err(unreached) => {
                    debug!(%host, "A server does not tell of the cluster");
                    last = Some(unreached);
                }
            }
        }
        Err(last.unwrap_or_else(|| self.nobody()))
    }

    async fn ask(&self, host: &Host) -> Result<SlotMap, Unreached> {
        let connection = self.line_to(host, Confirm::Primary).connection().await?;
        let mut connection = (*connection).clone();
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let answer = connection.commands().send_packed_command(&command).await;
        let map = answer
            .and_then(|answer| answer.extract_error())
            .and_then(|answer| {
                let map = SlotMap::parse(&answer, host);
                map.filter(|map| map.hosts().next().is_some())
                    .ok_or_else(|| away("it does not know which server of the cluster has what"))
            });
        map.map_err(|error| Unreached::new(host, error))
    }

    fn take(&self, map: SlotMap) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|host, _| map.hosts().any(|known| known == host));
        drop(lines);
        self.map.store(Arc::new(map));
    }

    fn owner(&self, slot: Option<Slot>) -> Option<Host> {
        let map = self.map.load();
        match slot {
            Some(slot) => map.owner(slot).cloned(),
            None => map.hosts().next().cloned(),
        }
    }

    /// Servers to ask, each once: those with connections first.
    fn known(&self) -> Vec<Host> {
        let map = self.map.load();
        let mut known: Vec<Host> = Vec::new();
        for host in map.hosts().chain(&self.settings.hosts) {
            if !known.contains(host) {
                known.push(host.clone());
            }
        }
        drop(map);
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let is_open = |host: &Host| lines.get(host).is_some_and(|pair| pair[0].is_open());
        known.sort_by_key(|host| !is_open(host));
        known
    }

    fn nobody(&self) -> Unreached {
        let error = away("no server of the cluster has the slot of the key");
        Unreached::new(&self.settings.hosts[0], error)
    }
}

/// An error that another try may heal.
fn away(text: &'static str) -> RedisError {
    std::io::Error::other(text).into()
}
