//! What the secrets API means: who may read which secret of which store.

use std::sync::Arc;

use tracing::{error, info};

use super::error::{Error, Reason};
use crate::components::catalog::Category;
use crate::components::secret_store::{
    RequestMetadata, SecretMap, Secrets as BulkSecrets, StoreError,
};
use crate::process::listener::Remote;
use crate::registry::Registry;
use crate::registry::snapshot::{LoadedSecretStore, Snapshot};
use crate::resiliency::{ComponentType, Direction, Policy, Verdict};

/// How the audit names a read of all secrets.
const ALL: &str = "*";

/// The secrets of the stores that run.
#[derive(Clone)]
pub struct Secrets {
    registry: Arc<Registry>,
}

impl Secrets {
    /// The secrets of a registry.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }

    /// Whether a secret store runs.
    pub fn has_stores(&self) -> bool {
        self.registry.peek().has_secret_stores()
    }

    /// One secret. The reasons, in the order in which they are checked:
    /// `SecretStoresNotConfigured`, `SecretStoreNotFound`, `SecretDenied`, `SecretFetch`,
    /// `SecretNotFound`.
    pub async fn get(
        &self,
        caller: Remote,
        store: &str,
        key: &str,
        metadata: &RequestMetadata,
    ) -> Result<Arc<SecretMap>, Error> {
        let (loaded, policy) = self.store(store)?;
        let answer = read(&loaded, &policy, (store, key), metadata).await;
        audit(&loaded, caller, (store, key), answer.as_ref().err());
        answer
    }

    /// Every secret of a store that the scopes let the app read. The reasons are those of
    /// [`Secrets::get`] but `SecretNotFound`; `SecretDenied` where the scopes leave nothing.
    pub async fn bulk(
        &self,
        caller: Remote,
        store: &str,
        metadata: &RequestMetadata,
    ) -> Result<BulkSecrets, Error> {
        let (loaded, policy) = self.store(store)?;
        let answer = read_all(&loaded, &policy, store, metadata).await;
        audit(&loaded, caller, (store, ALL), answer.as_ref().err());
        answer
    }

    /// A store, and the policy of its reads.
    fn store(&self, name: &str) -> Result<(Arc<LoadedSecretStore>, Policy), Error> {
        let snapshot = self.registry.peek();
        let Some(store) = snapshot.secret_store(name) else {
            return Err(missing(&snapshot, name));
        };
        let (kind, direction) = (ComponentType::Secretstore, Direction::Outbound);
        let policy = snapshot.resiliency.component(name, kind, direction);
        Ok((Arc::clone(store), policy))
    }
}

async fn read(
    loaded: &LoadedSecretStore,
    policy: &Policy,
    (store, key): (&str, &str),
    metadata: &RequestMetadata,
) -> Result<Arc<SecretMap>, Error> {
    if !loaded.permits(key) {
        return Err(Error::new(
            Reason::SecretDenied,
            format!("access denied by policy to get {key:?} from {store:?}"),
        ));
    }
    check_namespace(loaded, store, metadata)?;
    let failed = || format!("failed getting secret with key {key} from secret store {store}");
    match policy.run(|_| loaded.get(key, metadata), judge).await {
        Ok(Ok(Some(secret))) => Ok(secret),
        Ok(Ok(None)) => Err(Error::new(
            Reason::SecretNotFound,
            format!("{}: secret {key} not found", failed()),
        )),
        Ok(Err(cause)) => {
            tell(loaded, store, &cause);
            Err(Error::new(Reason::SecretFetch, failed()))
        }
        Err(stopped) => {
            tell(loaded, store, &stopped);
            let message = format!("{}: {stopped}", failed());
            Err(Error::new(Reason::SecretFetch, message))
        }
    }
}

async fn read_all(
    loaded: &LoadedSecretStore,
    policy: &Policy,
    store: &str,
    metadata: &RequestMetadata,
) -> Result<BulkSecrets, Error> {
    let denied = || {
        let message = format!("access denied by policy to get any secret from {store:?}");
        Error::new(Reason::SecretDenied, message)
    };
    if loaded.denies_all() {
        return Err(denied());
    }
    check_namespace(loaded, store, metadata)?;
    let failed = || format!("failed getting secrets from secret store {store}");
    let mut secrets = match policy.run(|_| loaded.bulk(metadata), judge).await {
        Ok(Ok(secrets)) => secrets,
        Ok(Err(cause)) => {
            tell(loaded, store, &cause);
            return Err(Error::new(Reason::SecretFetch, failed()));
        }
        Err(stopped) => {
            tell(loaded, store, &stopped);
            let message = format!("{}: {stopped}", failed());
            return Err(Error::new(Reason::SecretFetch, message));
        }
    };
    let had_some = !secrets.is_empty();
    secrets.retain(|name, _| loaded.permits(name));
    if had_some && secrets.is_empty() {
        return Err(denied());
    }
    Ok(secrets)
}

/// What a read says of its store. One that the store refused for what was asked for is no failure
/// of it: callers could open its circuit breaker for each other.
fn judge<T>(answer: &Result<T, StoreError>) -> Verdict {
    match answer {
        Ok(_) | Err(StoreError::Failed(_) | StoreError::ListForbidden(_)) => Verdict::Success,
        Err(StoreError::Unavailable { .. }) => Verdict::Failure(None),
        Err(StoreError::Unauthenticated(_)) => Verdict::Final,
    }
}

/// A caller must not be able to fill the log.
fn tell(loaded: &LoadedSecretStore, store: &str, cause: &dyn std::error::Error) {
    if let Some(left_out) = loaded.failures().pass() {
        error!(store, error = %cause, left_out, "A secret store could not answer");
    }
}

/// One line for a read, where the policy asks for it: who, what, and what came of it.
fn audit(
    loaded: &LoadedSecretStore,
    caller: Remote,
    (store, secret): (&str, &str),
    error: Option<&Error>,
) {
    let outcome = match error.map(Error::reason) {
        None => "read",
        Some(Reason::SecretDenied) => "denied",
        Some(Reason::SecretNotFound) => "missing",
        Some(_) => "failed",
    };
    if loaded.audits(outcome == "denied") {
        info!(target: "sidegate.audit", %caller, store, secret, outcome, "Secret asked for");
    }
}

/// Whoever may call the sidecar may read its namespace only, unless the policy names others.
fn check_namespace(
    loaded: &LoadedSecretStore,
    store: &str,
    metadata: &RequestMetadata,
) -> Result<(), Error> {
    match loaded.refused_namespace(metadata) {
        None => Ok(()),
        Some(namespace) => Err(Error::new(
            Reason::SecretDenied,
            format!(
                "access denied by policy to namespace {namespace:?} of {store:?}: \
                 spec.secrets.allowedNamespaces of the SidecarPolicy does not name it"
            ),
        )),
    }
}

/// A store that is defined and could not start is misconfigured, which is not "no store at all".
fn missing(snapshot: &Snapshot, name: &str) -> Error {
    let mut failed = snapshot.failed_of(Category::SecretStore).peekable();
    if !snapshot.has_secret_stores() && failed.peek().is_none() {
        return Error::new(
            Reason::SecretStoresNotConfigured,
            "secret store is not configured",
        );
    }
    let mut message = format!("failed finding secret store with key {name}");
    if failed.any(|store| store.name == name) {
        message.push_str(": it is defined, but could not be loaded");
    }
    Error::new(Reason::SecretStoreNotFound, message)
}
