//! Back ends behind traits: one file a back end.
//!
//! ```text
//! ResolvedComponent → catalog → metadata reader → Backend
//! ```

use crate::base::secret::Secret;

mod backend_error;
pub mod binding;
pub mod catalog;
#[cfg(any(
    feature = "nats",
    feature = "postgres",
    feature = "rabbitmq",
    feature = "redis",
    feature = "remote"
))]
#[cfg_attr(
    not(any(feature = "nats", feature = "rabbitmq", feature = "redis")),
    allow(dead_code, reason = "databases and HTTP need a part of it only")
)]
mod client_tls;
pub mod configuration;
#[cfg(feature = "remote")]
#[cfg_attr(
    not(all(feature = "aws", feature = "azure", feature = "gcp", feature = "vault")),
    allow(dead_code, reason = "not every store needs all of it")
)]
mod http_client;
pub mod lock;
pub mod message;
pub mod metadata;
pub mod middleware;
#[cfg(feature = "nats")]
mod nats;
#[cfg(any(feature = "rabbitmq", feature = "nats"))]
mod pauses;
pub mod pluggable;
#[cfg(feature = "postgres")]
mod postgres;
pub mod pubsub;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
#[cfg(feature = "redis")]
mod redis;
mod retry_after;
pub mod secret_store;
pub mod state;

pub use backend_error::BackendError;

/// A component whose references are filled in: usable as it is.
#[derive(Clone, Debug)]
pub struct ResolvedComponent {
    /// Its name.
    pub name: String,
    /// For example `secretstores.local.file`.
    pub component_type: String,
    /// For example `v1`, or empty.
    pub version: String,
    /// Its settings.
    pub properties: Vec<ResolvedProperty>,
}

/// One setting of a component.
#[derive(Clone, Debug)]
pub struct ResolvedProperty {
    /// Its name as written.
    pub name: String,
    /// Its value. It is a secret also where the manifest holds it, since users write passwords
    /// there.
    pub value: Secret,
    /// The name of the secret that the value was read from, where it was (`secretKeyRef`).
    pub secret_name: Option<String>,
}

/// A back end that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A category that no Dapr has.
    #[error(
        "incorrect type {component_type}; accepted are types that begin with one of {}",
        catalog::CATEGORIES.join(", ")
    )]
    UnknownCategory {
        /// The type.
        component_type: String,
    },
    /// A type that the category does not have.
    #[error(
        "couldn't find secret store {component_type}/{version}; accepted are {}",
        catalog::secret_stores::types()
    )]
    UnknownSecretStore {
        /// The type.
        component_type: String,
        /// The version.
        version: String,
    },
    /// A type of middleware that there is not.
    #[error(
        "couldn't find middleware {component_type}/{version}; accepted are {}",
        catalog::middlewares::types()
    )]
    UnknownMiddleware {
        /// The type.
        component_type: String,
        /// The version.
        version: String,
    },
    /// A type of middleware that Dapr has. It may be the one that refuses, so that nothing goes on
    /// without it.
    #[error(
        "middleware {component_type} is not served by this build, and a middleware is never \
         skipped; accepted are {}",
        catalog::middlewares::types()
    )]
    UnservedMiddleware {
        /// The type.
        component_type: String,
    },
    /// A type that the category does not have.
    #[error("couldn't find {what} {component_type}/{version}; accepted are {accepted}")]
    UnknownType {
        /// What the category is of.
        what: &'static str,
        /// The type.
        component_type: String,
        /// The version.
        version: String,
        /// The types that the category has.
        accepted: String,
    },
    /// The same, where no pluggable component has the type either.
    #[error("{unknown}; nor is there a pluggable component: {why}")]
    NotPlugged {
        /// What this build says of the type.
        unknown: Box<Error>,
        /// Where it was looked for, or what was found there.
        why: String,
    },
    /// A setting that cannot be used.
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
    /// The back end could not start.
    #[error("{0}")]
    Init(String),
}

impl Error {
    fn unknown(what: &'static str, component: &ResolvedComponent, accepted: String) -> Self {
        Self::UnknownType {
            what,
            component_type: component.component_type.clone(),
            version: component.version.clone(),
            accepted,
        }
    }

    /// A type that this build was made without.
    #[cfg_attr(
        all(feature = "nats", feature = "rabbitmq", feature = "sqlite"),
        allow(dead_code, reason = "this build has them all")
    )]
    fn lacks(what: &str, feature: &str) -> Self {
        Self::Init(format!(
            "this build cannot {what}: it was made without the feature {feature:?}"
        ))
    }

    /// Dapr's code of this failure, which its messages carry in brackets.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownCategory { .. }
            | Self::UnknownSecretStore { .. }
            | Self::UnknownMiddleware { .. }
            | Self::UnknownType { .. }
            | Self::NotPlugged { .. }
            | Self::UnservedMiddleware { .. } => "CREATE_COMPONENT_FAILURE",
            Self::Metadata(_) | Self::Init(_) => "INIT_COMPONENT_FAILURE",
        }
    }
}
