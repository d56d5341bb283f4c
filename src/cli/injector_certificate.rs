//! The flags of the injector's certificate, and the tasks that keep it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use clap::ArgGroup;
use tokio::sync::watch;

use crate::base::duration::parse_go_duration;
use crate::injector::certificates::authority::Terms;
use crate::injector::certificates::kubernetes::{CertificateSecret, Keeper};
use crate::injector::certificates::lifetimes::{LifetimeError, Lifetimes};
use crate::injector::registration::kubernetes::{Keeper as RegistrationKeeper, Kind, Starting};
use crate::injector::registration::roots::file;
use crate::injector::registration::roots::kubernetes::Roots;
use crate::injector::registration::trust::Trust;
use crate::process::kubernetes::Cluster;
use crate::process::readiness::Readiness;
use crate::process::tasks::Tasks;
use crate::tls::identity::{Identity, IdentityFiles};
use crate::tls::reload::follow;

/// Either two files that somebody else keeps, or a Secret that the injector keeps.
#[derive(Debug, clap::Args)]
#[command(
    next_help_heading = "The certificate of the webhook",
    group(ArgGroup::new("certificate").required(true).args(["tls_cert_file", "certificate_secret"]))
)]
pub(super) struct CertificateArgs {
    /// Certificate chain of the webhook, PEM; loaded again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key_file")]
    tls_cert_file: Option<PathBuf>,
    /// Private key of the webhook, PEM; loaded again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    tls_key_file: Option<PathBuf>,
    /// CA certificates of the webhook, PEM, which --mutating-webhook and --validating-webhook get
    /// as caBundle; loaded again when they change
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    webhook_ca_file: Option<PathBuf>,
    /// Keep a CA and a certificate in this Secret of the own namespace, which must exist, and renew
    /// them; replicas share it
    #[arg(long, value_name = "NAME")]
    pub(super) certificate_secret: Option<String>,
    /// Own namespace, of --certificate-secret [default: that of the service account or kubeconfig]
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Service of the webhook: the certificate is for its names
    #[arg(long, value_name = "NAME", default_value = "sidegate-injector")]
    service_name: String,
    /// MutatingWebhookConfiguration that calls this injector: gets the CA as caBundle. Tells this
    /// injector from others of the cluster too
    #[arg(long, value_name = "NAME")]
    pub(super) mutating_webhook: Option<String>,
    /// ValidatingWebhookConfiguration that calls this injector: gets the CA as caBundle
    #[arg(long, value_name = "NAME")]
    validating_webhook: Option<String>,
    /// Life of a CA, such as 8760h; at least three times that of a certificate
    #[arg(long, value_name = "DURATION", default_value = "8760h",
          value_parser = parse_go_duration)]
    ca_lifetime: Duration,
    /// Life of a certificate; at least three times the propagation wait
    #[arg(long, value_name = "DURATION", default_value = "2160h",
          value_parser = parse_go_duration)]
    leaf_lifetime: Duration,
    /// Time from a new caBundle to the first certificate that needs it, for every API server to
    /// notice
    #[arg(long, value_name = "DURATION", default_value = "60s",
          value_parser = parse_go_duration)]
    propagation_wait: Duration,
    /// CA certificates, PEM: callers must show a certificate that one of them signed
    #[arg(long, value_name = "FILE")]
    client_ca_file: Option<PathBuf>,
    /// Names that a caller's certificate may have, as common name or DNS name; any without it
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        requires = "client_ca_file"
    )]
    client_names: Vec<String>,
}

/// What the tasks of the certificate belong to.
pub(super) struct Process<'a> {
    /// Waits for the certificate and its registrations.
    pub(super) readiness: &'a Readiness,
    /// Runs them.
    pub(super) tasks: &'a mut Tasks,
}

impl CertificateArgs {
    /// Checks what can be checked before anything is asked for.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        self.lifetimes()?;
        let is_registered = self.mutating_webhook.is_some() || self.validating_webhook.is_some();
        ensure!(
            !self.needs_cluster() || is_registered,
            "--certificate-secret and --webhook-ca-file need --mutating-webhook or \
             --validating-webhook: without one no API server learns of the CA"
        );
        Ok(())
    }

    /// Whether the Kubernetes API is needed.
    pub(super) fn needs_cluster(&self) -> bool {
        self.certificate_secret.is_some() || self.webhook_ca_file.is_some()
    }

    /// Starts to follow the files, and to keep the registrations where there is a cluster.
    pub(super) fn follow_files(
        &self,
        cluster: Option<Cluster>,
        process: Process<'_>,
    ) -> anyhow::Result<watch::Receiver<Arc<Identity>>> {
        let (identity, follower) = follow(self.files())?;
        let stop = process.tasks.shutdown();
        process.tasks.spawn("certificate", follower.run(stop));
        if let (Some(path), Some(cluster)) = (&self.webhook_ca_file, cluster) {
            let (roots, follower) = file::follow(path, self.propagation_wait)?;
            let stop = process.tasks.shutdown();
            process.tasks.spawn("webhook CA", follower.run(stop));
            self.register(&cluster, &Roots::File(roots), &Trust::new(), process);
        }
        Ok(identity)
    }

    /// Starts to keep the Secret `name` and the registrations. Until there is a certificate, every
    /// handshake fails.
    pub(super) fn keep(
        &self,
        (cluster, name): (Cluster, &str),
        cluster_domain: &str,
        process: Process<'_>,
    ) -> anyhow::Result<watch::Receiver<Arc<Identity>>> {
        let namespace = self.namespace.clone().unwrap_or(cluster.namespace);
        let cluster = Cluster {
            namespace,
            ..cluster
        };
        let service = format!("{}.{}.svc", self.service_name, cluster.namespace);
        let terms = Terms {
            lifetimes: self.lifetimes()?,
            names: vec![service.clone(), format!("{service}.{cluster_domain}")],
        };
        let secret = CertificateSecret::new(&cluster, name, terms.names.clone());
        let trust = Trust::new();
        let starting = process.readiness.wait_for("certificate");
        let (keeper, followers) =
            Keeper::new(secret.clone(), terms, self.files(), trust.clone(), starting)?;
        let bundle = followers.bundle;
        let stop = process.tasks.shutdown();
        process.tasks.spawn("certificate", keeper.run(stop));
        let secret = Box::new(secret);
        let roots = Roots::Secret { secret, bundle };
        self.register(&cluster, &roots, &trust, process);
        Ok(followers.identity)
    }

    /// Starts to keep the configurations that call this webhook.
    fn register(&self, cluster: &Cluster, roots: &Roots, trust: &Trust, process: Process<'_>) {
        let mutating = self.mutating_webhook.as_deref();
        let validating = self.validating_webhook.as_deref();
        let all = [(Kind::Mutating, mutating), (Kind::Validating, validating)];
        for (kind, name) in all {
            let Some(name) = name else {
                continue;
            };
            let wait_for = |what| process.readiness.wait_for(what);
            let starting = Starting {
                bundle: wait_for("caBundle"),
                conditions: (kind == Kind::Mutating).then(|| wait_for("matchConditions")),
            };
            let keeper = RegistrationKeeper::new(
                cluster,
                (kind, name),
                roots.clone(),
                trust.place(),
                starting,
            );
            let stop = process.tasks.shutdown();
            process.tasks.spawn("registration", keeper.run(stop));
        }
    }

    fn lifetimes(&self) -> Result<Lifetimes, LifetimeError> {
        Lifetimes::parse(self.ca_lifetime, self.leaf_lifetime, self.propagation_wait)
    }

    fn files(&self) -> IdentityFiles {
        IdentityFiles {
            certificate: self.tls_cert_file.clone().unwrap_or_default(),
            key: self.tls_key_file.clone().unwrap_or_default(),
            client_ca: self.client_ca_file.clone(),
            client_names: self.client_names.clone(),
        }
    }
}
