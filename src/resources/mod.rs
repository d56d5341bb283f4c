//! What users write: components, HTTP endpoints, configurations, resiliency and policies, in YAML
//! documents and in objects of the cluster.
//!
//! ```text
//! source::files, source::cluster → decode (text → documents → values)
//!     → component | http_endpoint | configuration | resiliency | policy
//! ```
//! Nothing here knows what a component does; a value that exists has the right shape, and every
//! failure names the file, the document and the field.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub mod component;
pub mod configuration;
pub mod decode;
pub mod http_endpoint;
pub mod property;
pub mod resiliency;
pub mod routing_rule;
pub mod sidecar_policy;
pub mod source;
pub mod subscription;

/// Where a resource was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A document of a file.
    File {
        /// The file.
        file: Arc<Path>,
        /// The number of the document in its file, from 1.
        document: usize,
    },
    /// An object of the cluster.
    Object {
        /// Its kind, such as `Component`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Its namespace.
        namespace: Arc<str>,
    },
    /// Nowhere: it is there without being written down.
    BuiltIn,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, document } => write!(f, "file {file:?}, document {document}"),
            Self::Object {
                kind,
                name,
                namespace,
            } => write!(f, "{kind} {name:?} in namespace {namespace:?}"),
            Self::BuiltIn => f.write_str("(built in)"),
        }
    }
}

impl Origin {
    /// What is read as a whole: the file, or the object.
    pub fn place(&self) -> String {
        match self {
            Self::File { file, .. } => file.display().to_string(),
            Self::Object { .. } | Self::BuiltIn => self.to_string(),
        }
    }
}

/// A resource that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder or file that cannot be read.
    #[error("cannot read {path:?}")]
    Read {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A resource path that is not a folder.
    #[error("{path:?} is not a folder; accepted are folders with .yaml and .yml files")]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// A file above the limit.
    #[error("file {path:?} has more than {limit} bytes")]
    TooLarge {
        /// The path.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// A document that is no YAML.
    #[error("{origin}, line {line}: {problem}")]
    Yaml {
        /// The document.
        origin: Origin,
        /// The line in the file, from 1.
        line: usize,
        /// What is wrong, without a piece of the text, which may be a secret.
        problem: String,
    },
    /// A field with a wrong value.
    #[error("{origin}: field {field:?}: {problem}")]
    Field {
        /// The document.
        origin: Origin,
        /// The path of the field, such as `spec.metadata[0].name`.
        field: String,
        /// What is wrong, and what is accepted.
        problem: String,
    },
    /// A configuration file without a configuration.
    #[error("file {path:?} holds no document of kind \"Configuration\" (dapr.io/v1alpha1)")]
    NoConfiguration {
        /// The path.
        path: PathBuf,
    },
}

impl Error {
    /// The file, folder or object that is to blame, see [`Origin::place`].
    pub fn place(&self) -> String {
        match self {
            Self::Read { path, .. }
            | Self::NotAFolder { path }
            | Self::TooLarge { path, .. }
            | Self::NoConfiguration { path } => path.display().to_string(),
            Self::Yaml { origin, .. } | Self::Field { origin, .. } => origin.place(),
        }
    }
}
