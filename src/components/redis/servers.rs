//! Which server takes which command.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use redis::Value;

use super::cluster::Cluster;
use super::errand::Errand;
use super::failure::{Miss, Unreached};
use super::line::{Confirm, Line, Target};
use super::settings::Settings;
use super::slots::Slot;

/// One server, or those of a cluster.
pub(super) enum Servers {
    One([Arc<Line>; 2]),
    Cluster(Cluster),
}

impl Servers {
    pub(super) fn new(settings: &Arc<Settings>) -> Self {
        if settings.is_cluster {
            Self::Cluster(Cluster::new(settings))
        } else {
            Self::One(Line::pair(settings, &Target::Configured))
        }
    }

    /// The line to the server that has a slot.
    pub(super) async fn line(
        &self,
        slot: Option<Slot>,
        confirm: Confirm,
    ) -> Result<Arc<Line>, Unreached> {
        match (self, confirm) {
            (Self::Cluster(cluster), _) => cluster.line(slot, confirm).await,
            (Self::One([line, _]), Confirm::Primary) => Ok(Arc::clone(line)),
            (Self::One([_, line]), Confirm::Replicas) => Ok(Arc::clone(line)),
        }
    }

    /// Sends commands, those of one server together. They come back with their answers.
    pub(super) async fn deliver<'a>(
        &self,
        errands: Vec<Errand<'a>>,
        confirm: Confirm,
    ) -> Vec<(Errand<'a>, Result<Value, Miss>)> {
        let mut delivered = Vec::with_capacity(errands.len());
        let mut groups: Vec<(Arc<Line>, Vec<Errand<'a>>)> = Vec::new();
        for errand in errands {
            let line = match (self, errand.detour()) {
                (Self::Cluster(cluster), Some(host)) => Ok(cluster.line_to(host, confirm)),
                _ => self.line(errand.slot, confirm).await,
            };
            match line {
                Err(unreached) => delivered.push((errand, Err(Miss::Unreached(unreached)))),
                Ok(line) => match groups.iter_mut().find(|(of, _)| Arc::ptr_eq(of, &line)) {
                    Some((_, group)) => group.push(errand),
                    None => groups.push((line, vec![errand])),
                },
            }
        }
        for answered in join_all(groups.into_iter().map(send)).await {
            delivered.extend(answered);
        }
        delivered
    }

    /// Looks again which server has what, unless somebody did since then.
    pub(super) async fn refresh(&self, since: Instant) {
        if let Self::Cluster(cluster) = self {
            // Where it fails, the next command says why.
            let _ = cluster.refresh(since).await;
        }
    }

    /// Whether it is a cluster.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}

async fn send<'a>(
    (line, errands): (Arc<Line>, Vec<Errand<'a>>),
) -> Vec<(Errand<'a>, Result<Value, Miss>)> {
    let answers = line.send(&errands).await;
    errands.into_iter().zip(answers).collect()
}
