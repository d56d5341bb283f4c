//! From resource files to the answers of the secrets API.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sidegate::base::environment::Environment;
use sidegate::blocks::error::Reason;
use sidegate::blocks::secrets::Secrets;
use sidegate::process::kubernetes::Access;
use sidegate::process::listener::Remote;
use sidegate::process::tasks::{Tasks, with_causes};
use sidegate::registry::{Error, Registry, RegistryConfig};
use sidegate::testing::eventually::eventually;
use sidegate::testing::registry_config::registry_config;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

mod audit;
#[cfg(feature = "aws")]
mod aws;
mod http_endpoints;
mod kubernetes;
mod loading;
mod policy;
mod quickstart;
mod reads;
mod reload;
mod resiliency;
mod wire;

/// A folder with resources, a secrets file and configurations.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(files.path("resources")).unwrap();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn resource(&self, name: &str, text: &str) -> &Self {
        self.write(&format!("resources/{name}"), text)
    }

    fn write(&self, name: &str, text: &str) -> &Self {
        // In one rename, as editors and the kubelet do.
        let temporary = self.path("being written");
        std::fs::write(&temporary, text).unwrap();
        std::fs::rename(temporary, self.path(name)).unwrap();
        self
    }

    /// A store `file` over a JSON text.
    fn file_store(&self, json: &str) -> &Self {
        self.write("secrets.json", json);
        let component = local_file("file", &self.path("secrets.json"), "");
        self.resource("file.yaml", &component)
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.path(name)).unwrap();
    }

    fn config(&self) -> RegistryConfig {
        registry_config(&self.path("resources"))
    }

    async fn start(&self) -> Started {
        start(self.config()).await.unwrap()
    }

    async fn start_with(&self, change: impl FnOnce(&mut RegistryConfig)) -> Started {
        let mut config = self.config();
        change(&mut config);
        start(config).await.unwrap()
    }

    async fn refusal(&self, change: impl FnOnce(&mut RegistryConfig)) -> String {
        let mut config = self.config();
        change(&mut config);
        let error = start(config).await.err().expect("the start fails");
        let text = with_causes(&error);
        text.replace(self.0.path().to_str().unwrap(), "DIR")
    }
}

struct Started {
    registry: Arc<Registry>,
    secrets: Secrets,
    _tasks: Tasks,
}

async fn start(config: RegistryConfig) -> Result<Started, Error> {
    let mut tasks = Tasks::new(CancellationToken::new());
    let registry = Registry::start(config, &mut tasks).await?;
    Ok(Started {
        secrets: Secrets::new(Arc::clone(&registry)),
        registry,
        _tasks: tasks,
    })
}

impl Started {
    /// The keys and values of a secret.
    async fn get(&self, store: &str, key: &str) -> Result<Vec<(String, String)>, Reason> {
        let answer = self
            .secrets
            .get(Remote::Unix, store, key, &BTreeMap::new())
            .await;
        answer
            .map(|secret| exposed(&secret))
            .map_err(|error| error.reason())
    }

    /// The value of a secret with one key.
    async fn value(&self, store: &str, key: &str) -> Result<String, Reason> {
        Ok(self.get(store, key).await?.remove(0).1)
    }

    async fn bulk(&self, store: &str) -> Result<Vec<String>, Reason> {
        let answer = self
            .secrets
            .bulk(Remote::Unix, store, &BTreeMap::new())
            .await;
        answer
            .map(|secrets| secrets.into_keys().collect())
            .map_err(|error| error.reason())
    }

    async fn message(&self, store: &str, key: &str) -> String {
        let answer = self
            .secrets
            .get(Remote::Unix, store, key, &BTreeMap::new())
            .await;
        answer.unwrap_err().message().to_owned()
    }

    fn components(&self) -> Vec<String> {
        let components = &self.registry.snapshot().components;
        components
            .iter()
            .map(|loaded| loaded.name.clone())
            .collect()
    }

    fn failures(&self) -> Vec<String> {
        let failed = &self.registry.snapshot().failed;
        failed.iter().map(|failed| failed.reason.clone()).collect()
    }

    async fn becomes(&self, store: &str, key: &str, expected: Result<&str, Reason>) {
        eventually(&format!("{store}/{key} is {expected:?}"), async || {
            let value = self.value(store, key).await;
            (value.as_deref() == expected.as_ref().copied()).then_some(())
        })
        .await;
    }
}

fn exposed(secret: &BTreeMap<String, sidegate::base::secret::Secret>) -> Vec<(String, String)> {
    secret
        .iter()
        .map(|(key, value)| (key.clone(), value.expose().to_owned()))
        .collect()
}

fn component(name: &str, component_type: &str, rest: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: {name}\nspec:\n  \
         type: {component_type}\n  version: v1\n{rest}\n"
    )
}

fn local_file(name: &str, path: &Path, rest: &str) -> String {
    let metadata = format!(
        "  metadata:\n  - name: secretsFile\n    value: {}\n{rest}",
        path.display()
    );
    component(name, "secretstores.local.file", &metadata)
}

fn scopes(entries: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata:\n  name: c\nspec:\n  \
         secrets:\n    scopes:\n{entries}"
    )
}

/// A `local.env` store whose prefix is in a secret of another store.
fn env_store(name: &str, store: &str, secret: &str) -> String {
    let metadata = format!(
        "  metadata:\n  - name: prefix\n    secretKeyRef:\n      name: {secret}\n\
         auth:\n  secretStore: {store}\n"
    );
    component(name, "secretstores.local.env", &metadata)
}
