//! Values that are encrypted with a key of a secret.

use super::*;

const KEY: &str = "000102030405060708090a0b0c0d0e0f";

/// A sidecar with a secret store and a store `s` of a type, whose key is `key`, in YAML.
async fn start(folder: TempDir, spec: &str, key: &str) -> World {
    let secrets = folder.path().join("secrets.json");
    std::fs::write(&secrets, format!(r#"{{"state-key": "{KEY}"}}"#)).unwrap();
    let components = format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: secrets}}\n\
         spec:\n  type: secretstores.local.file\n  version: v1\n  metadata:\n  \
         - {{name: secretsFile, value: '{}'}}\n\
         ---\n\
         apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: s}}\n\
         auth: {{secretStore: secrets}}\n\
         spec:\n  version: v1\n  ignoreErrors: true\n  {spec}\n  \
         - {{name: primaryEncryptionKey, {key}}}\n",
        secrets.display()
    );
    let resources = folder.path().join("resources");
    std::fs::create_dir(&resources).unwrap();
    std::fs::write(resources.join("all.yaml"), components).unwrap();
    let flag = format!("--resources-path={}", resources.display());
    World {
        sidecar: Running::start(&[&flag, "--enable-api-logging=false"], &[]).await,
        _folder: folder,
    }
}

const OF_SECRET: &str = "secretKeyRef: {name: state-key, key: state-key}";
const IN_MEMORY: &str = "type: state.in-memory\n  metadata:";

#[tokio::test]
async fn the_app_sees_what_it_saved() {
    let world = start(tempfile::tempdir().unwrap(), IN_MEMORY, OF_SECRET).await;
    for json in [r#"{"a": 1.0}"#, "\"text\"", "null", "0"] {
        world.save("k", json).await;
        assert_eq!(world.value("k").await.as_deref(), Some(json));
    }
    let etag = world.etag("k").await;
    let deleted = world
        .call("DELETE", "s/k", &[("if-match", &etag)], "")
        .await;
    assert_eq!(deleted.status(), 204);
    assert_eq!(world.value("k").await, None);
}

#[tokio::test]
async fn a_key_that_is_no_secret_is_refused() {
    let literal = format!("value: '{KEY}'");
    let world = start(tempfile::tempdir().unwrap(), IN_MEMORY, &literal).await;
    let answer = world.post("s", r#"[{"key": "k", "value": 1}]"#).await;
    let (status, code, _) = failure(&answer);
    let not_there = (400, "ERR_STATE_STORE_NOT_FOUND".to_owned());
    assert_eq!((status, code), not_there, "nothing is written as it is");
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn the_store_does_not_see_it() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("state.db");
    let path = database.display().to_string();
    let spec = format!(
        "type: state.sqlite\n  metadata:\n  - {{name: connectionString, value: '{path}'}}\n  \
         - {{name: disableWAL, value: 'true'}}"
    );
    let world = start(folder, &spec, OF_SECRET).await;
    world.save("k", "\"hunter2\"").await;
    assert_eq!(world.value("k").await.unwrap(), "\"hunter2\"");
    let bytes = std::fs::read(&database).unwrap();
    let has = |text: &[u8]| bytes.windows(text.len()).any(|part| part == text);
    assert!(has(b"||state-key"), "the name of the secret stands there");
    assert!(has(b"app||k"), "so does the key of the value");
    assert!(!has(b"hunter2"), "the value does not");
}
