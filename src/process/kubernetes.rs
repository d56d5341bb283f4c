//! The road to the Kubernetes API: one client, made from the pod's service account or a kubeconfig.

use std::path::PathBuf;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};

/// How long a connection to the API server may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the address and the credentials of the API server come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// The service account of the pod that this process runs in.
    InCluster,
    /// A kubeconfig file, with its current context.
    Kubeconfig(PathBuf),
    /// The service account where there is one, else `KUBECONFIG`, else `~/.kube/config`.
    Any,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig file cannot be used.
    #[error("kubeconfig cannot be used")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// The service account of the pod cannot be used.
    #[error(
        "the pod's service account cannot be used (is automountServiceAccountToken false for the \
         pod or its service account?)"
    )]
    InCluster(#[from] kube::config::InClusterError),
    /// The credentials or certificates in it cannot be used.
    #[error("no client for the Kubernetes API can be made")]
    Client(#[from] kube::Error),
}

/// A cluster that this process may talk to. Nothing is sent when it is made.
#[derive(Clone)]
pub struct Cluster {
    /// The client. Cheap to clone.
    pub client: kube::Client,
    /// The namespace of the pod, or that of the kubeconfig's context, or `default`.
    pub namespace: String,
}

impl Cluster {
    /// Makes the client.
    ///
    /// # Errors
    ///
    /// Files that are missing or not understood. A server that does not answer is none.
    pub async fn connect(access: &Access) -> Result<Self, ConnectError> {
        Self::new(config(access).await?)
    }

    /// The same, for callers that try again by themselves where the server is busy.
    ///
    /// # Errors
    ///
    /// As [`Cluster::connect`].
    pub async fn connect_without_retries(access: &Access) -> Result<Self, ConnectError> {
        let mut config = config(access).await?;
        config.default_retry = false;
        Self::new(config)
    }

    fn new(mut config: kube::Config) -> Result<Self, ConnectError> {
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        Ok(Self {
            namespace: config.default_namespace.clone(),
            client: kube::Client::try_from(config)?,
        })
    }
}

/// Whether there are an address and credentials, without a client, which takes memory.
///
/// # Errors
///
/// As [`Cluster::connect`].
pub async fn check(access: &Access) -> Result<(), ConnectError> {
    config(access).await.map(drop)
}

async fn config(access: &Access) -> Result<kube::Config, ConnectError> {
    Ok(match access {
        Access::InCluster => kube::Config::incluster()?,
        Access::Kubeconfig(path) => from_kubeconfig(Kubeconfig::read_from(path)?).await?,
        Access::Any => match kube::Config::incluster() {
            Ok(config) => config,
            Err(_) => from_kubeconfig(Kubeconfig::read()?).await?,
        },
    })
}

async fn from_kubeconfig(
    kubeconfig: Kubeconfig,
) -> Result<kube::Config, kube::config::KubeconfigError> {
    kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await
}
