//! Which types of components there are, and how each is made.

use std::sync::Arc;

use super::metadata::Reader;
use super::secret_store::SecretStore;
#[cfg(feature = "aws")]
use super::secret_store::aws::{parameter_store::ParameterStore, secrets_manager::SecretsManager};
#[cfg(feature = "azure")]
use super::secret_store::azure::KeyVault;
#[cfg(feature = "gcp")]
use super::secret_store::gcp::SecretManager;
use super::secret_store::guarded::Guarded;
use super::secret_store::kubernetes::KubernetesSecrets;
use super::secret_store::local_env::LocalEnv;
use super::secret_store::local_file::LocalFile;
use super::secret_store::settings::Settings;
#[cfg(feature = "vault")]
use super::secret_store::vault::Vault;
use super::{Error, ResolvedComponent};
use crate::base::environment::Environment;
use crate::process::kubernetes::Access;

/// The category of secret stores.
const SECRET_STORES: &str = "secretstores.";

/// The categories that daprd 1.18 knows, each with its dot.
pub const CATEGORIES: [&str; 11] = [
    "bindings.",
    "configuration.",
    "conversation.",
    "crypto.",
    "lock.",
    "middleware.",
    "nameresolution.",
    "pubsub.",
    SECRET_STORES,
    "state.",
    "workflowbackend.",
];

/// What this build can make of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// A secret store.
    SecretStore,
    /// A category of Dapr's that this build does not serve.
    Unserved,
    /// No category at all.
    Unknown,
}

/// A running back end.
#[derive(Clone)]
pub enum Backend {
    /// A secret store.
    SecretStore(Arc<dyn SecretStore>),
}

impl Backend {
    /// What it can do, in the words of `/v1.0/metadata`.
    pub fn capabilities(&self) -> Vec<&'static str> {
        match self {
            Self::SecretStore(store) if store.has_multiple_keys() => {
                vec!["MULTIPLE_KEY_VALUES_PER_SECRET"]
            }
            Self::SecretStore(_) => Vec::new(),
        }
    }
}

/// The category of a type. Its case counts, unlike that of the rest of the type (Dapr 1.18).
pub fn category(component_type: &str) -> Category {
    match CATEGORIES
        .iter()
        .find(|category| component_type.starts_with(*category))
    {
        Some(&SECRET_STORES) => Category::SecretStore,
        Some(_) => Category::Unserved,
        None => Category::Unknown,
    }
}

#[derive(Clone, Copy)]
enum SecretStoreType {
    LocalEnv,
    LocalFile,
    Remote(RemoteType),
}

/// A store that is reached over the network.
#[derive(Clone, Copy)]
enum RemoteType {
    #[cfg(feature = "aws")]
    AwsParameterStore,
    #[cfg(feature = "aws")]
    AwsSecretsManager,
    #[cfg(feature = "azure")]
    AzureKeyVault,
    #[cfg(feature = "gcp")]
    GcpSecretManager,
    Kubernetes,
    #[cfg(feature = "vault")]
    Vault,
}

#[rustfmt::skip] // One row a type.
const SECRET_STORE_TYPES: &[(&str, SecretStoreType)] = {
    use SecretStoreType::{LocalEnv, LocalFile, Remote};
    &[
        #[cfg(feature = "aws")]
        ("secretstores.aws.parameterstore", Remote(RemoteType::AwsParameterStore)),
        #[cfg(feature = "aws")]
        ("secretstores.aws.secretmanager", Remote(RemoteType::AwsSecretsManager)),
        // The name in Dapr's own list of components.
        #[cfg(feature = "aws")]
        ("secretstores.aws.secretsmanager", Remote(RemoteType::AwsSecretsManager)),
        #[cfg(feature = "azure")]
        ("secretstores.azure.keyvault", Remote(RemoteType::AzureKeyVault)),
        #[cfg(feature = "gcp")]
        ("secretstores.gcp.secretmanager", Remote(RemoteType::GcpSecretManager)),
        #[cfg(feature = "vault")]
        ("secretstores.hashicorp.vault", Remote(RemoteType::Vault)),
        ("secretstores.kubernetes", Remote(RemoteType::Kubernetes)),
        ("secretstores.local.env", LocalEnv),
        ("secretstores.local.file", LocalFile),
    ]
};

/// The types of secret stores, for error texts.
pub(super) fn secret_store_types() -> String {
    let names: Vec<_> = SECRET_STORE_TYPES
        .iter()
        .map(|(name, _)| format!("{name}/v1"))
        .collect();
    names.join(", ")
}

/// What back ends take from the process that they run in.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    /// The environment.
    pub environment: &'a Environment,
    /// How the cluster is reached.
    pub cluster: &'a Access,
}

/// Makes the back end of a component and starts it. Setting a limit on the time is the caller's.
pub async fn build(component: &ResolvedComponent, host: Host<'_>) -> Result<Backend, Error> {
    let store_type = match category(&component.component_type) {
        Category::SecretStore => secret_store_type(component)?,
        Category::Unserved | Category::Unknown => {
            return Err(Error::UnknownCategory {
                component_type: component.component_type.clone(),
            });
        }
    };
    let mut reader = Reader::new(component)?;
    let store: Arc<dyn SecretStore> = match store_type {
        SecretStoreType::LocalEnv => Arc::new(LocalEnv::start(&mut reader, host.environment)?),
        SecretStoreType::LocalFile => {
            Arc::new(LocalFile::start(&component.name, &mut reader).await?)
        }
        SecretStoreType::Remote(remote) => {
            Arc::new(remote_store(remote, &component.name, &mut reader, host).await?)
        }
    };
    reader.warn_unknown();
    Ok(Backend::SecretStore(store))
}

/// A store that is reached over the network, behind its limits.
async fn remote_store(
    remote: RemoteType,
    name: &str,
    reader: &mut Reader<'_>,
    host: Host<'_>,
) -> Result<Guarded, Error> {
    let settings = Settings::read(reader)?;
    let store: Box<dyn SecretStore> = match remote {
        #[cfg(feature = "aws")]
        RemoteType::AwsParameterStore => Box::new(ParameterStore::start(name, reader, settings)?),
        #[cfg(feature = "aws")]
        RemoteType::AwsSecretsManager => Box::new(SecretsManager::start(name, reader, settings)?),
        #[cfg(feature = "azure")]
        RemoteType::AzureKeyVault => Box::new(KeyVault::start(reader, host, settings).await?),
        #[cfg(feature = "gcp")]
        RemoteType::GcpSecretManager => Box::new(SecretManager::start(name, reader, settings)?),
        RemoteType::Kubernetes => Box::new(KubernetesSecrets::start(reader, host, settings).await?),
        #[cfg(feature = "vault")]
        RemoteType::Vault => Box::new(Vault::start(name, reader, settings).await?),
    };
    Ok(Guarded::new(store, name, settings))
}

/// `v1`, the older `v0` and no version at all mean the same.
fn secret_store_type(component: &ResolvedComponent) -> Result<SecretStoreType, Error> {
    let wanted = component.component_type.to_lowercase();
    let is_first = matches!(component.version.to_lowercase().as_str(), "" | "v0" | "v1");
    SECRET_STORE_TYPES
        .iter()
        .find(|(name, _)| is_first && *name == wanted)
        .map(|(_, store_type)| *store_type)
        .ok_or_else(|| Error::UnknownSecretStore {
            component_type: component.component_type.clone(),
            version: component.version.clone(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn build_type(component_type: &str, version: &str) -> Result<Backend, Error> {
        let component = ResolvedComponent {
            name: "c".to_owned(),
            component_type: component_type.to_owned(),
            version: version.to_owned(),
            properties: Vec::new(),
        };
        let host = Host {
            environment: &Environment::default(),
            cluster: &Access::InCluster,
        };
        build(&component, host).await
    }

    #[tokio::test]
    async fn knows_types_in_any_case_but_their_category_in_one() {
        for (component_type, version) in [
            ("secretstores.local.env", "v1"),
            ("secretstores.LOCAL.Env", "V1"),
            ("secretstores.local.env", "v0"),
            ("secretstores.local.env", ""),
        ] {
            assert!(
                build_type(component_type, version).await.is_ok(),
                "{component_type}"
            );
        }
        for (component_type, version, code) in [
            ("secretstores.local.env", "v2", "couldn't find secret store"),
            ("secretstores.nope", "v1", "couldn't find secret store"),
            ("SecretStores.local.env", "v1", "incorrect type"),
            ("secretstores", "v1", "incorrect type"),
            ("", "v1", "incorrect type"),
        ] {
            let error = build_type(component_type, version).await.err().unwrap();
            assert_eq!(error.code(), "CREATE_COMPONENT_FAILURE");
            assert!(
                error.to_string().starts_with(code),
                "{component_type}: {error}"
            );
        }
    }

    #[tokio::test]
    async fn a_file_store_needs_its_file() {
        let error = build_type("secretstores.local.file", "v1").await.err();
        let error = error.unwrap();
        assert_eq!(error.to_string(), "missing local secrets file in metadata");
        assert_eq!(error.code(), "INIT_COMPONENT_FAILURE");
    }
}
