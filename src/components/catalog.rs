//! Which types of components there are, and how each is made.

use std::sync::Arc;

use super::metadata::Reader;
#[cfg(feature = "remote")]
use super::middleware::bearer::Bearer;
use super::middleware::ratelimit::RateLimit;
use super::middleware::routeralias::RouterAlias;
use super::middleware::{Middleware, SharedMiddleware};
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
/// The category of middlewares.
const MIDDLEWARES: &str = "middleware.";

/// The categories that daprd 1.18 knows, each with its dot.
pub const CATEGORIES: [&str; 11] = [
    "bindings.",
    "configuration.",
    "conversation.",
    "crypto.",
    "lock.",
    MIDDLEWARES,
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
    /// A middleware.
    Middleware,
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
    /// A middleware, for pipelines.
    Middleware(SharedMiddleware),
}

impl Backend {
    /// The secret store, where it is one.
    pub fn secret_store(&self) -> Option<&Arc<dyn SecretStore>> {
        match self {
            Self::SecretStore(store) => Some(store),
            Self::Middleware(_) => None,
        }
    }

    /// The middleware, where it is one.
    pub fn middleware(&self) -> Option<&SharedMiddleware> {
        match self {
            Self::Middleware(middleware) => Some(middleware),
            Self::SecretStore(_) => None,
        }
    }

    /// What it can do, in the words of `/v1.0/metadata`.
    pub fn capabilities(&self) -> Vec<&'static str> {
        match self {
            Self::SecretStore(store) if store.has_multiple_keys() => {
                vec!["MULTIPLE_KEY_VALUES_PER_SECRET"]
            }
            Self::SecretStore(_) | Self::Middleware(_) => Vec::new(),
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
        Some(&MIDDLEWARES) => Category::Middleware,
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

/// A middleware that this build makes.
#[derive(Clone, Copy)]
enum MiddlewareType {
    Bearer,
    RateLimit,
    RouterAlias,
}

const MIDDLEWARE_TYPES: &[(&str, MiddlewareType)] = &[
    ("middleware.http.bearer", MiddlewareType::Bearer),
    ("middleware.http.ratelimit", MiddlewareType::RateLimit),
    ("middleware.http.routeralias", MiddlewareType::RouterAlias),
];

/// The middlewares of daprd 1.18 that this build does not make.
const UNSERVED_MIDDLEWARE_TYPES: [&str; 7] = [
    "middleware.http.oauth2",
    "middleware.http.oauth2clientcredentials",
    "middleware.http.opa",
    "middleware.http.routerchecker",
    "middleware.http.sentinel",
    "middleware.http.uppercase",
    "middleware.http.wasm",
];

/// The types of secret stores, for error texts.
pub(super) fn secret_store_types() -> String {
    listed(SECRET_STORE_TYPES)
}

/// The types of middlewares, for error texts.
pub(super) fn middleware_types() -> String {
    listed(MIDDLEWARE_TYPES)
}

fn listed<T>(types: &[(&str, T)]) -> String {
    let names: Vec<_> = types.iter().map(|(name, _)| format!("{name}/v1")).collect();
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
    match category(&component.component_type) {
        Category::SecretStore => Ok(Backend::SecretStore(secret_store(component, host).await?)),
        Category::Middleware => Ok(Backend::Middleware(middleware(component).await?)),
        Category::Unserved | Category::Unknown => Err(Error::UnknownCategory {
            component_type: component.component_type.clone(),
        }),
    }
}

async fn secret_store(
    component: &ResolvedComponent,
    host: Host<'_>,
) -> Result<Arc<dyn SecretStore>, Error> {
    let store_type = secret_store_type(component)?;
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

async fn middleware(component: &ResolvedComponent) -> Result<SharedMiddleware, Error> {
    let middleware_type = middleware_type(&component.component_type, &component.version)?;
    let mut reader = Reader::new(component)?;
    let middleware: Arc<dyn Middleware> = match middleware_type {
        MiddlewareType::Bearer => bearer(&component.name, &mut reader).await?,
        MiddlewareType::RateLimit => Arc::new(RateLimit::start(&mut reader)?),
        MiddlewareType::RouterAlias => Arc::new(RouterAlias::start(&mut reader)?),
    };
    reader.warn_unknown();
    Ok(middleware)
}

#[cfg(feature = "remote")]
async fn bearer(name: &str, reader: &mut Reader<'_>) -> Result<SharedMiddleware, Error> {
    Ok(Arc::new(Bearer::start(name, reader).await?))
}

#[cfg(not(feature = "remote"))]
async fn bearer(_: &str, _: &mut Reader<'_>) -> Result<SharedMiddleware, Error> {
    let problem = "this build cannot read the keys of an issuer: it was made without the feature \
                   \"remote\"";
    Err(Error::Init(problem.to_owned()))
}

/// Whether this build makes a type of middleware.
///
/// # Errors
///
/// A type that nobody knows, or that only Dapr has.
pub fn check_middleware_type(component_type: &str, version: &str) -> Result<(), Error> {
    middleware_type(component_type, version).map(|_| ())
}

fn middleware_type(component_type: &str, version: &str) -> Result<MiddlewareType, Error> {
    let wanted = component_type.to_lowercase();
    let known = MIDDLEWARE_TYPES.iter().find(|(name, _)| *name == wanted);
    match known {
        Some((_, middleware_type)) if is_first(version) => Ok(*middleware_type),
        _ if UNSERVED_MIDDLEWARE_TYPES.contains(&&*wanted) => Err(Error::UnservedMiddleware {
            component_type: component_type.to_owned(),
        }),
        _ => Err(Error::UnknownMiddleware {
            component_type: component_type.to_owned(),
            version: version.to_owned(),
        }),
    }
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
fn is_first(version: &str) -> bool {
    matches!(version.to_lowercase().as_str(), "" | "v0" | "v1")
}

fn secret_store_type(component: &ResolvedComponent) -> Result<SecretStoreType, Error> {
    let wanted = component.component_type.to_lowercase();
    SECRET_STORE_TYPES
        .iter()
        .find(|(name, _)| is_first(&component.version) && *name == wanted)
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
    async fn knows_what_middlewares_dapr_has_beside_its_own() {
        let accepted = "accepted are middleware.http.bearer/v1, middleware.http.ratelimit/v1, \
                        middleware.http.routeralias/v1";
        for (component_type, version) in [
            ("middleware.http.ratelimit", "v1"),
            ("middleware.http.RateLimit", ""),
        ] {
            assert!(build_type(component_type, version).await.is_ok());
        }
        for component_type in UNSERVED_MIDDLEWARE_TYPES {
            let error = build_type(component_type, "v1").await.err().unwrap();
            assert_eq!(error.code(), "CREATE_COMPONENT_FAILURE");
            assert_eq!(
                error.to_string(),
                format!(
                    "middleware {component_type} is not served by this build, and a middleware is \
                     never skipped; {accepted}"
                )
            );
        }
        for (component_type, version) in [
            ("middleware.http.ratelimit", "v2"),
            ("middleware.http.beerer", "v1"),
            ("middleware.grpc.bearer", "v1"),
        ] {
            let error = build_type(component_type, version).await.err().unwrap();
            let expected =
                format!("couldn't find middleware {component_type}/{version}; {accepted}");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[cfg(not(feature = "remote"))]
    #[tokio::test]
    async fn says_what_a_build_lacks() {
        let error = build_type("middleware.http.bearer", "v1")
            .await
            .err()
            .unwrap();
        assert_eq!(
            error.to_string(),
            "this build cannot read the keys of an issuer: it was made without the feature \
             \"remote\""
        );
    }

    #[tokio::test]
    async fn a_file_store_needs_its_file() {
        let error = build_type("secretstores.local.file", "v1").await.err();
        let error = error.unwrap();
        assert_eq!(error.to_string(), "missing local secrets file in metadata");
        assert_eq!(error.code(), "INIT_COMPONENT_FAILURE");
    }
}
