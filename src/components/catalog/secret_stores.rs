//! The types of secret stores.

use std::sync::Arc;

use super::{Host, contains, listed, named};
use crate::components::metadata::Reader;
use crate::components::secret_store::SecretStore;
#[cfg(feature = "aws")]
use crate::components::secret_store::aws::{
    parameter_store::ParameterStore, secrets_manager::SecretsManager,
};
#[cfg(feature = "azure")]
use crate::components::secret_store::azure::KeyVault;
#[cfg(feature = "gcp")]
use crate::components::secret_store::gcp::SecretManager;
use crate::components::secret_store::guarded::Guarded;
use crate::components::secret_store::kubernetes::KubernetesSecrets;
use crate::components::secret_store::local_env::LocalEnv;
use crate::components::secret_store::local_file::LocalFile;
use crate::components::secret_store::settings::Settings;
#[cfg(feature = "vault")]
use crate::components::secret_store::vault::Vault;
use crate::components::{Error, ResolvedComponent, pluggable};

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

/// The types, for error texts.
pub(in crate::components) fn types() -> String {
    listed(SECRET_STORE_TYPES)
}

/// Whether there is a type of this name.
pub(super) fn has(component_type: &str) -> bool {
    contains(SECRET_STORE_TYPES, component_type)
}

pub(super) async fn build(
    component: &ResolvedComponent,
    host: Host<'_>,
) -> Result<Arc<dyn SecretStore>, Error> {
    let store_type = match of(component) {
        Ok(store_type) => store_type,
        Err(unknown) => return pluggable::secret_store(component, host, unknown).await,
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
    Ok(store)
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

fn of(component: &ResolvedComponent) -> Result<SecretStoreType, Error> {
    named(SECRET_STORE_TYPES, component).ok_or_else(|| Error::UnknownSecretStore {
        component_type: component.component_type.clone(),
        version: component.version.clone(),
    })
}
