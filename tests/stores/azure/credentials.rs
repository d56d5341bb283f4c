//! Tokens for a vault, from every way to one.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sidegate::components::secret_store::StoreError;
use sidegate::testing::connect_proxy::ConnectProxy;

use super::cloud::{CERTIFICATE, CLIENT, Cloud, SECRET, TENANT};
use super::{Pairs, WITH_SECRET, get, store};
use crate::quickstarts::programs;

const APPLICATION: Pairs<'static> = &[("azureTenantId", TENANT), ("azureClientId", CLIENT)];

#[tokio::test]
async fn every_credential_gets_a_token() {
    let cloud = Cloud::holding(&[("a", "1")]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let pfx: &[u8] = include_bytes!("client.pfx");
    let legacy: &[u8] = include_bytes!("client-legacy.pfx");
    std::fs::write(path("pem"), CERTIFICATE).unwrap();
    std::fs::write(path("pfx"), pfx).unwrap();
    std::fs::write(path("token"), "of a pod\n").unwrap();
    let base64 = [CERTIFICATE.as_bytes(), pfx, legacy].map(|bytes| STANDARD.encode(bytes));
    let (pem_file, pfx_file, token) = (path("pem"), path("pfx"), path("token"));
    let password = ("azureCertificatePassword", "hunter2");
    let workload: Pairs<'_> = &[
        ("AZURE_FEDERATED_TOKEN_FILE", &token),
        ("AZURE_TENANT_ID", TENANT),
        ("AZURE_CLIENT_ID", CLIENT),
    ];
    let ways: &[(Pairs<'_>, Pairs<'_>)] = &[
        (&[("azureClientSecret", SECRET)], &[]),
        (&[("spnClientSecret", SECRET)], &[]),
        (&[("azureCertificate", CERTIFICATE)], &[]),
        (&[("spnCertificate", &base64[0])], &[]),
        (&[("azureCertificate", &base64[1]), password], &[]),
        (&[("azureCertificate", &base64[2])], &[]),
        (&[("azureCertificateFile", &pem_file)], &[]),
        (&[("spnCertificateFile", &pfx_file), password], &[]),
        (&[], workload),
    ];
    for (number, (properties, environment)) in ways.iter().enumerate() {
        let own = if environment.is_empty() {
            APPLICATION
        } else {
            &[]
        };
        let store = store(&cloud, &[own, properties].concat(), environment).await;
        assert_eq!(
            get(&store, "a").await.unwrap(),
            Some("1".to_owned()),
            "{properties:?}"
        );
        assert_eq!(cloud.state.lock().unwrap().issued, number + 1);
    }
}

#[tokio::test]
async fn a_credential_that_is_refused_is_told_without_it() {
    let cloud = Cloud::holding(&[("a", "1")]).await;
    let wrong = [APPLICATION, &[("azureClientSecret", "hunter2~wrong")]].concat();
    let store = store(&cloud, &wrong, &[]).await;
    let error = get(&store, "a").await.unwrap_err();
    let expected = "AADSTS7000215: Invalid client secret provided.";
    assert_eq!(error.to_string(), expected);
    assert!(matches!(error, StoreError::Unauthenticated(_)));
    assert!(store.down_since().is_some());
    assert_eq!(
        cloud.asked(&format!("/{TENANT}")).len(),
        1,
        "not tried again"
    );
    for (status, body, expected) in [
        (
            400,
            "hunter2",
            "the token endpoint answered 400 Bad Request",
        ),
        (
            200,
            "{\"access_token\": 1, \"x\": \"hunter2\"}",
            "the answer of the token endpoint is no token",
        ),
        (
            200,
            "hunter2",
            "the answer of the token endpoint is no token",
        ),
        (
            503,
            "hunter2",
            "the token endpoint answered 503 Service Unavailable",
        ),
        (
            307,
            "hunter2",
            "the token endpoint answered 307 Temporary Redirect",
        ),
    ] {
        cloud.change(|state| state.token_answer = Some((status, body.into())));
        assert_eq!(get(&store, "a").await.unwrap_err().to_string(), expected);
    }
    cloud.change(|state| state.token_answer = Some((200, vec![b'x'; 1 << 20])));
    let error = get(&store, "a").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the token endpoint: the answer has more than 262144 bytes"
    );
}

#[tokio::test]
async fn a_service_accounts_token_is_read_again() {
    let cloud = Cloud::holding(&[("a", "1")]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "of a pod").unwrap();
    let environment: Pairs<'_> = &[("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap())];
    let store = store(&cloud, APPLICATION, environment).await;
    assert!(get(&store, "a").await.is_ok());
    std::fs::write(&file, "its next").unwrap();
    cloud.change(|state| {
        state.tokens.clear();
        state.service_account = "its next".to_owned();
    });
    assert!(get(&store, "a").await.is_ok());
    std::fs::remove_file(&file).unwrap();
    cloud.change(|state| state.tokens.clear());
    let error = get(&store, "a").await.unwrap_err();
    assert!(error.to_string().starts_with("the vault"), "{error}");
    assert!(matches!(error, StoreError::Unauthenticated(_)), "{error:?}");
}

#[tokio::test]
async fn tokens_are_renewed_before_they_end_and_used_until_they_do() {
    let cloud = Cloud::holding(&[("a", "1")]).await;
    cloud.change(|state| state.lifetime = 120);
    let store = store(&cloud, WITH_SECRET, &[]).await;
    let issued = || cloud.state.lock().unwrap().issued;
    for expected in 1..=3 {
        assert!(get(&store, "a").await.is_ok());
        assert_eq!(issued(), expected, "less than five minutes are left");
    }
    cloud.change(|state| state.token_answer = Some((503, Vec::new())));
    for _ in 0..3 {
        assert!(get(&store, "a").await.is_ok(), "the last token counts");
    }
    assert_eq!(
        cloud.asked(&format!("/{TENANT}")).len(),
        4,
        "asked for again after a pause"
    );
    cloud.change(|state| {
        state.token_answer = None;
        state.tokens.clear();
    });
    let error = get(&store, "a").await.unwrap_err();
    assert!(error.to_string().ends_with("401 AKV10000"), "{error}");
    cloud.change(|state| state.lifetime = 3600);
    let store = super::store(&cloud, WITH_SECRET, &[]).await;
    assert!(get(&store, "a").await.is_ok());
    cloud.change(|state| state.tokens.clear());
    assert!(
        get(&store, "a").await.is_ok(),
        "a token that was taken back is replaced"
    );
}

#[tokio::test]
async fn a_machine_has_its_own_identity_and_others() {
    let cloud = Cloud::holding(&[("a", "1")]).await;
    let url = cloud.url();
    let environment: Pairs<'_> = &[
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", &url),
        ("PATH", "/nonexistent"),
    ];
    let mine = store(&cloud, &[], environment).await;
    let error = get(&mine, "a").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no credential for the vault: the machine does not have this identity; no \
         program \"az\" (the command line of Azure)"
    );
    cloud.change(|state| state.identities.insert(String::new()));
    assert!(get(&mine, "a").await.is_ok());
    let by_id = store(&cloud, &[("azureClientId", CLIENT)], environment).await;
    assert!(get(&by_id, "a").await.is_err());
    cloud.change(|state| state.identities.insert(CLIENT.to_owned()));
    assert!(get(&by_id, "a").await.is_ok());
}

#[tokio::test]
async fn without_any_credential_a_read_fails_soon() {
    let cloud = Cloud::holding(&[("a", "1")]).await;
    // It takes connections, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let environment: Pairs<'_> = &[
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", &silent),
        ("PATH", "/nonexistent"),
    ];
    let store = store(&cloud, &[], environment).await;
    let start = Instant::now();
    let error = get(&store, "a").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no credential for the vault: no managed identity (nobody answers at \
         169.254.169.254); no program \"az\" (the command line of Azure)"
    );
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn the_command_line_is_asked_last() {
    let cloud = Cloud::holding(&[("a", "1")]).await;
    cloud.change(|state| state.tokens.insert("of-az".to_owned()));
    let folder = tempfile::tempdir().unwrap();
    let script = r#"#!/bin/sh
[ -z "$DAPR_API_TOKEN" ] && [ ! -e "$HOME/out" ] || exit 1
echo "$*" >"$HOME/asked"
echo '{"accessToken": "of-az", "tokenType": "Bearer", "expires_on": 4102444800}'
"#;
    let az = folder.path().join("az");
    std::fs::write(&az, script).unwrap();
    std::fs::set_permissions(&az, std::fs::Permissions::from_mode(0o755)).unwrap();
    let home = folder.path().to_str().unwrap();
    let environment: Pairs<'_> = &[
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1"),
        ("PATH", home),
        ("HOME", home),
        ("DAPR_API_TOKEN", "hunter2"),
    ];
    let store = store(&cloud, &[], environment).await;
    assert_eq!(get(&store, "a").await.unwrap(), Some("1".to_owned()));
    let asked = std::fs::read_to_string(folder.path().join("asked")).unwrap();
    let expected = "account get-access-token -o json --scope https://vault.azure.net/.default\n";
    assert_eq!(asked, expected);
    std::fs::write(folder.path().join("out"), "").unwrap();
    let methods = &[("azureAuthMethods", "cli")];
    let store = super::store(&cloud, methods, environment).await;
    let error = get(&store, "a").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"az\" gave no token; \"az login\" logs it in"
    );
}

#[tokio::test]
async fn a_vault_gets_no_token_of_another_resource() {
    let cloud = Cloud::holding(&[("a", "1")]).await;
    let store = store(&cloud, WITH_SECRET, &[]).await;
    for resource in [
        "https://management.azure.com",
        "http://vault.azure.net",
        "https://vault.azure.net.evil.example",
        "https://vault.azure.cn",
    ] {
        cloud.change(|state| state.resource = resource.to_owned());
        let error = get(&store, "a").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the vault asks for a token of another resource than vault.azure.net"
        );
    }
    assert_eq!(cloud.state.lock().unwrap().issued, 0);
}

#[tokio::test]
async fn an_emulator_takes_any_token() {
    let cloud = Cloud::holding(&[("a", "1")]).await;
    cloud.change(|state| state.tokens.insert("none".to_owned()));
    let store = store(&cloud, &[("azureAuthMethods", "none")], &[]).await;
    assert_eq!(get(&store, "a").await.unwrap(), Some("1".to_owned()));
}

/// The variables of App Service are read by the SDK, and so by a program only.
#[tokio::test]
async fn an_app_services_identity_is_asked_without_a_proxy() {
    let cloud = Cloud::holding(&[("a", "1")]).await;
    cloud.change(|state| state.identities.insert(String::new()));
    let proxy = ConnectProxy::to(cloud.address()).await;
    let folder = tempfile::tempdir().unwrap();
    let component = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: vault}\n\
        spec:\n  type: secretstores.azure.keyvault\n  version: v1\n  metadata:\n\
        \x20 - {name: vaultName, value: shop}\n";
    std::fs::write(folder.path().join("vault.yaml"), component).unwrap();
    let read = "curl -sS -H \"dapr-api-token: $DAPR_API_TOKEN\" \
        http://localhost:$DAPR_HTTP_PORT/v1.0/secrets/vault/a";
    let output = tokio::process::Command::new(programs()[0].join("sidegate"))
        .args(["run", "--app-id", "shop", "--log-level", "error"])
        .arg("--resources-path")
        .arg(folder.path())
        .args(["--", "sh", "-c", read])
        .env("HTTP_PROXY", "http://127.0.0.1:1")
        .env("HTTPS_PROXY", proxy.url())
        .env("SSL_CERT_FILE", proxy.ca_file().as_ref())
        .env("IDENTITY_ENDPOINT", format!("{}/msi/token", cloud.url()))
        .env("IDENTITY_HEADER", "of-the-app")
        .kill_on_drop(true)
        .output();
    let output = output.await.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("{\"a\":\"1\"}"), "{output:?}");
    assert_eq!(cloud.asked("/msi/token").len(), 1);
}
