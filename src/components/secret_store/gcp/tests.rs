//! The store against a server of the test's own.

use std::sync::Arc;

use google_cloud_auth::credentials::mds;

use super::*;
use crate::base::environment::Environment;
use crate::components::catalog::{self, Host};
use crate::components::secret_store::guarded::Guarded;
use crate::process::kubernetes::Access;
use crate::testing::contract::{self, component};
use crate::testing::fake_secret_manager::{EMAIL, FakeSecretManager, KEY_ID, PRIVATE_KEY, Version};
use crate::testing::faulty_road::FaultyRoad;

const TYPE: &str = "secretstores.gcp.secretmanager";

/// The store of a component with a key, through the catalog.
async fn store(endpoint: &str, more: &[(&str, &str)]) -> Arc<dyn SecretStore> {
    crate::tls::install_provider();
    let properties = [
        ("project_id", "shop"),
        ("endpoint", endpoint),
        ("type", "service_account"),
        ("private_key_id", KEY_ID),
        ("private_key", PRIVATE_KEY),
        ("client_email", EMAIL),
    ];
    let properties: Vec<_> = properties.iter().chain(more).copied().collect();
    let host = Host {
        environment: &Environment::default(),
        cluster: &Access::InCluster,
        app_id: "app",
    };
    let built = catalog::build(&component(TYPE, &properties), host).await;
    Arc::clone(built.unwrap().secret_store().unwrap())
}

#[tokio::test]
async fn meets_the_contract() {
    let server = FakeSecretManager::start(&[("db", "hunter2"), ("empty", ""), ("A-b_9", "ä\n")]);
    let server = server.await;
    let store = store(&server.url(), &[]).await;
    let expected: &[(&str, &[(&str, &str)])] = &[
        ("A-b_9", &[("A-b_9", "ä\n")]),
        ("db", &[("db", "hunter2")]),
        ("empty", &[("empty", "")]),
    ];
    contract::holds(store.as_ref(), expected).await;
    assert!(!store.has_multiple_keys());
}

#[tokio::test]
async fn survives_what_goes_wrong_on_the_way() {
    let server = FakeSecretManager::start(&[("db", "hunter2")]).await;
    let road = FaultyRoad::to(server.address()).await;
    let url = road.url();
    let make = |more: &'static [(&'static str, &'static str)]| store(&url, more);
    contract::survives(&road, make, ("db", &[("db", "hunter2")])).await;
}

async fn read(
    store: &dyn SecretStore,
    name: &str,
    version: Option<&str>,
) -> Result<Option<String>, StoreError> {
    let metadata = version.map(|version| (VERSION_ID.to_owned(), version.to_owned()));
    let secret = store.get(name, &metadata.into_iter().collect()).await?;
    Ok(secret.map(|secret| secret[name].expose().to_owned()))
}

/// The path and query of the last request.
fn last_asked(server: &FakeSecretManager) -> String {
    server.recorded().last().unwrap().uri.to_string()
}

#[tokio::test]
async fn reads_the_latest_version_or_the_one_that_is_asked_for() {
    let server = FakeSecretManager::start(&[("db", "first")]).await;
    {
        let mut state = server.state();
        let versions = state.secrets.get_mut("db").unwrap();
        versions.push(Version::enabled("second"));
        versions.push(Version::enabled("third"));
        state
            .aliases
            .insert(("db".to_owned(), "stable".to_owned()), 2);
    }
    let store = store(&server.url(), &[]).await;
    for (version, expected, path) in [
        (None, Some("third"), "latest"),
        (Some(""), Some("third"), "latest"),
        (Some("latest"), Some("third"), "latest"),
        (Some("1"), Some("first"), "1"),
        (Some("stable"), Some("second"), "stable"),
        (Some("4"), None, "4"),
        (Some("unknown"), None, "unknown"),
    ] {
        let value = read(store.as_ref(), "db", version).await.unwrap();
        assert_eq!(value.as_deref(), expected, "{version:?}");
        let path = format!("/v1/projects/shop/secrets/db/versions/{path}:access");
        assert_eq!(last_asked(&server), path);
    }
    let asked = server.recorded().len();
    for version in ["0", "1/../2", "..", "1:access?a=", "a%2fb", "1#", "ä", "\n"] {
        let error = read(store.as_ref(), "db", Some(version)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{version:?} is not the number of a version, an alias, or \"latest\"")
        );
    }
    assert_eq!(server.recorded().len(), asked, "nothing was sent");
}

#[tokio::test]
async fn a_regional_secret_has_its_location_in_the_path() {
    let server = FakeSecretManager::start(&[("db", "v")]).await;
    let store = store(&server.url(), &[("location", "europe-west3")]).await;
    assert!(read(store.as_ref(), "db", None).await.unwrap().is_some());
    let path = "/v1/projects/shop/locations/europe-west3/secrets/db/versions/latest:access";
    assert_eq!(last_asked(&server), path);
    assert_eq!(store.bulk(&RequestMetadata::new()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn no_other_spelling_reaches_a_denied_secret() {
    let server = FakeSecretManager::start(&[("db", "hunter2"), ("open", "o")]).await;
    let store = store(&server.url(), &[]).await;
    for name in [
        "projects/shop/secrets/db",
        "projects/shop/secrets/db/versions/latest",
        "//secretmanager.googleapis.com/projects/shop/secrets/db",
        "shop/db",
        "secrets/db",
        "db/",
        "/db",
        "./db",
        "open/../db",
        "open/versions/1/../../../db",
        "..%2fsecrets%2fdb",
        "%64b",
        "d%62",
        "db%00",
        "db\0",
        "db ",
        " db",
        "db\n",
        "\u{feff}db",
        "d\u{200b}b",
        "ｄｂ",
        "DB",
        "Db",
        "db?",
        "db?x=y",
        "db#",
        "db;v=1",
        "db@1",
        "db:access",
        "db:1",
        "db/versions/1",
        "db/versions/1:access",
        "db/versions/latest:access?",
        "db%2fversions%2f1",
        "db\\versions\\1",
        "open/versions/latest:access#",
        "*",
        "d*",
        "-",
    ] {
        // What the scopes do with `deniedSecrets: [db]`.
        let is_denied = store.canonical_name(name) == "db";
        let value = read(store.as_ref(), name, None).await.unwrap();
        assert!(is_denied || value.is_none(), "{name:?}");
    }
    assert_eq!(store.canonical_name("db"), "db");
    let asked = server.recorded();
    let names = ["DB", "Db", "-"];
    assert_eq!(asked.len(), names.len(), "the others were not sent");
}

#[tokio::test]
async fn what_is_disabled_destroyed_or_without_a_version_is_not_there() {
    let server = FakeSecretManager::start(&[("off", "a"), ("gone", "b"), ("new", ""), ("on", "c")]);
    let server = server.await;
    {
        let mut state = server.state();
        state.secrets.get_mut("off").unwrap()[0].state = "DISABLED";
        state.secrets.get_mut("gone").unwrap()[0].state = "DESTROYED";
        state.secrets.get_mut("new").unwrap().clear();
    }
    let store = store(&server.url(), &[]).await;
    for name in ["off", "gone", "new", "absent"] {
        assert_eq!(
            read(store.as_ref(), name, None).await.unwrap(),
            None,
            "{name}"
        );
    }
    let all = store.bulk(&RequestMetadata::new()).await.unwrap();
    assert_eq!(all.keys().collect::<Vec<_>>(), ["on"]);
}

#[tokio::test]
async fn bytes_are_an_error_alone_and_left_out_of_all() {
    let server = FakeSecretManager::start(&[("text", "t"), ("bytes", "")]).await;
    server.state().secrets.get_mut("bytes").unwrap()[0].value = vec![0xff, 0];
    let store = store(&server.url(), &[]).await;
    let error = read(store.as_ref(), "bytes", None).await.unwrap_err();
    let text = "the value of secret \"bytes\" is no UTF-8 text";
    assert_eq!(error.to_string(), text);
    let all = store.bulk(&RequestMetadata::new()).await.unwrap();
    assert_eq!(all.keys().collect::<Vec<_>>(), ["text"]);
}

#[tokio::test]
async fn a_value_with_a_wrong_checksum_is_read_again_and_never_handed_out() {
    let server = FakeSecretManager::start(&[("db", "hunter2")]).await;
    server.state().secrets.get_mut("db").unwrap()[0].checksum = Some(1);
    let store = store(&server.url(), &[("maxRetries", "1")]).await;
    let error = read(store.as_ref(), "db", None).await.unwrap_err();
    let text = "secret \"db\" was damaged on its way: its checksum is wrong";
    assert_eq!(error.to_string(), text);
    assert_eq!(server.recorded().len(), 2);
}

#[tokio::test]
async fn names_the_role_that_is_missing() {
    let server = FakeSecretManager::start(&[("db", "hunter2")]).await;
    {
        let mut state = server.state();
        state.denied.insert("db".to_owned());
        state.no_list = true;
    }
    let store = store(&server.url(), &[]).await;
    let error = read(store.as_ref(), "db", None).await.unwrap_err();
    assert!(matches!(error, StoreError::Failed(_)), "{error:?}");
    assert_eq!(
        error.to_string(),
        "cannot read version \"latest\" of secret \"db\": the answer is 403 PERMISSION_DENIED; \
         grant roles/secretmanager.secretAccessor on it to the account of the component, if it is \
         there at all"
    );
    assert!(store.down_since().is_none(), "one secret is not the store");
    let error = store.bulk(&RequestMetadata::new()).await.unwrap_err();
    assert!(matches!(error, StoreError::ListForbidden(_)), "{error:?}");
    assert_eq!(
        error.to_string(),
        "cannot list the secrets of the project: the answer is 403 PERMISSION_DENIED; grant \
         roles/secretmanager.viewer on the project to the account of the component; or name what \
         the app may read in allowedSecrets of the Configuration, so that each is read by its name"
    );
    server.state().no_list = false;
    let error = store.bulk(&RequestMetadata::new()).await.unwrap_err();
    assert!(matches!(error, StoreError::Failed(_)), "{error:?}");
}

#[tokio::test]
async fn a_404_of_something_else_is_no_missing_secret() {
    let other = crate::testing::fake_app::FakeApp::answering(|_| {
        let page = http_body_util::Full::new(Bytes::from_static(b"<h1>hunter2</h1>"));
        Response::builder().status(404).body(page).unwrap()
    });
    let other = other.await;
    let store = store(&format!("http://{}", other.address()), &[]).await;
    let error = read(store.as_ref(), "db", None).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot read version \"latest\" of secret \"db\": the answer is 404, not from Secret \
         Manager as it seems"
    );
}

#[tokio::test]
async fn a_key_that_is_not_accepted_takes_the_store_down_until_it_is() {
    let server = FakeSecretManager::start(&[("db", "v")]).await;
    server.state().no_keys = true;
    let store = store(&server.url(), &[]).await;
    for asked in [1, 2] {
        let error = read(store.as_ref(), "db", None).await.unwrap_err();
        assert!(matches!(error, StoreError::Unauthenticated(_)), "{error:?}");
        assert_eq!(
            error.to_string(),
            "Secret Manager does not accept the credentials: the answer is 401 UNAUTHENTICATED"
        );
        assert!(store.down_since().is_some());
        assert_eq!(server.recorded().len(), asked, "one request a read");
    }
    server.state().no_keys = false;
    assert!(read(store.as_ref(), "db", None).await.unwrap().is_some());
    assert!(store.down_since().is_none());
}

#[tokio::test]
async fn reads_ten_thousand_secrets_in_pages() {
    let server = FakeSecretManager::start(&[]).await;
    let secrets = (0..10_000).map(|number| {
        let versions = vec![Version::enabled(format!("value {number}"))];
        (format!("secret-{number}"), versions)
    });
    server.state().secrets = secrets.collect();
    let store = store(&server.url(), &[("bulkTimeout", "5m")]).await;
    let all = store.bulk(&RequestMetadata::new()).await.unwrap();
    assert_eq!(all.len(), 10_000);
    assert_eq!(all["secret-9999"]["secret-9999"].expose(), "value 9999");
    let pages = server.recorded().into_iter();
    let pages = pages.filter(|request| request.uri.path().ends_with("/secrets"));
    assert_eq!(pages.count(), 10);
}

#[tokio::test]
async fn bulk_has_a_limit_in_the_list_too() {
    let server = FakeSecretManager::start(&[("db", "12345678901234567890")]).await;
    for limit in ["16", "70"] {
        let store = store(&server.url(), &[("maxBulkSize", limit)]).await;
        let answer = store.bulk(&RequestMetadata::new()).await;
        let answer = answer
            .map(|all| all.len())
            .map_err(|error| error.to_string());
        let text = "all its secrets together have more than 16 bytes (\"maxBulkSize\"); read them \
                    by name";
        let expected = if limit == "16" {
            Err(text.to_owned())
        } else {
            Ok(1)
        };
        assert_eq!(answer, expected, "{limit}");
    }
}

/// The store of a pod, which asks the metadata server for its tokens.
fn store_of_a_pod(server: &FakeSecretManager, settings: Settings) -> Guarded {
    crate::tls::install_provider();
    let url = server.url();
    let make: tokens::Make = Box::new(move || {
        let credentials = mds::Builder::default().with_endpoint(&url).build();
        Ok(credentials.unwrap())
    });
    let store = SecretManager {
        component: "store".to_owned(),
        settings,
        endpoint: server.url(),
        parent: "projects/shop".to_owned(),
        tokens: Tokens::new(make, settings.request_timeout),
        client: OnceCell::new(),
        told: Mutex::default(),
    };
    Guarded::new(Box::new(store), "store", settings)
}

#[tokio::test]
async fn a_token_that_ended_is_renewed_within_the_read() {
    let server = FakeSecretManager::start(&[("db", "v")]).await;
    let store = store_of_a_pod(&server, Settings::default());
    for issued in [1, 1, 2, 3] {
        if issued > 1 {
            server.state().tokens.clear();
        }
        let value = read(&store, "db", None).await.unwrap();
        assert_eq!(value.as_deref(), Some("v"));
        assert_eq!(server.state().issued, issued);
    }
    assert!(store.down_since().is_none());
}

#[tokio::test]
async fn a_right_that_comes_late_counts_without_a_restart() {
    let server = FakeSecretManager::start(&[("db", "v")]).await;
    let store = store_of_a_pod(&server, Settings::default());
    server.state().metadata_status = Some(403);
    for _ in 0..2 {
        let error = read(&store, "db", None).await.unwrap_err();
        assert!(matches!(error, StoreError::Unauthenticated(_)), "{error:?}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert!(store.down_since().is_some());
    }
    server.state().metadata_status = None;
    let value = read(&store, "db", None).await.unwrap();
    assert_eq!(value.as_deref(), Some("v"));
    assert!(store.down_since().is_none());
}

#[tokio::test]
async fn nothing_is_sent_before_the_first_read() {
    let server = FakeSecretManager::start(&[("db", "v")]).await;
    let store = store(&server.url(), &[]).await;
    assert!(server.recorded().is_empty());
    assert!(read(store.as_ref(), "db", None).await.unwrap().is_some());
    let asked = server.recorded();
    assert_eq!(asked.len(), 1, "the key itself makes the token");
    let [header] = asked[0].header("authorization")[..] else {
        panic!("one token");
    };
    assert!(header.starts_with("Bearer ey"));
}
