//! `secretstores.hashicorp.vault` against OpenBao.

use std::sync::Arc;

use serde_json::json;
use sidegate::base::environment::Environment;
use sidegate::components::catalog::{Host, build};
use sidegate::components::secret_store::{RequestMetadata, SecretStore, StoreError};
use sidegate::process::kubernetes::Access;
use sidegate::testing::contract;
use sidegate::testing::quickstart;

mod admin;
mod logins;
mod reads;
mod servers;
mod tokens;

use super::quickstarts::programs;
use super::servers::ROOT_TOKEN;
use admin::Admin;

/// The store of a component.
async fn store(properties: &[(&str, &str)]) -> Arc<dyn SecretStore> {
    let component = contract::component("secretstores.hashicorp.vault", properties);
    let host = Host {
        environment: &Environment::default(),
        cluster: &Access::InCluster,
        app_id: "app",
    };
    let built = build(&component, host).await.unwrap();
    Arc::clone(built.secret_store().unwrap())
}

/// The store of a server with its root token, and more properties.
async fn root_store(url: &str, more: &[(&str, &str)]) -> Arc<dyn SecretStore> {
    let mut properties = vec![("vaultAddr", url), ("vaultToken", ROOT_TOKEN)];
    properties.extend(more);
    store(&properties).await
}

/// One secret as text: its keys with their values.
async fn read(store: &dyn SecretStore, name: &str) -> Result<Option<String>, StoreError> {
    read_with(store, name, &[]).await
}

async fn read_with(
    store: &dyn SecretStore,
    name: &str,
    metadata: &[(&str, &str)],
) -> Result<Option<String>, StoreError> {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let metadata: RequestMetadata = metadata.iter().map(pair).collect();
    let secret = store.get(name, &metadata).await?;
    Ok(secret.map(|secret| {
        let keys = secret.iter();
        let keys: Vec<_> = keys
            .map(|(key, value)| format!("{key}={}", value.expose()))
            .collect();
        keys.join(",")
    }))
}

/// Writes a secret `{"k": value}` below the usual prefix.
async fn write(admin: &Admin, name: &str, value: &str) {
    let path = format!("secret/data/dapr/{name}");
    admin.post(&path, json!({"data": {"k": value}})).await;
}

#[tokio::test]
async fn the_page_about_it_does_what_it_says() {
    quickstart::run("docs/secrets/vault.md", &programs(), &[]).await;
}
