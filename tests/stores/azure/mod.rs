//! `secretstores.azure.keyvault` against servers of the test's own.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use sidegate::base::environment::Environment;
use sidegate::components::catalog::{Host, build};
use sidegate::components::secret_store::{
    RequestMetadata, SecretMap, SecretStore, Secrets, StoreError,
};
use sidegate::process::kubernetes::Access;
use sidegate::testing::connect_proxy::ConnectProxy;
use sidegate::testing::contract;
use sidegate::testing::fake_app::FakeApp;
use sidegate::testing::faulty_road::FaultyRoad;
use sidegate::testing::quickstart;

use crate::quickstarts::programs;

use self::cloud::{CLIENT, Cloud, SECRET, TENANT};

mod cloud;
mod credentials;

type Pairs<'a> = &'a [(&'a str, &'a str)];

const WITH_SECRET: Pairs<'static> = &[
    ("azureTenantId", TENANT),
    ("azureClientId", CLIENT),
    ("azureClientSecret", SECRET),
];

/// A store of the vault at `endpoint`, with the token endpoint of `cloud`.
async fn store_at(
    endpoint: &str,
    cloud: &Cloud,
    properties: Pairs<'_>,
    environment: Pairs<'_>,
) -> Arc<dyn SecretStore> {
    let all = [&[("endpoint", endpoint)], properties].concat();
    let component = contract::component("secretstores.azure.keyvault", &all);
    let url = cloud.url();
    let given = [&[("AZURE_AUTHORITY_HOST", url.as_str())], environment].concat();
    let environment: Environment = given.into_iter().collect();
    let host = Host {
        environment: &environment,
        cluster: &Access::InCluster,
        app_id: "app",
    };
    let built = build(&component, host).await.unwrap();
    Arc::clone(built.secret_store().unwrap())
}

async fn store(
    cloud: &Cloud,
    properties: Pairs<'_>,
    environment: Pairs<'_>,
) -> Arc<dyn SecretStore> {
    store_at(&cloud.url(), cloud, properties, environment).await
}

fn request(pairs: Pairs<'_>) -> RequestMetadata {
    let owned = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    owned.collect()
}

fn value(secret: Option<Arc<SecretMap>>, name: &str) -> Option<String> {
    secret.map(|secret| secret[name].expose().to_owned())
}

async fn get(store: &Arc<dyn SecretStore>, name: &str) -> Result<Option<String>, StoreError> {
    let secret = store.get(name, &request(&[])).await;
    secret.map(|secret| value(secret, name))
}

async fn bulk(store: &Arc<dyn SecretStore>, metadata: Pairs<'_>) -> Result<Secrets, StoreError> {
    store.bulk(&request(metadata)).await
}

fn names(secrets: &Secrets) -> Vec<&str> {
    secrets.keys().map(String::as_str).collect()
}

#[tokio::test]
async fn does_what_every_store_does() {
    let cloud = Cloud::holding(&[("database", "hunter2"), ("empty", ""), ("Mail-2", "ü\n")]).await;
    let store = store(&cloud, WITH_SECRET, &[]).await;
    assert!(cloud.app.recorded().is_empty(), "nothing is sent at start");
    contract::holds(
        &*store,
        &[
            ("database", &[("database", "hunter2")]),
            ("empty", &[("empty", "")]),
            ("mail-2", &[("mail-2", "ü\n")]),
        ],
    )
    .await;
    assert_eq!(cloud.state.lock().unwrap().issued, 1, "one token for all");
}

#[tokio::test]
async fn survives_a_vault_that_fails() {
    let cloud = Cloud::holding(&[("database", "hunter2")]).await;
    let road = FaultyRoad::to(cloud.address()).await;
    let (url, cloud) = (road.url(), &cloud);
    let make = async |settings: &'static [(&str, &str)]| {
        store_at(&url, cloud, &[WITH_SECRET, settings].concat(), &[]).await
    };
    let expected: (_, Pairs<'_>) = ("database", &[("database", "hunter2")]);
    contract::survives(&road, make, expected).await;
}

#[tokio::test]
async fn reads_versions_and_leaves_out_what_is_disabled() {
    let cloud = Cloud::holding(&[("a", "new"), ("off", "x")]).await;
    let old = "0123456789ABCDEFabcdef0123456789";
    cloud.change(|state| {
        let versions = state.secrets.get_mut("a").unwrap();
        versions.insert(0, (old.to_owned(), "old".to_owned()));
        state.disabled.insert("off".to_owned());
    });
    let store = store(&cloud, WITH_SECRET, &[]).await;
    let read = async |version: &str| {
        let secret = store.get("a", &request(&[("version_id", version)])).await;
        secret
            .map(|secret| value(secret, "a"))
            .map_err(|error| error.to_string())
    };
    assert_eq!(read("").await, Ok(Some("new".to_owned())));
    assert_eq!(read(old).await, Ok(Some("old".to_owned())));
    assert_eq!(read(&"f".repeat(32)).await, Ok(None));
    for wrong in [
        "latest",
        "../b",
        "a/b",
        &"0".repeat(31),
        &format!("{}?", "0".repeat(31)),
    ] {
        let text = format!("{wrong:?} is no version_id, which has 32 hexadecimal digits");
        assert_eq!(read(wrong).await, Err(text));
    }
    assert_eq!(get(&store, "off").await.unwrap(), None);
    assert_eq!(names(&bulk(&store, &[]).await.unwrap()), ["a"]);
}

#[tokio::test]
async fn no_spelling_gets_round_a_denied_name() {
    let cloud = Cloud::holding(&[("db-password", "hunter2")]).await;
    let store = store(&cloud, WITH_SECRET, &[]).await;
    let host = cloud.address();
    let version = "0".repeat(32);
    let tricks = [
        "db-password".to_owned(),
        "DB-Password".to_owned(),
        "db-passworD".to_owned(),
        format!("db-password/{version}"),
        "db-password/".to_owned(),
        "db-password?api-version=7.4".to_owned(),
        "db-password#".to_owned(),
        "db-password%00".to_owned(),
        "db%2dpassword".to_owned(),
        "db%2Dpassword".to_owned(),
        "./db-password".to_owned(),
        "x/../db-password".to_owned(),
        "%2e/db-password".to_owned(),
        "../secrets/db-password".to_owned(),
        "/secrets/db-password".to_owned(),
        "//db-password".to_owned(),
        "\\db-password".to_owned(),
        " db-password".to_owned(),
        "db-password\n".to_owned(),
        "db-password\0".to_owned(),
        "db-\u{ad}password".to_owned(),
        "ｄb-password".to_owned(),
        "db‐password".to_owned(),
        "db-paſſword".to_owned(),
        format!("https://{host}/secrets/db-password"),
        format!("{host}/secrets/db-password"),
        "{secret-name}".to_owned(),
        "{secret-version}".to_owned(),
    ];
    for trick in &tricks {
        // As a scope decides that denies db-password: on the canonical name.
        let is_denied = store.canonical_name(trick) == "db-password";
        let reached = get(&store, trick).await.unwrap().is_some();
        assert!(is_denied || !reached, "{trick:?} gets round");
    }
    let asked = cloud.asked("/secrets");
    assert!(
        asked
            .iter()
            .all(|uri| uri.to_lowercase().contains("/secrets/db-password")),
        "{asked:?}"
    );
    assert_eq!(
        asked.len(),
        4,
        "three names that can be, and one challenge: {asked:?}"
    );
}

#[tokio::test]
async fn reads_ten_thousand_secrets() {
    let pairs: Vec<_> = (0..10_000)
        .map(|at| (format!("s-{at:05}"), format!("v{at}")))
        .collect();
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let cloud = Cloud::holding(&pairs).await;
    let more = [WITH_SECRET, &[("bulkTimeout", "10m")]].concat();
    let store = store(&cloud, &more, &[]).await;
    let secrets = bulk(&store, &[]).await.unwrap();
    assert_eq!(secrets.len(), 10_000);
    assert_eq!(secrets["s-09999"]["s-09999"].expose(), "v9999");
    assert_eq!(
        cloud.asked("/secrets?").len(),
        1 + 400,
        "one challenge, and pages of 25"
    );
}

#[tokio::test]
async fn pages_have_the_size_that_is_asked_for_and_bulk_a_limit() {
    let cloud = Cloud::holding(&[("a", "1"), ("b", "2"), ("c", "3")]).await;
    let more = [WITH_SECRET, &[("maxBulkSize", "8")]].concat();
    let store = store(&cloud, &more, &[]).await;
    let error = bulk(&store, &[("maxresults", "2")]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "all its secrets together have more than 8 bytes (\"maxBulkSize\"); read them by name"
    );
    let pages = cloud.asked("/secrets?");
    assert!(
        pages.iter().all(|page| page.contains("maxresults=2")),
        "{pages:?}"
    );
    assert_eq!(pages.len(), 3, "a challenge and two pages: {pages:?}");
    for wrong in ["0", "26", "-1", "all", "1&x=y"] {
        let error = bulk(&store, &[("maxresults", wrong)]).await.unwrap_err();
        let text = format!("{wrong:?} is no maxresults, a number from 1 to 25");
        assert_eq!(error.to_string(), text);
    }
}

#[tokio::test]
async fn follows_no_page_to_another_server() {
    let cloud = Cloud::holding(&[("a", "1")]).await;
    let other = FakeApp::start().await;
    let store = store(&cloud, WITH_SECRET, &[]).await;
    let next = format!("https://{}/secrets?$skiptoken=1", other.address());
    let at_name = format!("https://x@{}/secrets?$skiptoken=1", cloud.address());
    for next in [next, "https://evil.example/secrets".to_owned(), at_name] {
        cloud.change(|state| state.next_page = Some(next.clone()));
        let error = bulk(&store, &[]).await.unwrap_err();
        let text = "a link to another server, which is not followed";
        assert_eq!(error.to_string(), text, "{next}");
    }
    assert!(other.recorded().is_empty());
}

#[tokio::test]
async fn says_which_right_is_missing() {
    let cloud = Cloud::holding(&[("a", "1"), ("b", "2")]).await;
    cloud.change(|state| {
        state.forbidden.insert("a".to_owned());
        state.no_list = true;
    });
    let store = store(&cloud, WITH_SECRET, &[]).await;
    let role = "the identity needs the role \"Key Vault Secrets User\", or the secret permission";
    let error = get(&store, "a").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the vault \"127.0.0.1\" does not hand out the secret \"a\": 403 ForbiddenByRbac; \
             {role} \"get\" in the vault's access policy"
        )
    );
    assert!(matches!(error, StoreError::Failed(_)));
    assert!(store.down_since().is_none());
    let error = bulk(&store, &[]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the vault \"127.0.0.1\" does not list its secrets: 403 AccessDenied; {role} \"list\" \
             in the vault's access policy"
        )
    );
    assert!(matches!(error, StoreError::ListForbidden(_)));
    assert_eq!(get(&store, "b").await.unwrap(), Some("2".to_owned()));
}

#[tokio::test]
async fn bulk_leaves_out_what_may_not_be_read_unless_that_is_all() {
    let cloud = Cloud::holding(&[("a", "1"), ("b", "2")]).await;
    cloud.change(|state| state.forbidden.insert("a".to_owned()));
    let store = store(&cloud, WITH_SECRET, &[]).await;
    assert_eq!(names(&bulk(&store, &[]).await.unwrap()), ["b"]);
    cloud.change(|state| state.forbidden.insert("b".to_owned()));
    let error = bulk(&store, &[]).await.unwrap_err();
    assert!(error.to_string().contains("403 ForbiddenByRbac"), "{error}");
}

/// `az` as far as the page calls it: what it would write into the vault is there.
const AZ: &str = r#"#!/bin/sh
case "$*" in
"account get-access-token "*)
    echo '{"accessToken": "of-az", "tokenType": "Bearer", "expires_on": 4102444800}' ;;
"keyvault secret "*" --vault-name my-vault "*) ;;
*) exit 1 ;;
esac
"#;

#[tokio::test]
async fn the_page_does_what_it_says() {
    let cloud = Cloud::holding(&[("sidegate-try", "from-the-vault")]).await;
    cloud.change(|state| state.tokens.insert("of-az".to_owned()));
    let proxy = ConnectProxy::to(cloud.address()).await;
    let folder = tempfile::tempdir().unwrap();
    let az = folder.path().join("az");
    std::fs::write(&az, AZ).unwrap();
    std::fs::set_permissions(&az, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut programs = programs();
    programs.insert(0, folder.path().to_owned());
    let (url, roots) = (proxy.url(), proxy.ca_file());
    let roots = roots.as_ref().to_str().unwrap();
    let variables = [("HTTPS_PROXY", url.as_str()), ("SSL_CERT_FILE", roots)];
    quickstart::run("docs/secrets/azure.md", &programs, &variables).await;
    let asked = cloud.asked("/secrets/sidegate-try");
    assert_eq!(asked.len(), 2, "a challenge and an answer: {asked:?}");
}
