//! The steps of state, secrets, configuration, locks and metadata.

use std::collections::HashMap;
use std::time::Duration;

use dapr::client::{Etag, GetStateResponse, StateItem};
use dapr::dapr::proto::runtime::v1::unlock_response::Status;
use dapr::dapr::proto::runtime::v1::{
    DeleteStateRequest, ExecuteStateTransactionRequest, GetBulkStateRequest,
    TransactionalStateOperation, TryLockRequest, UnlockRequest,
};
use tokio::time::{interval, timeout};
use tonic::Code;

use crate::Script;
use crate::inbox::PATIENCE;
use crate::report::{Failure, equal, has_code, holds};

/// The state store in memory.
pub(crate) const MEMORY: &str = "memory";
/// The secret store.
pub(crate) const SECRETS: &str = "secrets";
/// The configuration store.
pub(crate) const SETTINGS: &str = "settings";
/// The lock store.
pub(crate) const LOCKS: &str = "locks";

const JSON: &str = r#"{"a":"ä"}"#;

fn operation(
    kind: &str,
    key: &str,
    value: &str,
    etag: Option<Etag>,
) -> TransactionalStateOperation {
    TransactionalStateOperation {
        operation_type: kind.to_owned(),
        request: Some(StateItem {
            key: key.to_owned(),
            value: value.into(),
            etag,
            ..Default::default()
        }),
    }
}

impl Script {
    async fn get(&mut self, key: &str) -> Result<GetStateResponse, Failure> {
        Ok(self.client.get_state(MEMORY, key, None).await?)
    }

    async fn has(&mut self, key: &str, value: &str) -> Result<(), Failure> {
        let found = self.get(key).await?.data;
        equal(String::from_utf8_lossy(&found).as_ref(), value)
    }

    async fn save(&mut self, key: &str, value: &str, etag: Option<Etag>) -> Result<(), Failure> {
        self.client
            .save_state(MEMORY, key, value.into(), etag, None, None)
            .await?;
        Ok(())
    }

    pub(crate) async fn saves_and_gets(&mut self, store: &str) -> Result<(), Failure> {
        self.client
            .save_state(store, "order", JSON.into(), None, None, None)
            .await?;
        let found = self.client.get_state(store, "order", None).await?;
        equal(found.data.as_slice(), JSON.as_bytes())?;
        holds(!found.etag.is_empty(), || "there is no ETag".to_owned())
    }

    pub(crate) async fn misses_a_key(&mut self) -> Result<(), Failure> {
        let found = self.get("none").await?;
        equal((found.data, found.etag), Default::default())
    }

    pub(crate) async fn gets_many(&mut self) -> Result<(), Failure> {
        self.save("one", "1", None).await?;
        self.save("two", "2", None).await?;
        let request = GetBulkStateRequest {
            store_name: MEMORY.to_owned(),
            keys: ["one", "none", "two"].map(str::to_owned).into(),
            parallelism: 2,
            ..Default::default()
        };
        let answer = self.stubs.get_bulk_state(request).await?.into_inner();
        let items = answer.items.iter();
        let mut found: Vec<_> = items
            .map(|item| (item.key.as_str(), item.data.as_slice(), item.error.as_str()))
            .collect();
        found.sort_unstable();
        equal(
            found.as_slice(),
            &[("none", &[], ""), ("one", b"1", ""), ("two", b"2", "")],
        )
    }

    pub(crate) async fn deletes(&mut self) -> Result<(), Failure> {
        self.save("deleted", "1", None).await?;
        self.client.delete_state(MEMORY, "deleted", None).await?;
        self.has("deleted", "").await
    }

    /// Saves two values after each other. The ETag of the first one.
    async fn save_twice(&mut self, key: &str) -> Result<Option<Etag>, Failure> {
        self.save(key, "1", None).await?;
        let value = self.get(key).await?.etag;
        let old = Some(Etag { value });
        self.save(key, "2", old.clone()).await?;
        Ok(old)
    }

    pub(crate) async fn saves_with_an_old_etag(&mut self) -> Result<(), Failure> {
        let old = self.save_twice("saved").await?;
        has_code(self.save("saved", "3", old).await, "Aborted")?;
        self.has("saved", "2").await
    }

    pub(crate) async fn deletes_with_an_old_etag(&mut self) -> Result<(), Failure> {
        let request = |etag| DeleteStateRequest {
            store_name: MEMORY.to_owned(),
            key: "kept".to_owned(),
            etag,
            ..Default::default()
        };
        let old = self.save_twice("kept").await?;
        let refused = self.stubs.delete_state(request(old)).await;
        equal(
            refused.err().map(|status| status.code()),
            Some(Code::Aborted),
        )?;
        self.has("kept", "2").await?;
        let value = self.get("kept").await?.etag;
        self.stubs
            .delete_state(request(Some(Etag { value })))
            .await?;
        self.has("kept", "").await
    }

    pub(crate) async fn transacts(&mut self) -> Result<(), Failure> {
        let transaction = |operations| ExecuteStateTransactionRequest {
            store_name: MEMORY.to_owned(),
            operations,
            ..Default::default()
        };
        let old = self.save_twice("from").await?;
        let moved = vec![
            operation("upsert", "to", "1", None),
            operation("delete", "from", "", None),
        ];
        self.stubs
            .execute_state_transaction(transaction(moved))
            .await?;
        self.has("to", "1").await?;
        self.has("from", "").await?;
        let late = vec![
            operation("upsert", "to", "2", None),
            operation("upsert", "from", "2", old),
        ];
        let refused = self
            .stubs
            .execute_state_transaction(transaction(late))
            .await;
        holds(refused.is_err(), || {
            "a transaction with an old ETag was not refused".to_owned()
        })?;
        self.has("to", "1").await
    }

    pub(crate) async fn expires(&mut self) -> Result<(), Failure> {
        for (key, seconds) in [("short", "1"), ("long", "3600")] {
            let metadata = HashMap::from([("ttlInSeconds".to_owned(), seconds.to_owned())]);
            self.client
                .save_state(MEMORY, key, "1".into(), None, Some(metadata), None)
                .await?;
        }
        let gone = async {
            let mut tries = interval(Duration::from_millis(100));
            while !self.get("short").await?.data.is_empty() {
                tries.tick().await;
            }
            Ok::<_, Failure>(())
        };
        timeout(PATIENCE, gone).await??;
        self.has("long", "1").await
    }

    pub(crate) async fn gets_a_secret(&mut self) -> Result<(), Failure> {
        let secret = self.client.get_secret(SECRETS, "password").await?.data;
        equal(
            secret,
            HashMap::from([("password".to_owned(), "hunter2".to_owned())]),
        )
    }

    pub(crate) async fn gets_all_secrets(&mut self) -> Result<(), Failure> {
        let all = self.client.get_bulk_secret(SECRETS, None).await?.data;
        let found: Vec<_> = all
            .into_iter()
            .map(|(name, secret)| (name, secret.secrets))
            .collect();
        let secret = HashMap::from([("password".to_owned(), "hunter2".to_owned())]);
        equal(found, vec![("password".to_owned(), secret)])
    }

    pub(crate) async fn is_refused_a_secret(
        &mut self,
        key: &str,
        code: &str,
    ) -> Result<(), Failure> {
        has_code(self.client.get_secret(SECRETS, key).await, code)
    }

    async fn write(&mut self, key: &str, value: &str) -> Result<(), Failure> {
        let metadata = HashMap::from([("key".to_owned(), key.to_owned())]);
        self.client
            .invoke_binding("writer", value.into(), "create", Some(metadata))
            .await?;
        Ok(())
    }

    pub(crate) async fn gets_settings(&mut self) -> Result<(), Failure> {
        let key = format!("{}-color", std::env::var("APP_ID")?);
        self.write(&key, "red||1").await?;
        let items = self
            .client
            .get_configuration(SETTINGS, vec![key.as_str()], None)
            .await?
            .items;
        let item = items.get(&key).ok_or("there is no such item")?;
        equal((item.value.as_str(), item.version.as_str()), ("red", "1"))
    }

    pub(crate) async fn is_told_of_settings(&mut self) -> Result<(), Failure> {
        let key = format!("{}-size", std::env::var("APP_ID")?);
        let mut changes = self
            .client
            .subscribe_configuration(SETTINGS, vec![key.as_str()], None)
            .await?;
        let first = timeout(PATIENCE, changes.message()).await??;
        let id = first.ok_or("the stream ended")?.id;
        self.write(&key, "large||2").await?;
        let item = loop {
            let change = timeout(PATIENCE, changes.message()).await??;
            let mut items = change.ok_or("the stream ended")?.items;
            if let Some(item) = items.remove(&key) {
                break item;
            }
        };
        equal((item.value.as_str(), item.version.as_str()), ("large", "2"))?;
        let answer = self.client.unsubscribe_configuration(SETTINGS, &id).await?;
        holds(answer.ok, || answer.message)
    }

    async fn take(&mut self, owner: &str) -> Result<bool, Failure> {
        let request = TryLockRequest {
            store_name: LOCKS.to_owned(),
            resource_id: "till".to_owned(),
            lock_owner: owner.to_owned(),
            expiry_in_seconds: 60,
        };
        Ok(self
            .stubs
            .try_lock_alpha1(request)
            .await?
            .into_inner()
            .success)
    }

    pub(crate) async fn locks(&mut self) -> Result<(), Failure> {
        equal(self.take("first").await?, true)?;
        equal(self.take("second").await?, false)?;
        for (owner, expected) in [
            ("second", Status::LockBelongsToOthers),
            ("first", Status::Success),
            ("first", Status::LockDoesNotExist),
        ] {
            let request = UnlockRequest {
                store_name: LOCKS.to_owned(),
                resource_id: "till".to_owned(),
                lock_owner: owner.to_owned(),
            };
            let answer = self.stubs.unlock_alpha1(request).await?;
            equal(answer.into_inner().status(), expected)?;
        }
        Ok(())
    }

    pub(crate) async fn gets_metadata(&mut self) -> Result<(), Failure> {
        let metadata = self.client.get_metadata().await?;
        equal(metadata.id, std::env::var("APP_ID")?)?;
        let mut components = metadata.registered_components.iter();
        holds(components.any(|component| component.name == MEMORY), || {
            format!("{:?}", metadata.registered_components)
        })
    }

    pub(crate) async fn sets_metadata(&mut self) -> Result<(), Failure> {
        self.client.set_metadata("floor", "3").await?;
        let found = self.client.get_metadata().await?.extended_metadata;
        equal(found.get("floor").map(String::as_str), Some("3"))
    }
}
