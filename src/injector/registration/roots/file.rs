//! The CA certificates of a file that somebody else keeps, such as `ca.crt` of a mounted Secret.
//!
//! Replicas see a changed file at different times, so none of them takes away what another may
//! have added: a CA leaves the bundle when it has ended, or when it has left the file that this
//! replica saw it in, and the propagation wait is over.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::injector::certificates::certificate::{Certificate, CertificateError};
use crate::process::tasks::{BoxError, with_causes};
use crate::process::watch_dir::DirWatch;

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// It holds something else.
    #[error("{path:?} does not hold CA certificates")]
    Content {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: CertificateError,
    },
}

/// What a file holds, and held.
#[derive(Clone, Debug, Default)]
pub struct FileRoots {
    own: Vec<Certificate>,
    /// Held once, and no more.
    former: Vec<Certificate>,
    /// Whether the former ones may go.
    settled: bool,
}

impl FileRoots {
    /// The bundle to write where some are in place.
    pub(super) fn over(&self, in_place: &[(String, String)], now: SystemTime) -> String {
        let mut all: Vec<Certificate> = Vec::new();
        let bundles = in_place.iter().map(|(_, bundle)| bundle);
        // What cannot be read is of no use to an API server either.
        let placed = bundles.flat_map(|bundle| Certificate::parse_all(bundle).unwrap_or_default());
        let stays = |root: &Certificate| {
            let is_gone = self.settled && self.former.contains(root);
            !is_gone && !root.life().ended(now)
        };
        for root in placed.filter(stays).chain(self.own.iter().cloned()) {
            if !all.contains(&root) {
                all.push(root);
            }
        }
        all.iter().map(Certificate::pem).collect()
    }

    fn change(&mut self, own: Vec<Certificate>) {
        let before = std::mem::replace(&mut self.own, own);
        self.former.extend(before);
        let Self { own, former, .. } = self;
        former.retain(|root| !own.contains(root));
        self.settled = false;
    }
}

/// Reads the file, and hands back what it holds as it changes, with the task that follows it.
pub fn follow(
    path: &Path,
    wait: Duration,
) -> Result<(watch::Receiver<Arc<FileRoots>>, Follower), FileError> {
    let roots = FileRoots {
        own: load(path)?,
        ..FileRoots::default()
    };
    let (sender, receiver) = watch::channel(Arc::new(roots));
    let follower = Follower {
        path: path.to_owned(),
        wait,
        sender,
    };
    Ok((receiver, follower))
}

/// The task that follows the file.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    wait: Duration,
    sender: watch::Sender<Arc<FileRoots>>,
}

impl Follower {
    /// Follows the file until shutdown. A broken file replaces nothing.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), BoxError> {
        let mut folder = DirWatch::of_file(&self.path)?;
        loop {
            self.reload();
            let is_settled = self.sender.borrow().settled;
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                alive = folder.changed() => if !alive {
                    return Err("the watch on the folder of the webhook's CA ended".into());
                },
                () = tokio::time::sleep(self.wait), if !is_settled => {
                    self.sender.send_modify(|roots| Arc::make_mut(roots).settled = true);
                }
            }
        }
    }

    fn reload(&self) {
        match load(&self.path) {
            Ok(own) if self.sender.borrow().own == own => {}
            Ok(own) => {
                self.sender
                    .send_modify(|roots| Arc::make_mut(roots).change(own));
                info!(file = %self.path.display(), "The webhook's CA changed");
            }
            Err(error) => {
                metrics::counter!("sidegate_certificate_reload_failures_total").increment(1);
                warn!(error = %with_causes(&error), "Kept the last good CA of the webhook");
            }
        }
    }
}

fn load(path: &Path) -> Result<Vec<Certificate>, FileError> {
    let text = std::fs::read_to_string(path).map_err(|cause| FileError::Read {
        path: path.to_owned(),
        cause,
    })?;
    Certificate::parse_all(&text).map_err(|cause| FileError::Content {
        path: path.to_owned(),
        cause,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::certificates::Authority;

    #[test]
    fn takes_away_only_what_it_knows_to_be_gone() {
        let [old, new, other] = [(); 3].map(|()| {
            let pem = Authority::new().certificate();
            Certificate::parse(pem.as_bytes()).unwrap()
        });
        let pem = |all: &[&Certificate]| all.iter().map(|one| one.pem()).collect::<String>();
        let mut roots = FileRoots {
            own: vec![old.clone()],
            ..FileRoots::default()
        };
        let now = SystemTime::now();
        let over = |roots: &FileRoots, in_place: &str| {
            roots.over(&[("a".to_owned(), in_place.to_owned())], now)
        };
        assert_eq!(over(&roots, "rubbish"), pem(&[&old]));
        assert_eq!(over(&roots, &pem(&[&other])), pem(&[&other, &old]));
        roots.change(vec![new.clone()]);
        assert_eq!(over(&roots, &pem(&[&old])), pem(&[&old, &new]));
        roots.settled = true;
        assert_eq!(over(&roots, &pem(&[&old, &new])), pem(&[&new]));
        assert_eq!(over(&roots, &pem(&[&other, &new])), pem(&[&other, &new]));
    }
}
