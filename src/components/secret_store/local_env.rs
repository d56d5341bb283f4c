//! `secretstores.local.env`: the environment of the sidecar.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tracing::warn;

use super::{RequestMetadata, SecretMap, SecretStore, Secrets, StoreError, single};
use crate::base::environment::{Environment, is_reserved};
use crate::base::secret::Secret;
use crate::components::Error;
use crate::components::metadata::Reader;

/// The variables whose names begin with a prefix, without it. The environment cannot change, so
/// they are laid out once.
///
/// Invariant: no variable that is reserved is among them, whatever the prefix.
pub struct LocalEnv {
    prefix: String,
    secrets: Secrets,
    has_warned: AtomicBool,
}

impl LocalEnv {
    /// Reads the setting `prefix`, which is empty where absent.
    pub fn start(reader: &mut Reader<'_>, environment: &Environment) -> Result<Self, Error> {
        let prefix = reader.text(&["prefix"])?.unwrap_or_default();
        let secrets = environment
            .iter()
            .filter(|(variable, _)| !is_reserved(variable))
            .filter_map(|(variable, value)| {
                let name = variable.strip_prefix(prefix)?;
                Some((name.to_owned(), single(name, Secret::new(value))))
            })
            .collect();
        Ok(Self {
            prefix: prefix.to_owned(),
            secrets,
            has_warned: AtomicBool::new(false),
        })
    }
}

#[async_trait]
impl SecretStore for LocalEnv {
    async fn get(
        &self,
        name: &str,
        _metadata: &RequestMetadata,
    ) -> Result<Option<Arc<SecretMap>>, StoreError> {
        let found = self.secrets.get(name).cloned();
        // Once for a store: a caller must not be able to fill the log.
        if found.is_none()
            && is_reserved(&format!("{}{name}", self.prefix))
            && !self.has_warned.swap(true, Ordering::Relaxed)
        {
            warn!(
                variable = name,
                prefix = self.prefix,
                "Access to env var is forbidden"
            );
        }
        Ok(found)
    }

    async fn bulk(&self, _metadata: &RequestMetadata) -> Result<Secrets, StoreError> {
        Ok(self.secrets.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::{ResolvedComponent, ResolvedProperty};
    use crate::testing::contract;

    fn store(prefix: &str) -> LocalEnv {
        let variables = [
            ("MY_KEY", "v"),
            ("MY_", "bare"),
            ("OTHER", "o"),
            ("DAPR_API_TOKEN", "t"),
            ("APP_API_TOKEN", "t"),
        ];
        let component = ResolvedComponent {
            name: "env".to_owned(),
            component_type: "secretstores.local.env".to_owned(),
            version: "v1".to_owned(),
            properties: vec![ResolvedProperty {
                name: "prefix".to_owned(),
                value: Secret::new(prefix),
                secret_name: None,
            }],
        };
        let mut reader = Reader::new(&component).unwrap();
        LocalEnv::start(&mut reader, &variables.into_iter().collect()).unwrap()
    }

    #[tokio::test]
    async fn meets_the_contract() {
        let all: &[(&str, &[(&str, &str)])] = &[
            ("MY_", &[("MY_", "bare")]),
            ("MY_KEY", &[("MY_KEY", "v")]),
            ("OTHER", &[("OTHER", "o")]),
        ];
        contract::holds(&store(""), all).await;
        contract::holds(&store("MY_K"), &[("EY", &[("EY", "v")])]).await;
        contract::holds(&store("DAPR_"), &[]).await;
        contract::holds(&store("APP_API_"), &[]).await;
    }
}
