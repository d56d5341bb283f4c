//! What a call of the Kubernetes API was about, and what it came to.

use kube::runtime::watcher;

/// The name of a Kubernetes object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// The kind as roles name it: `secrets`.
    resource: &'static str,
    namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl Object {
    /// An object outside of namespaces.
    pub fn cluster_wide(resource: &'static str, name: &str) -> Self {
        Self {
            resource,
            namespace: None,
            name: name.to_owned(),
        }
    }

    /// An object of a namespace.
    pub fn namespaced(resource: &'static str, namespace: &str, name: &str) -> Self {
        Self {
            namespace: Some(namespace.to_owned()),
            ..Self::cluster_wide(resource, name)
        }
    }

    /// What a call with a verb of RBAC came to.
    pub fn failed(&self, verb: &'static str, cause: kube::Error) -> CallError {
        let object = self.clone();
        match &cause {
            kube::Error::Api(status) if status.is_forbidden() => {
                CallError::Forbidden { object, verb }
            }
            kube::Error::Api(status) if status.is_not_found() => CallError::Missing { object },
            _ => CallError::Failed {
                object,
                verb,
                cause: Box::new(cause),
            },
        }
    }

    /// Why a watch was interrupted.
    pub fn watch_failed(&self, error: watcher::Error) -> CallError {
        match error {
            watcher::Error::InitialListFailed(cause) => self.failed("list", cause),
            watcher::Error::WatchStartFailed(cause) | watcher::Error::WatchFailed(cause) => {
                self.failed("watch", cause)
            }
            watcher::Error::WatchError(status) => self.failed("watch", kube::Error::Api(status)),
            error @ watcher::Error::NoResourceVersion => CallError::Watch {
                object: self.clone(),
                cause: Box::new(error),
            },
        }
    }
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", self.resource)?;
        match &self.namespace {
            Some(namespace) => write!(f, "\"{namespace}/{}\"", self.name),
            None => write!(f, "{:?}", self.name),
        }
    }
}

/// A call of the Kubernetes API that failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// A role has to allow it.
    #[error("may not {verb} {object}: no role of this service account allows the verb {verb:?}")]
    Forbidden {
        /// What was asked for.
        object: Object,
        /// The verb that a role has to allow.
        verb: &'static str,
    },
    /// There is no such object.
    #[error("{object} does not exist")]
    Missing {
        /// What was asked for.
        object: Object,
    },
    /// Anything else.
    #[error("cannot {verb} {object}")]
    Failed {
        /// What was asked for.
        object: Object,
        /// The verb.
        verb: &'static str,
        /// Why.
        #[source]
        cause: Box<kube::Error>,
    },
    /// An answer that a watch cannot begin with.
    #[error("cannot watch {object}")]
    Watch {
        /// What was asked for.
        object: Object,
        /// Why.
        #[source]
        cause: Box<watcher::Error>,
    },
}

impl CallError {
    /// Whether somebody else wrote first.
    pub fn is_conflict(&self) -> bool {
        let Self::Failed { cause, .. } = self else {
            return false;
        };
        matches!(&**cause, kube::Error::Api(status) if status.is_conflict())
    }
}
