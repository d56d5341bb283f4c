//! `secretstores.kubernetes`: the Secrets of the cluster, read with the rights of the pod's service
//! account.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use tokio::sync::Mutex;
use tracing::warn;

use self::kubernetes::{ApiServer, Failed};
use self::watch_kubernetes::Watches;
use self::wire::{List, Object};
use super::bulk::too_large;
use super::settings::Settings;
use super::{RequestMetadata, SecretMap, SecretStore, Secrets, StoreError};
use crate::base::names::{is_dns_label, is_dns_subdomain};
use crate::components::Error;
use crate::components::catalog::Host;
use crate::components::metadata::Reader;
use crate::process::kubernetes::{Access, check};
use crate::process::tasks::with_causes;

#[expect(
    clippy::module_inception,
    reason = "the client is used in files of this name only"
)]
mod kubernetes;
mod watch_kubernetes;
mod wire;

/// The parameter of a request that names a namespace.
const NAMESPACE: &str = "namespace";
/// How often a bulk read begins anew after its list expired, which takes minutes (the API server
/// keeps old versions for five).
const RESTARTS: usize = 2;
/// About how many Secrets the log tells that they have values which are no texts. Callers choose
/// names, and must not be able to fill the log.
const MAX_TOLD: usize = 64;

/// The Secrets of the cluster. Nothing is sent, and no client is made, before the first read.
pub struct KubernetesSecrets {
    server: ApiServer,
    settings: Settings,
    /// The namespace of reads that name none.
    namespace: Option<String>,
    watches: Mutex<Watches>,
    told: std::sync::Mutex<BTreeSet<String>>,
}

impl KubernetesSecrets {
    /// Reads the settings `defaultNamespace`, which counts where the environment has no
    /// `NAMESPACE`, and `kubeconfigPath`, which counts in place of the pod's service account.
    pub async fn start(
        reader: &mut Reader<'_>,
        host: Host<'_>,
        settings: Settings,
    ) -> Result<Self, Error> {
        let default = reader.text(&["defaultNamespace"])?.unwrap_or_default();
        let own = host.environment.non_empty("NAMESPACE");
        let namespace = own.or(Some(default).filter(|name| !name.is_empty()));
        let kubeconfig = reader.text(&["kubeconfigPath"])?.unwrap_or_default();
        let access = match kubeconfig {
            "" => host.cluster.clone(),
            path => Access::Kubeconfig(PathBuf::from(path)),
        };
        let usable = check(&access).await;
        usable.map_err(|error| Error::Init(with_causes(&error)))?;
        Ok(Self {
            server: ApiServer::new(access),
            settings,
            namespace: namespace.map(str::to_owned),
            watches: Mutex::default(),
            told: std::sync::Mutex::default(),
        })
    }

    fn namespace<'a>(&'a self, metadata: &'a RequestMetadata) -> Result<&'a str, StoreError> {
        let Some(namespace) = named(metadata).or(self.namespace.as_deref()) else {
            // The words of Dapr 1.18.
            return Err(failed(
                "namespace is missing on metadata and NAMESPACE env variable, and no default \
                 namespace is set",
            ));
        };
        if !is_dns_label(namespace) {
            let text = format!("{namespace:?} is not the name of a namespace");
            return Err(StoreError::Failed(text));
        }
        Ok(namespace)
    }

    /// Every page, from the beginning.
    async fn list(&self, namespace: &str) -> Result<Secrets, Failed> {
        let mut secrets = Secrets::new();
        let mut left = self.settings.max_bulk_bytes;
        let mut from: Option<String> = None;
        loop {
            let body = self.server.page(namespace, from.as_deref(), left).await?;
            left -= body.len();
            let list: List<'_> = serde_json::from_slice(&body).map_err(|_| not_understood())?;
            for object in &list.items {
                let secret = self.decoded(namespace, object).map_err(Failed::Other)?;
                secrets.insert(object.name().to_owned(), secret);
            }
            from = list.metadata.next.filter(|next| !next.is_empty());
            if from.is_none() {
                return Ok(secrets);
            }
        }
    }

    async fn whole_list(&self, namespace: &str) -> Result<Secrets, Failed> {
        for _ in 0..RESTARTS {
            match self.list(namespace).await {
                Err(Failed::Expired) => {}
                answer => return answer,
            }
        }
        self.list(namespace).await
    }

    fn decoded(&self, namespace: &str, object: &Object<'_>) -> Result<Arc<SecretMap>, String> {
        let decoded = object.decoded()?;
        if !decoded.binary.is_empty() {
            self.tell_binary(namespace, object.name(), &decoded.binary);
        }
        Ok(Arc::new(decoded.keys))
    }

    fn tell_binary(&self, namespace: &str, name: &str, keys: &[String]) {
        let secret = format!("{namespace}/{name}");
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < MAX_TOLD && told.insert(secret.clone()) {
            let keys = keys.join(", ");
            warn!(
                secret,
                keys, "Left out keys of a Secret whose values are no UTF-8 text"
            );
        }
    }
}

#[async_trait]
impl SecretStore for KubernetesSecrets {
    async fn get(
        &self,
        name: &str,
        metadata: &RequestMetadata,
    ) -> Result<Option<Arc<SecretMap>>, StoreError> {
        let namespace = self.namespace(metadata)?;
        // No Secret has another name, and of these no other URL can be made.
        if !is_dns_subdomain(name) {
            return Ok(None);
        }
        let limit = self.settings.max_answer_bytes;
        let body = match self.server.secret(namespace, name, limit).await {
            Ok(body) => body,
            Err(Failed::NotFound) => return Ok(None),
            Err(Failed::Forbidden(message)) => {
                return Err(StoreError::Failed(format!(
                    "{message}; grant it with a Role in namespace {namespace:?}: apiGroups [\"\"], \
                     resources [\"secrets\"], resourceNames [{name:?}], verbs [\"get\"]"
                )));
            }
            Err(error) => {
                let cannot = format!("cannot read Secret {name:?} in namespace {namespace:?}");
                return Err(failure(error, &cannot));
            }
        };
        let object: Object<'_> =
            serde_json::from_slice(&body).map_err(|_| failed(&not_understood().to_string()))?;
        let secret = self.decoded(namespace, &object);
        secret.map(Some).map_err(StoreError::Failed)
    }

    async fn bulk(&self, metadata: &RequestMetadata) -> Result<Secrets, StoreError> {
        let namespace = self.namespace(metadata)?;
        self.whole_list(namespace).await.map_err(|error| {
            let cannot = format!("cannot list the Secrets of namespace {namespace:?}");
            match error {
                Failed::Forbidden(message) => StoreError::ListForbidden(format!(
                    "{message}; grant it with a Role in namespace {namespace:?}: apiGroups [\"\"], \
                     resources [\"secrets\"], verbs [\"list\"]; or name what the app may read in \
                     allowedSecrets of the Configuration, so that each is read by its name"
                )),
                Failed::TooLarge { .. } => {
                    StoreError::Failed(format!("{cannot}: {}", too_large(&self.settings)))
                }
                error => failure(error, &cannot),
            }
        })
    }

    async fn changed(&self, secrets: &[(String, RequestMetadata)]) {
        let ids = secrets.iter().filter_map(|(name, metadata)| {
            let namespace = self.namespace(metadata).ok()?;
            is_dns_subdomain(name).then(|| (namespace.to_owned(), name.clone()))
        });
        let ids = ids.collect();
        match self.server.cluster().await {
            Ok(cluster) => self.watches.lock().await.changed(cluster, ids).await,
            // Whoever reads is told.
            Err(_) => std::future::pending().await,
        }
    }

    fn foreign_namespace<'a>(&self, metadata: &'a RequestMetadata) -> Option<&'a str> {
        named(metadata).filter(|named| self.namespace.as_deref() != Some(*named))
    }
}

fn named(metadata: &RequestMetadata) -> Option<&str> {
    let named = metadata.get(NAMESPACE).map(String::as_str);
    named.filter(|name| !name.is_empty())
}

fn failure(error: Failed, cannot: &str) -> StoreError {
    let text = format!("{cannot}: {error}");
    match error {
        Failed::Unavailable { retry_after, .. } => StoreError::Unavailable { text, retry_after },
        Failed::Unauthenticated(_) => StoreError::Unauthenticated(text),
        _ => StoreError::Failed(text),
    }
}

fn failed(text: &str) -> StoreError {
    StoreError::Failed(text.to_owned())
}

/// Without the parser's own words, which may hold a piece of the text.
fn not_understood() -> Failed {
    Failed::Other("the answer of the API server is no Secret or list of Secrets".to_owned())
}
