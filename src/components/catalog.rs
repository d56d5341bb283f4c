//! Which types of components there are, and how each is made.

use std::sync::Arc;

use super::metadata::Reader;
use super::secret_store::SecretStore;
#[cfg(feature = "aws")]
use super::secret_store::aws::{parameter_store::ParameterStore, secrets_manager::SecretsManager};
use super::secret_store::guarded::Guarded;
use super::secret_store::kubernetes::KubernetesSecrets;
use super::secret_store::local_env::LocalEnv;
use super::secret_store::local_file::LocalFile;
use super::secret_store::settings::Settings;
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
    #[cfg(feature = "aws")]
    AwsParameterStore,
    #[cfg(feature = "aws")]
    AwsSecretsManager,
    Kubernetes,
    LocalEnv,
    LocalFile,
}

const SECRET_STORE_TYPES: &[(&str, SecretStoreType)] = &[
    #[cfg(feature = "aws")]
    (
        "secretstores.aws.parameterstore",
        SecretStoreType::AwsParameterStore,
    ),
    #[cfg(feature = "aws")]
    (
        "secretstores.aws.secretmanager",
        SecretStoreType::AwsSecretsManager,
    ),
    // The name in Dapr's own list of components.
    #[cfg(feature = "aws")]
    (
        "secretstores.aws.secretsmanager",
        SecretStoreType::AwsSecretsManager,
    ),
    ("secretstores.kubernetes", SecretStoreType::Kubernetes),
    ("secretstores.local.env", SecretStoreType::LocalEnv),
    ("secretstores.local.file", SecretStoreType::LocalFile),
];

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
        #[cfg(feature = "aws")]
        SecretStoreType::AwsParameterStore => {
            let settings = Settings::read(&mut reader)?;
            let store = ParameterStore::start(&component.name, &mut reader, settings)?;
            Arc::new(Guarded::new(Box::new(store), &component.name, settings))
        }
        #[cfg(feature = "aws")]
        SecretStoreType::AwsSecretsManager => {
            let settings = Settings::read(&mut reader)?;
            let store = SecretsManager::start(&component.name, &mut reader, settings)?;
            Arc::new(Guarded::new(Box::new(store), &component.name, settings))
        }
        SecretStoreType::Kubernetes => {
            let settings = Settings::read(&mut reader)?;
            let store = KubernetesSecrets::start(&mut reader, host, settings).await?;
            Arc::new(Guarded::new(Box::new(store), &component.name, settings))
        }
        SecretStoreType::LocalEnv => Arc::new(LocalEnv::start(&mut reader, host.environment)?),
        SecretStoreType::LocalFile => {
            Arc::new(LocalFile::start(&component.name, &mut reader).await?)
        }
    };
    reader.warn_unknown();
    Ok(Backend::SecretStore(store))
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
