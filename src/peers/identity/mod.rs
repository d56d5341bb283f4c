//! The certificate of the own app, from the certificate authority of a Dapr control plane (Sentry).
//!
//! ```text
//! obtain ─▶ sentry::request ─▶ Svid ─▶ Mtls (both sides of mutual TLS)
//!                                ▲
//! Renewal::run, at half its life ┘ (a watch: connections that begin later get the new one)
//! ```

mod sentry;

pub use sentry::{Sentry, Token};

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::process::tasks::{BoxError, with_causes};
use crate::tls::client::TrustError;
use crate::tls::spiffe::{Expected, SpiffeHandshake, Svid, SvidError, TrustAnchors, client_config};
use sentry::Connection;

/// The namespace of an app that has none (Dapr 1.18).
pub const DEFAULT_NAMESPACE: &str = "default";

/// How often the first certificate is asked for, and the time between.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// The time after a renewal that failed (Dapr 1.18).
pub const RETRY: Duration = Duration::from_secs(10);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The token cannot be read.
    #[error("cannot read the token for the certificate authority from {path:?}")]
    Token {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The token is empty.
    #[error("the token for the certificate authority in {0:?} is empty")]
    EmptyToken(std::path::PathBuf),
    /// No key, or no request for a certificate.
    #[error("cannot make a key")]
    Key(#[source] BoxError),
    /// The authority did not answer, or refused.
    #[error("the certificate authority at {address} gave no certificate")]
    Refused {
        /// Its address.
        address: String,
        /// Why.
        #[source]
        cause: BoxError,
    },
    /// It did not answer in time.
    #[error("the certificate authority at {0} did not answer in time")]
    Timeout(String),
    /// What it gave cannot be used.
    #[error("the certificate that the authority gave cannot be used")]
    Svid(#[from] SvidError),
    /// What it gave is for somebody else.
    #[error(
        "the certificate that the authority gave is for {given}, not for {app_id} in {namespace}"
    )]
    Foreign {
        /// Whom it is for.
        given: crate::base::spiffe_id::SpiffeId,
        /// The own app.
        app_id: String,
        /// Its namespace.
        namespace: String,
    },
    /// The trust anchors cannot be used.
    #[error("the trust anchors cannot be used")]
    Anchors(#[from] TrustError),
}

/// Both sides of mutual TLS between sidecars. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Mtls {
    anchors: TrustAnchors,
    own: watch::Receiver<Arc<Svid>>,
}

impl Mtls {
    /// With a certificate that changes.
    pub fn new(anchors: TrustAnchors, own: watch::Receiver<Arc<Svid>>) -> Self {
        Self { anchors, own }
    }

    /// The server side.
    ///
    /// # Errors
    ///
    /// Anchors that nothing can be checked with.
    pub fn handshake(&self) -> Result<SpiffeHandshake, TrustError> {
        SpiffeHandshake::new(&self.anchors, self.own.clone())
    }

    /// The client side, for connections to one app. An empty namespace is the default one.
    pub(super) fn client(&self, app_id: &str, namespace: &str) -> rustls::ClientConfig {
        let expected = Expected::App {
            app_id: app_id.to_owned(),
            namespace: or_default(namespace).to_owned(),
        };
        client_config(&self.anchors, expected, Some(self.own.clone()))
    }
}

fn or_default(namespace: &str) -> &str {
    if namespace.is_empty() {
        DEFAULT_NAMESPACE
    } else {
        namespace
    }
}

/// Gets the first certificate, and hands back the task that renews it.
///
/// # Errors
///
/// None after several tries.
pub async fn obtain(sentry: Sentry) -> Result<(Mtls, Renewal), IdentityError> {
    let anchors = sentry.anchors.clone();
    let retry = sentry.retry;
    let connection = Connection::new(sentry);
    let mut left = TRIES;
    let first = loop {
        left -= 1;
        match connection.request().await {
            Ok(svid) => break svid,
            Err(error) if left == 0 => {
                metrics::counter!("dapr_runtime_mtls_init_fail_total").increment(1);
                return Err(error);
            }
            Err(error) => warn!(error = %with_causes(&error), "No certificate yet"),
        }
        tokio::time::sleep(PAUSE).await;
    };
    metrics::counter!("dapr_runtime_mtls_init_total").increment(1);
    info!(id = %first.id, "Security is initialized successfully");
    let (sender, own) = watch::channel(Arc::new(first));
    let renewal = Renewal {
        connection,
        sender,
        retry,
    };
    Ok((Mtls::new(anchors, own), renewal))
}

/// The task that renews the certificate.
#[derive(Debug)]
pub struct Renewal {
    connection: Connection,
    sender: watch::Sender<Arc<Svid>>,
    retry: Duration,
}

impl Renewal {
    /// Renews the certificate at half its life, until shutdown. One that cannot be renewed stays,
    /// and further tries follow.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), BoxError> {
        let mut wait = until_half(&self.sender.borrow(), SystemTime::now());
        loop {
            let due = async {
                tokio::time::sleep(wait).await;
                self.connection.request().await
            };
            let outcome = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                outcome = due => outcome,
            };
            wait = match outcome {
                Ok(svid) => {
                    metrics::counter!("dapr_runtime_mtls_workload_cert_rotated_total").increment(1);
                    info!(id = %svid.id, "Renewed the certificate");
                    let wait = until_half(&svid, SystemTime::now());
                    self.sender.send_replace(Arc::new(svid));
                    wait
                }
                Err(error) => {
                    metrics::counter!("dapr_runtime_mtls_workload_cert_rotated_fail_total")
                        .increment(1);
                    warn!(error = %with_causes(&error), "Cannot renew the certificate");
                    self.retry
                }
            };
        }
    }
}

/// How long a certificate is left alone: until half its life is over.
fn until_half(svid: &Svid, now: SystemTime) -> Duration {
    let life = svid.not_after.duration_since(svid.not_before);
    let due = svid.not_before + life.unwrap_or_default() / 2;
    // An authority that hands out the past is not asked without end.
    let wait = due.duration_since(now).unwrap_or_default();
    wait.max(SHORTEST_WAIT)
}

/// The least time between two certificates.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
