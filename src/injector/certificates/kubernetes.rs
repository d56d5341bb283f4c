//! Follows the Secret, serves what is in it, and takes the steps of the plan.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::authority::{IssueError, Terms};
use super::content::{Content, ContentError};
use super::metrics;
use super::plan::{Plan, Step, plan};
use crate::base::back_off::BackOff;
use crate::injector::object::kubernetes::{CallError, Object};
use crate::injector::registration::trust::Trust;
use crate::process::kubernetes::Cluster;
use crate::process::readiness::ReadinessGuard;
use crate::process::tasks::{BoxError, with_causes};
use crate::tls::identity::{Identity, IdentityError, IdentityFiles};

/// The longest sleep: timers do not count while a machine is suspended.
const LONGEST_SLEEP: Duration = Duration::from_secs(10 * 60);

/// From the first to the longest pause between tries.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(30)];

/// The Secret that holds the certificates.
#[derive(Clone)]
pub struct CertificateSecret {
    secrets: Api<Secret>,
    object: Object,
    names: Vec<String>,
}

impl CertificateSecret {
    /// A Secret of the cluster's namespace, whose certificate is for `names`.
    pub fn new(cluster: &Cluster, name: &str, names: Vec<String>) -> Self {
        Self {
            secrets: Api::namespaced(cluster.client.clone(), &cluster.namespace),
            object: Object::namespaced("secrets", &cluster.namespace, name),
            names,
        }
    }

    /// The `caBundle` that belongs to what the Secret holds at this moment. None where it holds
    /// nothing that can be used.
    pub async fn bundle(&self) -> Result<Option<String>, CallError> {
        let secret = self.read().await?;
        let decoded = Content::decode(&data(&secret), &self.names);
        Ok(decoded.ok().map(|(content, _)| content.bundle()))
    }

    async fn read(&self) -> Result<Secret, CallError> {
        let read = self.secrets.get(&self.object.name).await;
        read.map_err(|cause| self.object.failed("get", cause))
    }

    /// Writes over the version that was read.
    async fn write(&self, secret: &Secret, content: &Content) -> Result<Secret, CallError> {
        let mut data = data(secret);
        content.encode(&mut data);
        let data = data
            .into_iter()
            .map(|(key, value)| (key, ByteString(value)));
        let mut secret = secret.clone();
        secret.data = Some(data.collect());
        secret.metadata.managed_fields = None;
        let params = PostParams::default();
        let written = self
            .secrets
            .replace(&self.object.name, &params, &secret)
            .await;
        written.map_err(|cause| self.object.failed("update", cause))
    }
}

fn data(secret: &Secret) -> BTreeMap<String, Vec<u8>> {
    let data = secret.data.iter().flatten();
    data.map(|(key, value)| (key.clone(), value.0.clone()))
        .collect()
}

/// Why a step was not taken.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Issue(#[from] IssueError),
}

/// Keeps the certificates in the Secret alive, and serves them.
pub struct Keeper {
    secret: CertificateSecret,
    terms: Terms,
    /// Names the files of the clients' CA, and the Secret in errors.
    files: IdentityFiles,
    identity: watch::Sender<Arc<Identity>>,
    bundle: watch::Sender<Option<String>>,
    trust: Trust,
    starting: Option<ReadinessGuard>,
    /// As it was read last.
    seen: Option<Secret>,
    /// What is served.
    served: Option<Content>,
    back_off: BackOff,
    retry: Option<SystemTime>,
}

/// What a [`Keeper`] tells others.
pub struct Followers {
    /// The identity to serve with.
    pub identity: watch::Receiver<Arc<Identity>>,
    /// The `caBundle` that belongs to it.
    pub bundle: watch::Receiver<Option<String>>,
}

impl Keeper {
    /// `starting` is dropped when there is a certificate to serve. `client_auth` names the CA of
    /// the clients; its other files are not read.
    pub fn new(
        secret: CertificateSecret,
        terms: Terms,
        client_auth: IdentityFiles,
        trust: Trust,
        starting: ReadinessGuard,
    ) -> Result<(Self, Followers), rustls::Error> {
        metrics::describe();
        let (identity, identities) = watch::channel(Arc::new(Identity::none()?));
        let (bundle, bundles) = watch::channel(None);
        let place = secret.object.to_string();
        let keeper = Self {
            files: IdentityFiles {
                certificate: format!("{place}: tls.crt").into(),
                key: format!("{place}: tls.key").into(),
                ..client_auth
            },
            secret,
            terms,
            identity,
            bundle,
            trust,
            starting: Some(starting),
            seen: None,
            served: None,
            back_off: BackOff::new(PAUSES),
            retry: None,
        };
        let followers = Followers {
            identity: identities,
            bundle: bundles,
        };
        Ok((keeper, followers))
    }

    /// Runs until shutdown. What the API server answers, and whether it does, never ends it.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), BoxError> {
        let events = watch_object(self.secret.secrets.clone(), &self.secret.object.name);
        let mut events = std::pin::pin!(events.default_backoff());
        let mut trust = self.trust.changes();
        loop {
            let wake = self.advance().await;
            let pause = wake.duration_since(SystemTime::now()).unwrap_or_default();
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                event = events.next() => match event {
                    Some(Ok(Some(secret))) => self.see(secret),
                    Some(Ok(None)) => self.miss(),
                    Some(Err(error)) => self.failed(&self.secret.object.watch_failed(error)),
                    None => return Err("the watch on the certificate's secret ended".into()),
                },
                changed = trust.changed() => changed?,
                () = tokio::time::sleep(pause.min(LONGEST_SLEEP)) => {}
            }
        }
    }

    fn see(&mut self, secret: Secret) {
        self.seen = Some(secret);
        self.retry = None;
    }

    fn miss(&mut self) {
        self.seen = None;
        let secret = &self.secret.object;
        warn!(%secret, "The secret for the certificate does not exist; waiting for it");
    }

    /// Takes every step that is due. The time of the next.
    async fn advance(&mut self) -> SystemTime {
        loop {
            let now = SystemTime::now();
            if let Some(retry) = self.retry.filter(|retry| *retry > now) {
                return retry;
            }
            let Some(secret) = self.seen.clone() else {
                return now + LONGEST_SLEEP;
            };
            let (step, content) = match self.next(&secret, now) {
                Ok(Next::Wait(wake)) => return wake,
                Ok(Next::Write(step, content)) => (step, content),
                Err(error) => return self.retry_after(&error),
            };
            match self.secret.write(&secret, &content).await {
                Ok(written) => {
                    self.stepped(step);
                    self.see(written);
                }
                Err(error) if error.is_conflict() => {
                    info!(secret = %self.secret.object, "Another replica was first; following it");
                    match self.secret.read().await {
                        Ok(secret) => self.see(secret),
                        Err(error) => return self.retry_after(&error.into()),
                    }
                }
                Err(error) => return self.retry_after(&error.into()),
            }
        }
    }

    fn next(&mut self, secret: &Secret, now: SystemTime) -> Result<Next, StepError> {
        let (content, problems) = match Content::decode(&data(secret), &self.terms.names) {
            Ok(decoded) => decoded,
            Err(error) => return self.make_anew(&error, now),
        };
        for problem in problems {
            warn!(
                secret = %self.secret.object, key = problem.key, problem = problem.what,
                "A part of the secret cannot be used; it is made anew"
            );
        }
        if content.is_alive(now) {
            self.serve(&content);
        }
        let since = self.trust.since(&content.bundle());
        Ok(match plan(&content, now, &self.terms.lifetimes, since) {
            Plan::Wait(wake) => Next::Wait(wake),
            Plan::Take(step) => Next::Write(step, Box::new(self.terms.take(step, &content, now)?)),
        })
    }

    /// Where the Secret is of no use any more, what is served goes back into it, on the way to a
    /// CA of its own: emptying it is how a new CA is asked for, and nothing is lost on the way.
    fn make_anew(&self, error: &ContentError, now: SystemTime) -> Result<Next, StepError> {
        let secret = &self.secret.object;
        if *error != ContentError::Empty {
            warn!(%secret, %error, "The secret cannot be used; it is made anew");
        }
        let served = self.served.as_ref().filter(|served| served.is_alive(now));
        let Some(served) = served else {
            return Ok(Next::Write(Step::Found, Box::new(self.terms.found(now)?)));
        };
        info!(%secret, "The secret was emptied; a new CA follows the one that is in use");
        let step = Step::AddAuthority;
        Ok(Next::Write(
            step,
            Box::new(self.terms.take(step, served, now)?),
        ))
    }

    fn serve(&mut self, content: &Content) {
        if self.served.as_ref() == Some(content) {
            return;
        }
        let bundle = content.bundle();
        self.bundle.send_if_modified(|told| {
            let changed = told.as_ref() != Some(&bundle);
            *told = Some(bundle);
            changed
        });
        match self.assemble(content) {
            Ok(Some(identity)) => {
                info!(secret = %self.secret.object, "Serving the certificate of the secret");
                self.identity.send_replace(Arc::new(identity));
            }
            Ok(None) => {}
            Err(error) => return self.failed(&error),
        }
        metrics::ca_ends(content.ca.certificate.life().end);
        self.served = Some(content.clone());
        self.starting = None;
    }

    /// The identity, unless it is the one that is served.
    fn assemble(&self, content: &Content) -> Result<Option<Identity>, IdentityError> {
        let Some(leaf) = &content.leaf else {
            return Ok(None);
        };
        let served = self.served.as_ref().and_then(|served| served.leaf.as_ref());
        if served == Some(leaf) {
            return Ok(None);
        }
        let certificate = leaf.certificate.pem().as_bytes();
        // The key is needed to serve with.
        let key = leaf.key.expose().as_bytes();
        self.files.assemble(certificate, key).map(Some)
    }

    fn stepped(&mut self, step: Step) {
        self.back_off.end();
        metrics::stepped(step);
        let secret = &self.secret.object;
        match step {
            Step::Found => info!(%secret, "Made a CA and a certificate"),
            Step::RenewLeaf => info!(%secret, "Renewed the certificate"),
            Step::AddAuthority => info!(%secret, "Made the next CA; it is trusted first"),
            Step::Switch => info!(%secret, "Switched to the next CA"),
            Step::DropOld => info!(%secret, "Dropped the CA before; its certificates have ended"),
        }
    }

    fn retry_after(&mut self, error: &StepError) -> SystemTime {
        self.failed(error);
        let retry = SystemTime::now() + self.back_off.another();
        self.retry = Some(retry);
        retry
    }

    fn failed(&self, error: &dyn std::error::Error) {
        metrics::failed();
        warn!(error = %with_causes(error), "The certificate could not be kept; trying again");
    }
}

enum Next {
    Wait(SystemTime),
    Write(Step, Box<Content>),
}
