//! The bundle of the Secret, or of a file.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;

use super::file::FileRoots;
use crate::injector::certificates::kubernetes::CertificateSecret;
use crate::injector::object::kubernetes::CallError;
use crate::process::tasks::BoxError;

/// Where the bundle comes from.
#[derive(Clone)]
pub enum Roots {
    /// The Secret with the webhook's own CA.
    Secret {
        /// To read it anew.
        secret: Box<CertificateSecret>,
        /// As it was seen last.
        bundle: watch::Receiver<Option<String>>,
    },
    /// A file that somebody else keeps.
    File(watch::Receiver<Arc<FileRoots>>),
}

impl Roots {
    /// The bundle as it is known here.
    pub(in super::super) fn wanted(&self, in_place: &[(String, String)]) -> Option<String> {
        match self {
            Self::Secret { bundle, .. } => bundle.borrow().clone(),
            Self::File(roots) => Some(roots.borrow().over(in_place, SystemTime::now())),
        }
    }

    /// The bundle as it is at this moment.
    pub(in super::super) async fn confirmed(
        &self,
        in_place: &[(String, String)],
    ) -> Result<Option<String>, CallError> {
        match self {
            Self::Secret { secret, .. } => secret.bundle().await,
            Self::File(_) => Ok(self.wanted(in_place)),
        }
    }

    /// Waits until the bundle may have changed.
    pub(in super::super) async fn changed(&mut self) -> Result<(), BoxError> {
        match self {
            Self::Secret { bundle, .. } => Ok(bundle.changed().await?),
            Self::File(roots) => Ok(roots.changed().await?),
        }
    }
}
