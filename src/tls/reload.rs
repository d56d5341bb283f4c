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
        let client_ca = self
            .files
            .client_ca
            .as_deref()
            .unwrap_or(&self.files.certificate);
        let mut client_ca_dir = DirWatch::of_file(client_ca)?;
        // A change between the first load and the start of the watch would be missed otherwise.
        self.reload();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                alive = certificate_dir.changed() => if !alive { break },
                alive = key_dir.changed() => if !alive { break },
                alive = client_ca_dir.changed() => if !alive { break },
            }
            self.reload();
        }
        Err("the watch on the certificate's folder ended".into())
    }

    fn reload(&self) {
        match self.files.load() {
            Ok(identity) => {
                let changed = self.sender.borrow().leaf != identity.leaf;
                // Published even so: the CA of the clients may have changed.
                self.sender.send_replace(Arc::new(identity));
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn write_pair(dir: &Path) -> IdentityFiles {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(dir.join("tls.crt"), pair.cert.pem()).unwrap();
        std::fs::write(dir.join("tls.key"), pair.signing_key.serialize_pem()).unwrap();
        let (certificate, key) = (dir.join("tls.crt"), dir.join("tls.key"));
        IdentityFiles {
            certificate,
            key,
            client_ca: None,
            client_names: Vec::new(),
        }
    }

    #[test]
    fn keeps_last_certificate_when_new_one_is_broken() {
        let dir = tempfile::tempdir().unwrap();
        let files = write_pair(dir.path());
        let (identity, follower) = follow(files.clone()).unwrap();
        let first = identity.borrow().leaf.clone();

        std::fs::write(&files.certificate, "rubbish").unwrap();
        follower.reload();
        assert_eq!(identity.borrow().leaf, first);

        write_pair(dir.path());
        follower.reload();
        assert_ne!(identity.borrow().leaf, first);
    }

    #[test]
    fn refuses_a_key_of_another_certificate() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut files = write_pair(one.path());
        files.key = write_pair(other.path()).key;
        let error = files.load().unwrap_err();
        assert!(matches!(error, IdentityError::Pair { .. }), "{error}");
    }

    #[test]
    fn names_the_file_that_is_missing() {
        let files = IdentityFiles {
            certificate: "/nowhere/tls.crt".into(),
            key: "/nowhere/tls.key".into(),
            client_ca: None,
            client_names: Vec::new(),
        };
        assert_eq!(
            files.load().unwrap_err().to_string(),
            "cannot read \"/nowhere/tls.crt\""
        );
    }
}
