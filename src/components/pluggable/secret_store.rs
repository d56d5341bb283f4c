//! The secret store of a pluggable component.

use std::sync::Arc;

use async_trait::async_trait;
use tonic::Code;

use super::connection::{Connection, Failure};
use crate::base::secret::Secret;
use crate::components::secret_store::settings::Settings;
use crate::components::secret_store::{
    RequestMetadata, SecretMap, SecretStore, Secrets, StoreError,
};
use crate::proto::components::common::FeaturesResponse;
use crate::proto::components::secret_store::{
    BulkGetSecretRequest, BulkGetSecretResponse, GetSecretRequest, GetSecretResponse,
};

/// The feature of stores whose secrets may have several keys.
const MULTIPLE_KEYS: &str = "MULTIPLE_KEY_VALUES_PER_SECRET";

/// The store behind a component. Limits on time are those of `guarded`.
pub(super) struct PluggableStore {
    connection: Connection,
    has_multiple_keys: bool,
    settings: Settings,
}

impl PluggableStore {
    /// Asks a component that was started what it can do.
    pub(super) async fn start(connection: Connection, settings: Settings) -> Result<Self, Failure> {
        let answer: FeaturesResponse = connection.call("Features", ()).await?;
        Ok(Self {
            connection,
            has_multiple_keys: answer.features.iter().any(|name| name == MULTIPLE_KEYS),
            settings,
        })
    }
}

#[async_trait]
impl SecretStore for PluggableStore {
    async fn get(
        &self,
        name: &str,
        metadata: &RequestMetadata,
    ) -> Result<Option<Arc<SecretMap>>, StoreError> {
        let request = GetSecretRequest {
            key: name.to_owned(),
            metadata: metadata.clone(),
        };
        let most = self.settings.max_answer_bytes;
        let answer = self.connection.call_untimed("Get", request, most).await;
        let answer: GetSecretResponse = match answer {
            Err(Failure::Status {
                code: Code::NotFound,
                ..
            }) => return Ok(None),
            answer => answer?,
        };
        let secret = secret(answer.data);
        Ok((!secret.is_empty()).then(|| Arc::new(secret)))
    }

    async fn bulk(&self, metadata: &RequestMetadata) -> Result<Secrets, StoreError> {
        let request = BulkGetSecretRequest {
            metadata: metadata.clone(),
        };
        let most = self.settings.max_bulk_bytes;
        let answer = self.connection.call_untimed("BulkGet", request, most).await;
        let answer: BulkGetSecretResponse = answer?;
        let secrets = answer.data.into_iter();
        Ok(secrets
            .map(|(name, found)| (name, Arc::new(secret(found.secrets))))
            .collect())
    }

    fn has_multiple_keys(&self) -> bool {
        self.has_multiple_keys
    }
}

fn secret(values: std::collections::BTreeMap<String, String>) -> SecretMap {
    let values = values.into_iter();
    values
        .map(|(key, value)| (key, Secret::new(value)))
        .collect()
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        let text = failure.to_string();
        match failure {
            Failure::Status {
                code: Code::Unauthenticated,
                ..
            } => Self::Unauthenticated(text),
            Failure::Status { code, .. } if !is_passing(code) => Self::Failed(text),
            Failure::Status { .. } | Failure::Unreachable(_) => Self::Unavailable {
                text,
                retry_after: None,
            },
        }
    }
}

/// Whether another try may heal it. `Unknown` is the component's own error, such as a secret that
/// is not there.
fn is_passing(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Aborted
    )
}
