//! Tokens that are given: in the component or in a file.

use serde_json::json;
use sidegate::components::secret_store::StoreError;
use sidegate::testing::eventually::eventually;

use super::{Admin, read, store, write};
use crate::servers::bao;

const REFUSED: &str = "the server does not accept the token: it is wrong, expired or revoked";

#[tokio::test]
async fn a_token_that_the_server_does_not_accept_is_no_denied_secret() {
    let server = bao().await;
    let admin = Admin::of(&server);
    write(&admin, "db", "v").await;
    admin
        .policy("reader", &[("secret/data/dapr/*", "read")])
        .await;
    let token = admin.token(json!({"policies": ["reader"]})).await;
    let store = store(&[("vaultAddr", &server.url()), ("vaultToken", &token)]).await;
    assert!(read(&*store, "db").await.unwrap().is_some());
    admin
        .post("auth/token/revoke", json!({"token": token}))
        .await;
    let error = read(&*store, "db").await.unwrap_err();
    assert!(matches!(error, StoreError::Unauthenticated(_)), "{error:?}");
    assert_eq!(error.to_string(), REFUSED);
    assert!(store.down_since().is_some());
    let store = super::store(&[("vaultAddr", &server.url()), ("vaultToken", "wrong")]).await;
    assert_eq!(read(&*store, "db").await.unwrap_err().to_string(), REFUSED);
}

#[tokio::test]
async fn a_token_that_can_be_renewed_lives_on() {
    let server = bao().await;
    let admin = Admin::of(&server);
    write(&admin, "db", "v").await;
    admin
        .policy("reader", &[("secret/data/dapr/*", "read")])
        .await;
    let token = admin
        .token(json!({"policies": ["reader"], "ttl": "3s"}))
        .await;
    let store = store(&[("vaultAddr", &server.url()), ("vaultToken", &token)]).await;
    assert!(read(&*store, "db").await.unwrap().is_some());
    // Its own look-up shows when it was renewed.
    let holder = Admin::at(server.address, &token);
    eventually("it is renewed twice", async || {
        let found = holder.get("auth/token/lookup-self").await;
        let renewed = found["data"]["last_renewal_time"].as_u64()?;
        (renewed > found["data"]["creation_time"].as_u64()? + 3).then_some(())
    })
    .await;
    assert!(read(&*store, "db").await.unwrap().is_some());
}

#[tokio::test]
async fn a_token_file_is_read_again() {
    let server = bao().await;
    let admin = Admin::of(&server);
    for name in ["a", "b"] {
        write(&admin, name, name).await;
        admin
            .policy(name, &[(&format!("secret/data/dapr/{name}"), "read")])
            .await;
    }
    let first = admin.token(json!({"policies": ["a"]})).await;
    let second = admin.token(json!({"policies": ["b"]})).await;
    let third = admin.token(json!({"policies": ["a", "b"]})).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let put = |token: &str| std::fs::write(&path, format!("{token}\n")).unwrap();
    let store = store(&[
        ("vaultAddr", &server.url()),
        ("vaultTokenMountPath", path.to_str().unwrap()),
    ])
    .await;
    let error = read(&*store, "a").await.unwrap_err();
    assert!(
        error.to_string().starts_with("cannot read credential file"),
        "{error}"
    );
    put(&first);
    assert!(read(&*store, "a").await.unwrap().is_some());
    put(&second);
    // The first one still is good, and is used until the file was looked at.
    eventually("the second token is used", async || {
        read(&*store, "a").await.err()
    })
    .await;
    assert!(read(&*store, "b").await.unwrap().is_some());
    put(&third);
    admin
        .post("auth/token/revoke", json!({"token": second}))
        .await;
    // At once, since the server refuses the second.
    assert!(read(&*store, "a").await.unwrap().is_some());
    put("");
    admin
        .post("auth/token/revoke", json!({"token": third}))
        .await;
    assert_eq!(read(&*store, "a").await.unwrap_err().to_string(), REFUSED);
    put(&first);
    assert!(read(&*store, "a").await.unwrap().is_some());
    assert_eq!(store.down_since(), None);
}
