//! Which types of components there are, and how each is made.

use std::sync::Arc;

use super::binding::BindingComponent;
use super::configuration::ConfigurationStore;
use super::lock::LockStore;
use super::middleware::SharedMiddleware;
use super::pubsub::{Feature, PubSubComponent};
use super::secret_store::SecretStore;
use super::state::{self, StateComponent};
use super::{Error, ResolvedComponent};
use crate::base::environment::Environment;
use crate::process::kubernetes::Access;

pub(super) mod bindings;
pub(super) mod configurations;
pub(super) mod locks;
pub(super) mod middlewares;
pub(super) mod pubsubs;
pub(super) mod secret_stores;
pub(super) mod states;

pub use middlewares::check_middleware_type;

/// The category of bindings.
const BINDINGS: &str = "bindings.";
/// The category of configuration stores.
const CONFIGURATIONS: &str = "configuration.";
/// The category of lock stores.
const LOCKS: &str = "lock.";
/// The category of middlewares.
const MIDDLEWARES: &str = "middleware.";
/// The category of pub/sub.
const PUBSUBS: &str = "pubsub.";
/// The category of secret stores.
const SECRET_STORES: &str = "secretstores.";
/// The category of state stores.
const STATES: &str = "state.";

/// The categories that daprd 1.18 knows, each with its dot.
pub const CATEGORIES: [&str; 11] = [
    BINDINGS,
    CONFIGURATIONS,
    "conversation.",
    "crypto.",
    LOCKS,
    MIDDLEWARES,
    "nameresolution.",
    PUBSUBS,
    SECRET_STORES,
    STATES,
    "workflowbackend.",
];

/// What this build can make of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// A binding.
    Binding,
    /// A configuration store.
    Configuration,
    /// A lock store.
    Lock,
    /// A middleware.
    Middleware,
    /// Pub/sub.
    PubSub,
    /// A secret store.
    SecretStore,
    /// A state store.
    State,
    /// A category of Dapr's that this build does not serve.
    Unserved,
    /// No category at all.
    Unknown,
}

/// A running back end.
#[derive(Clone)]
pub enum Backend {
    /// A binding.
    Binding(BindingComponent),
    /// A configuration store.
    Configuration(Arc<dyn ConfigurationStore>),
    /// A lock store.
    Lock(Arc<dyn LockStore>),
    /// A middleware, for pipelines.
    Middleware(SharedMiddleware),
    /// Pub/sub.
    PubSub(PubSubComponent),
    /// A secret store.
    SecretStore(Arc<dyn SecretStore>),
    /// A state store.
    State(StateComponent),
}

impl Backend {
    /// The secret store, where it is one.
    pub fn secret_store(&self) -> Option<&Arc<dyn SecretStore>> {
        match self {
            Self::SecretStore(store) => Some(store),
            _ => None,
        }
    }

    /// The configuration store, where it is one.
    pub fn configuration(&self) -> Option<&Arc<dyn ConfigurationStore>> {
        match self {
            Self::Configuration(store) => Some(store),
            _ => None,
        }
    }

    /// The lock store, where it is one.
    pub fn lock(&self) -> Option<&Arc<dyn LockStore>> {
        match self {
            Self::Lock(store) => Some(store),
            _ => None,
        }
    }

    /// The middleware, where it is one.
    pub fn middleware(&self) -> Option<&SharedMiddleware> {
        match self {
            Self::Middleware(middleware) => Some(middleware),
            _ => None,
        }
    }

    /// What it can do, in the words of `/v1.0/metadata`.
    pub fn capabilities(&self) -> Vec<&'static str> {
        match self {
            Self::Binding(binding) => {
                let input = binding.input.is_some().then_some("INPUT_BINDING");
                let output = binding.output.is_some().then_some("OUTPUT_BINDING");
                input.into_iter().chain(output).collect()
            }
            Self::Configuration(_) | Self::Lock(_) | Self::Middleware(_) => Vec::new(),
            Self::PubSub(pubsub) => {
                let features = pubsub.broker.features().iter();
                features.copied().map(Feature::as_str).collect()
            }
            Self::SecretStore(store) if store.has_multiple_keys() => {
                vec!["MULTIPLE_KEY_VALUES_PER_SECRET"]
            }
            Self::SecretStore(_) => Vec::new(),
            Self::State(state) => {
                let features = state.store.features().iter();
                features.copied().map(state::Feature::as_str).collect()
            }
        }
    }
}

/// The category of a type. Its case counts, unlike that of the rest of the type (Dapr 1.18).
pub fn category(component_type: &str) -> Category {
    match CATEGORIES
        .iter()
        .find(|category| component_type.starts_with(*category))
    {
        Some(&BINDINGS) => Category::Binding,
        Some(&CONFIGURATIONS) => Category::Configuration,
        Some(&LOCKS) => Category::Lock,
        Some(&MIDDLEWARES) => Category::Middleware,
        Some(&PUBSUBS) => Category::PubSub,
        Some(&SECRET_STORES) => Category::SecretStore,
        Some(&STATES) => Category::State,
        Some(_) => Category::Unserved,
        None => Category::Unknown,
    }
}

/// What back ends take from the process that they run in.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    /// The environment.
    pub environment: &'a Environment,
    /// How the cluster is reached.
    pub cluster: &'a Access,
    /// The id of the app.
    pub app_id: &'a str,
}

/// Makes the back end of a component and starts it. Setting a limit on the time is the caller's.
pub async fn build(component: &ResolvedComponent, host: Host<'_>) -> Result<Backend, Error> {
    Ok(match category(&component.component_type) {
        Category::Binding => Backend::Binding(bindings::build(component, host).await?),
        Category::Configuration => {
            Backend::Configuration(configurations::build(component, host).await?)
        }
        Category::Lock => Backend::Lock(locks::build(component, host).await?),
        Category::Middleware => Backend::Middleware(middlewares::build(component).await?),
        Category::PubSub => Backend::PubSub(pubsubs::build(component, host).await?),
        Category::SecretStore => Backend::SecretStore(secret_stores::build(component, host).await?),
        Category::State => Backend::State(states::build(component, host).await?),
        Category::Unserved | Category::Unknown => {
            return Err(Error::UnknownCategory {
                component_type: component.component_type.clone(),
            });
        }
    })
}

/// The type of a component among those of its category, where there is one of that name in its
/// first version.
fn named<T: Copy>(types: &[(&str, T)], component: &ResolvedComponent) -> Option<T> {
    let wanted = component.component_type.to_lowercase();
    let is_wanted = |(name, _): &&(&str, T)| is_first(&component.version) && *name == wanted;
    types.iter().find(is_wanted).map(|(_, found)| *found)
}

/// Whether this build has a type, in lower case.
pub(super) fn has_type(component_type: &str) -> bool {
    match category(component_type) {
        Category::Binding => bindings::has(component_type),
        Category::Configuration => configurations::has(component_type),
        Category::Lock => locks::has(component_type),
        Category::PubSub => pubsubs::has(component_type),
        Category::SecretStore => secret_stores::has(component_type),
        Category::State => states::has(component_type),
        Category::Middleware | Category::Unserved | Category::Unknown => false,
    }
}

fn contains<T>(types: &[(&str, T)], component_type: &str) -> bool {
    types.iter().any(|(name, _)| *name == component_type)
}

/// `v1`, the older `v0` and no version at all mean the same.
pub(super) fn is_first(version: &str) -> bool {
    matches!(version.to_lowercase().as_str(), "" | "v0" | "v1")
}

fn listed<T>(types: &[(&str, T)]) -> String {
    let names: Vec<_> = types.iter().map(|(name, _)| format!("{name}/v1")).collect();
    names.join(", ")
}

/// The same with their versions.
fn listed_with_versions<T>(types: &[((&str, &str), T)]) -> String {
    let names: Vec<_> = types
        .iter()
        .map(|((name, version), _)| format!("{name}/{version}"))
        .collect();
    names.join(", ")
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
            app_id: "app",
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
        for component_type in middlewares::UNSERVED {
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
