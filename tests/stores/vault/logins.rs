//! Tokens that the store gets by logging in.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};
use sidegate::components::secret_store::StoreError;
use sidegate::testing::eventually::eventually;
use sidegate::testing::faulty_road::{Fault, FaultyRoad};

use super::{Admin, read, store, write};
use crate::servers::{Server, bao};

/// A server with a secret `db` and a role that may read it; the ids of the role.
async fn with_role(role: Value) -> (Server, Admin, String, String) {
    let server = bao().await;
    let admin = Admin::of(&server);
    write(&admin, "db", "v").await;
    admin
        .policy("reader", &[("secret/data/dapr/*", "read")])
        .await;
    admin
        .post("sys/auth/approle", json!({"type": "approle"}))
        .await;
    let mut fields = json!({"token_policies": ["reader"]});
    fields
        .as_object_mut()
        .unwrap()
        .extend(role.as_object().unwrap().clone());
    admin.post("auth/approle/role/app", fields).await;
    let id = admin.get("auth/approle/role/app/role-id").await;
    let secret = admin
        .post("auth/approle/role/app/secret-id", json!({}))
        .await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (id, secret) = (
        text(&id["data"]["role_id"]),
        text(&secret["data"]["secret_id"]),
    );
    (server, admin, id, secret)
}

#[tokio::test]
async fn many_readers_log_in_once_and_again_after_the_token_died() {
    let (server, admin, id, secret) = with_role(json!({"token_ttl": "1h"})).await;
    let store = store(&[
        ("vaultAddr", &server.url()),
        ("authMethod", "approle"),
        ("roleId", &id),
        ("secretId", &secret),
    ])
    .await;
    assert_eq!(admin.login_tokens().await.len(), 0);
    for _ in 0..2 {
        for answer in join_all((0..50).map(|_| read(&*store, "db"))).await {
            assert_eq!(answer.unwrap().as_deref(), Some("k=v"));
        }
        let tokens = admin.login_tokens().await;
        assert_eq!(tokens.len(), 1);
        let accessor = json!({"accessor": tokens[0]["accessor"]});
        admin.post("auth/token/revoke-accessor", accessor).await;
    }
}

#[tokio::test]
async fn a_lease_is_renewed_before_its_end() {
    let (server, admin, id, secret) = with_role(json!({"token_ttl": "3s"})).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret-id");
    std::fs::write(&path, format!("{secret}\n")).unwrap();
    let store = store(&[
        ("vaultAddr", &server.url()),
        ("authMethod", "approle"),
        ("roleId", &id),
        ("secretIdPath", path.to_str().unwrap()),
    ])
    .await;
    assert!(read(&*store, "db").await.unwrap().is_some());
    let first = admin.login_tokens().await.remove(0);
    eventually("it is renewed", async || {
        let now = admin.login_tokens().await;
        let renewed = now.first()?["last_renewal_time"].as_u64()?;
        (renewed > first["creation_time"].as_u64()? + 3).then_some(())
    })
    .await;
    let now = admin.login_tokens().await;
    assert_eq!(now.len(), 1);
    assert_eq!(now[0]["accessor"], first["accessor"]);
}

#[tokio::test]
async fn a_token_at_the_end_of_its_life_is_followed_by_another() {
    for role in [
        json!({"token_ttl": "3s", "token_max_ttl": "4s"}),
        json!({"token_ttl": "3s", "token_type": "batch"}),
    ] {
        let (server, admin, id, secret) = with_role(role).await;
        // Batch tokens leave no trace on the server but the use of the secret ID.
        admin
            .post("auth/approle/role/app/secret-id", json!({}))
            .await;
        let road = FaultyRoad::to(server.address).await;
        let store = store(&[
            ("vaultAddr", &road.url()),
            ("authMethod", "approle"),
            ("roleId", &id),
            ("secretId", &secret),
        ])
        .await;
        assert!(read(&*store, "db").await.unwrap().is_some());
        let (before, mut reads) = (road.requests(), 0);
        // Reads go on all the time, and each is one request.
        eventually("something was done about the token", async || {
            assert!(read(&*store, "db").await.unwrap().is_some());
            reads += 1;
            (road.requests() >= before + reads + 3).then_some(())
        })
        .await;
        assert_eq!(store.down_since(), None);
    }
}

#[tokio::test]
async fn credentials_that_are_not_accepted_are_named_without_their_text() {
    let (server, _admin, id, _) = with_role(json!({})).await;
    let store = store(&[
        ("vaultAddr", &server.url()),
        ("authMethod", "approle"),
        ("roleId", &id),
        ("secretId", "hunter2"),
    ])
    .await;
    let error = read(&*store, "db").await.unwrap_err();
    assert!(matches!(error, StoreError::Unauthenticated(_)), "{error:?}");
    assert_eq!(
        error.to_string(),
        "the server does not accept \"roleId\" and \"secretId\" at \"auth/approle/login\" \
         (400 Bad Request)"
    );
    assert!(store.down_since().is_some());
}

#[tokio::test]
async fn a_login_that_fails_for_a_while_is_tried_again() {
    let (server, admin, id, secret) = with_role(json!({})).await;
    let road = FaultyRoad::to(server.address).await;
    let store = store(&[
        ("vaultAddr", &road.url()),
        ("authMethod", "approle"),
        ("roleId", &id),
        ("secretId", &secret),
    ])
    .await;
    road.next([Fault::Status(503, Some(0)), Fault::Close, Fault::Cut]);
    assert!(read(&*store, "db").await.unwrap().is_some());
    assert_eq!(admin.login_tokens().await.len(), 1);
}

/// A token signed with the key, as an identity provider makes it.
fn jwt(key: &KeyPair, subject: &str) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let claims = json!({"iss": "a test", "sub": subject, "aud": "vault", "iat": now, "nbf": now,
        "exp": now + 600});
    let text = format!(
        "{}.{}",
        part(json!({"alg": "EdDSA", "typ": "JWT"})),
        part(claims)
    );
    let signature = key.sign(text.as_bytes()).unwrap();
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn logs_in_with_a_token_of_an_identity_provider() {
    let server = bao().await;
    let admin = Admin::of(&server);
    write(&admin, "db", "v").await;
    admin
        .policy("reader", &[("secret/data/dapr/*", "read")])
        .await;
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let public = rcgen_public_pem(&key);
    // A `kubernetes` method speaks the same to its clients.
    for (method, mount) in [("jwt", "jwt"), ("kubernetes", "team/cluster")] {
        admin
            .post(&format!("sys/auth/{mount}"), json!({"type": "jwt"}))
            .await;
        let config = json!({"jwt_validation_pubkeys": [public], "jwt_supported_algs": ["EdDSA"]});
        admin.post(&format!("auth/{mount}/config"), config).await;
        let role = json!({"role_type": "jwt", "bound_audiences": ["vault"], "user_claim": "sub",
            "bound_subject": "app", "token_policies": ["reader"]});
        admin.post(&format!("auth/{mount}/role/app"), role).await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let make = || async {
            store(&[
                ("vaultAddr", &server.url()),
                ("authMethod", method),
                ("authPath", mount),
                ("role", "app"),
                ("jwtPath", path.to_str().unwrap()),
            ])
            .await
        };
        std::fs::write(&path, jwt(&key, "app")).unwrap();
        assert_eq!(
            read(&*make().await, "db").await.unwrap().as_deref(),
            Some("k=v")
        );
        std::fs::write(&path, jwt(&key, "other")).unwrap();
        let error = read(&*make().await, "db").await.unwrap_err();
        let expected = format!(
            "the server does not accept \"role\" and \"jwtPath\" at \"auth/{mount}/login\""
        );
        assert!(error.to_string().starts_with(&expected), "{error}");
        // It is read anew for each login.
        let store = make().await;
        assert!(read(&*store, "db").await.is_err());
        std::fs::write(&path, jwt(&key, "app")).unwrap();
        assert!(read(&*store, "db").await.unwrap().is_some());
    }
}

/// The public key, PEM.
fn rcgen_public_pem(key: &KeyPair) -> String {
    use base64::engine::general_purpose::STANDARD;
    let der = STANDARD.encode(key.subject_public_key_info());
    format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n")
}
