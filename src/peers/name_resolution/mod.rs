//! From an app id to the addresses of its sidecars.
//!
//! [`start`] makes the resolver that is configured, announces this sidecar where the resolver has
//! that, and withdraws it at shutdown. Afterwards all there is to do is [`Resolver::resolve`].
//!
//! ```text
//! mdns              siblings (files of this machine) + mdns::network (multicast, not for loopback)
//! sqlite            rows of a database file that sidecars share
//! kubernetes        template: names of Services
//! nameformat        template: a pattern of the user's
//! structuredformat  structured: a list of the user's
//! ```
//! Nothing here asks DNS: an address may hold a name, which the caller connects to.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::base::names::is_dns_subdomain;
use crate::process::tasks::{BoxError, Tasks};
use crate::resources::configuration::name_resolution::{KubernetesNames, NameResolution};
use address::PeerAddress;
use template::{Template, TemplateError};

pub mod address;
mod directory;
mod mdns;
mod siblings;
#[cfg(feature = "sqlite")]
mod sqlite;
mod structured;
mod template;

#[cfg(test)]
mod tests;

/// Finds the sidecars of an app.
#[async_trait]
pub trait Resolver: fmt::Debug + Send + Sync {
    /// The addresses of the app's sidecars, at least one, in the order in which to try them. Calls
    /// are spread over them.
    async fn resolve(&self, app: &Lookup<'_>) -> Result<Vec<PeerAddress>, ResolveError>;
}

/// Whom to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup<'a> {
    /// The app id, without a namespace.
    pub app_id: &'a str,
    /// The namespace: an app of another one is another app.
    pub namespace: &'a str,
}

/// An app whose sidecars cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// There is none.
    #[error("couldn't find service: {app_id}")]
    NotFound {
        /// The app id.
        app_id: String,
    },
    /// An app id or a namespace that would change a host name.
    #[error(
        "{what} {text:?} cannot be part of a host name: accepted are 1 to 63 of the characters \
         a-z, 0-9 and \"-\", with a letter or digit at both ends"
    )]
    NotALabel {
        /// Which of both.
        what: &'static str,
        /// What it is.
        text: String,
    },
    /// The resolver did not answer.
    #[error("the name resolver did not answer within {limit:?}")]
    Timeout {
        /// How long it was given.
        limit: Duration,
    },
    /// The resolver failed.
    #[error("the name resolver failed")]
    Failed {
        /// Why.
        #[source]
        cause: BoxError,
    },
}

impl ResolveError {
    fn not_found(app: &Lookup<'_>) -> Self {
        Self::NotFound {
            app_id: app.app_id.to_owned(),
        }
    }
}

/// This sidecar, as others are to find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The app id.
    pub app_id: String,
    /// The namespace, which may be empty.
    pub namespace: String,
    /// Where other sidecars reach this one. A loopback address says that nobody beyond this machine
    /// can, and then nothing is sent to a network.
    pub host_address: IpAddr,
    /// The port that serves other sidecars. Resolvers that make addresses by a pattern take it for
    /// the port of all sidecars.
    pub internal_port: u16,
}

impl Registration {
    fn address(&self) -> Result<PeerAddress, Error> {
        let unusable = self.host_address.is_unspecified() || self.host_address.is_multicast();
        let address = PeerAddress::of_ip(self.host_address, self.internal_port);
        address
            .ok()
            .filter(|_| !unusable)
            .ok_or(Error::Unreachable {
                host: self.host_address,
                port: self.internal_port,
            })
    }
}

/// A resolver that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting that it cannot use.
    #[error("spec.nameResolution.configuration.{setting}: {value:?} cannot be used")]
    Setting {
        /// The name of the setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// What is wrong, and what is accepted.
        #[source]
        cause: BoxError,
    },
    /// It is not part of this build.
    #[error("name resolver {resolver:?} is not part of this build (feature {feature:?})")]
    NotBuilt {
        /// Its name.
        resolver: &'static str,
        /// The feature that it comes with.
        feature: &'static str,
    },
    /// An address that others cannot be told.
    #[error("{host} with port {port} is no address at which other sidecars can reach this one")]
    Unreachable {
        /// The host address.
        host: IpAddr,
        /// The internal port.
        port: u16,
    },
    /// The folder in which sidecars of one machine find each other.
    #[error("folder {path:?}, in which the sidecars of this machine find each other, {problem}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong, and what is accepted.
        problem: String,
    },
    /// It failed.
    #[error("name resolver {resolver:?} cannot start")]
    Start {
        /// Its name.
        resolver: &'static str,
        /// Why.
        #[source]
        cause: BoxError,
    },
}

/// Starts the resolver that is configured. What it announces is withdrawn by a task, when `tasks`
/// are asked to end.
///
/// `runtime_dir` is where sidecars of one machine find each other, such as
/// `$XDG_RUNTIME_DIR/sidegate`; it is made, for this user alone, where it is not there yet.
pub async fn start(
    config: &NameResolution,
    registration: Registration,
    runtime_dir: &Path,
    tasks: &mut Tasks,
) -> Result<Arc<dyn Resolver>, Error> {
    let port = registration.internal_port;
    match config {
        NameResolution::Mdns => mdns::start(registration, runtime_dir, tasks).await,
        NameResolution::Kubernetes(names) => Ok(Arc::new(kubernetes(names, port)?)),
        NameResolution::NameFormat { format } => {
            let template = Template::of_format(format, port);
            Ok(Arc::new(template.map_err(setting("format", format))?))
        }
        NameResolution::StructuredFormat(names) => {
            Ok(Arc::new(structured::Structured::read(names).await?))
        }
        #[cfg(feature = "sqlite")]
        NameResolution::Sqlite(names) => sqlite::start(names, registration, tasks).await,
        #[cfg(not(feature = "sqlite"))]
        NameResolution::Sqlite(_) => Err(Error::NotBuilt {
            resolver: "sqlite",
            feature: "sqlite",
        }),
    }
}

/// The names that Dapr's injector gives to the Services of apps, or those of a template.
fn kubernetes(names: &KubernetesNames, port: u16) -> Result<Template, Error> {
    if let Some(template) = &names.template {
        return Template::of_go(template, port).map_err(setting("template", template));
    }
    let domain = &names.cluster_domain;
    if !is_dns_subdomain(domain) {
        return Err(Error::Setting {
            setting: "clusterDomain",
            value: domain.clone(),
            cause: "accepted is a domain such as cluster.local".into(),
        });
    }
    let pattern = format!("{{{{.ID}}}}-dapr.{{{{.Namespace}}}}.svc.{domain}:{{{{.Port}}}}");
    Template::of_go(&pattern, port).map_err(setting("clusterDomain", domain))
}

fn setting(name: &'static str, value: &str) -> impl FnOnce(TemplateError) -> Error {
    let value = value.to_owned();
    move |cause| Error::Setting {
        setting: name,
        value,
        cause: cause.into(),
    }
}

#[async_trait]
impl Resolver for Template {
    async fn resolve(&self, app: &Lookup<'_>) -> Result<Vec<PeerAddress>, ResolveError> {
        Ok(vec![self.address(app)?])
    }
}
