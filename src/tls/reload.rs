//! Certificates that change while the process runs.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::identity::{Identity, IdentityError, IdentityFiles};
use crate::process::tasks::{BoxError, with_causes};
use crate::process::watch_dir::DirWatch;

/// Loads the files, and hands back the identity as it changes, with the task that follows them.
///
/// Invariant: a broken or half-written pair never replaces a good one.
pub fn follow(
    files: IdentityFiles,
) -> Result<(watch::Receiver<Arc<Identity>>, Follower), IdentityError> {
    let (sender, receiver) = watch::channel(Arc::new(files.load()?));
    Ok((receiver, Follower { files, sender }))
}

/// The task that follows the files.
#[derive(Debug)]
pub struct Follower {
    files: IdentityFiles,
    sender: watch::Sender<Arc<Identity>>,
}

impl Follower {
    /// Reloads the files whenever their folders change, until shutdown.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), BoxError> {
        let mut certificate_dir = DirWatch::of_file(&self.files.certificate)?;
        let mut key_dir = DirWatch::of_file(&self.files.key)?;
        // A change between the first load and the start of the watch would be missed otherwise.
        self.reload();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                alive = certificate_dir.changed() => if !alive { break },
                alive = key_dir.changed() => if !alive { break },
            }
            self.reload();
        }
        Err("the watch on the certificate's folder ended".into())
    }

    fn reload(&self) {
        match self.files.load() {
            Ok(identity) => {
                let ends_at = identity.not_after;
                let mut changed = false;
                self.sender.send_if_modified(|current| {
                    changed = current.not_after != ends_at;
                    *current = Arc::new(identity);
                    true
                });
                if changed {
                    info!(certificate = %self.files.certificate.display(), "Certificate reloaded");
                }
            }
            Err(error) => {
                metrics::counter!("sidegate_certificate_reload_failures_total").increment(1);
                warn!(error = %with_causes(&error), "Kept the last good certificate");
            }
        }
    }
}
