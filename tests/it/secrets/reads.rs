//! What the API answers.

use super::*;

#[tokio::test]
async fn reads_a_secret_of_a_file() {
    let files = Files::new();
    let started = files.file_store(r#"{"k": "v"}"#).start().await;
    let secret = started.get("file", "k").await.unwrap();
    assert_eq!(secret, [("k".to_owned(), "v".to_owned())]);
    assert_eq!(started.components(), ["file"]);
    assert!(started.secrets.has_stores());
}

#[tokio::test]
async fn tells_the_reason_of_each_refusal() {
    let files = Files::new();
    let started = files.file_store(r#"{"k": "v"}"#).start().await;
    for (store, key, reason, message) in [
        (
            "file",
            "x",
            Reason::SecretNotFound,
            "failed getting secret with key x from secret store file: secret x not found",
        ),
        (
            "nope",
            "k",
            Reason::SecretStoreNotFound,
            "failed finding secret store with key nope",
        ),
        // Names are compared as they are.
        (
            "FILE",
            "k",
            Reason::SecretStoreNotFound,
            "failed finding secret store with key FILE",
        ),
    ] {
        assert_eq!(started.get(store, key).await, Err(reason));
        assert_eq!(started.message(store, key).await, message);
    }
    let none = Files::new();
    let started = none.start().await;
    assert_eq!(
        started.get("file", "k").await,
        Err(Reason::SecretStoresNotConfigured)
    );
    assert_eq!(
        started.bulk("file").await,
        Err(Reason::SecretStoresNotConfigured)
    );
    assert_eq!(
        started.message("file", "k").await,
        "secret store is not configured"
    );
    assert!(!started.secrets.has_stores());
}

#[tokio::test]
async fn a_store_that_could_not_start_is_misconfigured_not_missing() {
    let files = Files::new();
    let missing = files.path("missing.json");
    files.resource(
        "a.yaml",
        &local_file("broken", &missing, "  ignoreErrors: true\n"),
    );
    let started = files.start().await;
    assert_eq!(
        started.get("broken", "k").await,
        Err(Reason::SecretStoreNotFound)
    );
    assert_eq!(
        started.message("broken", "k").await,
        "failed finding secret store with key broken: it is defined, but could not be loaded"
    );
}

#[tokio::test]
async fn scopes_limit_single_reads_and_bulk() {
    let json = r#"{"a": "1", "b": "2", "c": "3"}"#;
    let cases = [
        ("", "abc"),
        ("      deniedSecrets: [a]\n", "bc"),
        (
            "      defaultAccess: deny\n      allowedSecrets: [b]\n",
            "b",
        ),
        (
            "      defaultAccess: Allow\n      allowedSecrets: [b, c]\n",
            "bc",
        ),
        // Dapr would allow `a` here.
        (
            "      allowedSecrets: [a, b]\n      deniedSecrets: [a]\n",
            "b",
        ),
        ("      defaultAccess: DENY\n", ""),
        ("      allowedSecrets: [elsewhere]\n", ""),
        ("      deniedSecrets: [a, b, c]\n", ""),
    ];
    for (scope, readable) in cases {
        let files = Files::new();
        files.write(
            "config.yaml",
            &scopes(&format!("    - storeName: file\n{scope}")),
        );
        let config_file = files.path("config.yaml");
        let started = files
            .file_store(json)
            .start_with(|config| config.config_files.push(config_file))
            .await;
        for key in ["a", "b", "c"] {
            let expected = if readable.contains(key) {
                Ok(())
            } else {
                Err(Reason::SecretDenied)
            };
            assert_eq!(
                started.get("file", key).await.map(|_| ()),
                expected,
                "{scope}{key}"
            );
        }
        let expected = if readable.is_empty() {
            Err(Reason::SecretDenied)
        } else {
            Ok(readable.chars().map(String::from).collect())
        };
        assert_eq!(started.bulk("file").await, expected, "{scope}");
    }
}

#[tokio::test]
async fn a_denial_says_which_secret_and_comes_before_the_fetch() {
    let files = Files::new();
    files.write(
        "c.yaml",
        &scopes("    - storeName: file\n      deniedSecrets: [gone]\n"),
    );
    let config_file = files.path("c.yaml");
    let started = files
        .file_store("{}")
        .start_with(|config| config.config_files.push(config_file))
        .await;
    assert_eq!(
        started.message("file", "gone").await,
        "access denied by policy to get \"gone\" from \"file\""
    );
    // An empty store has nothing that scopes could take away.
    assert_eq!(started.bulk("file").await, Ok(Vec::new()));
}

#[tokio::test]
async fn the_environment_is_a_store_without_the_sidecars_own() {
    let files = Files::new();
    let prefix = "  metadata:\n  - name: PREFIX\n    value: MY_\n";
    files
        .resource("all.yaml", &component("all", "secretstores.local.env", ""))
        .resource(
            "some.yml",
            &component("some", "secretstores.LOCAL.Env", prefix),
        )
        .resource(
            "sly.yaml",
            &component(
                "sly",
                "secretstores.local.env",
                "  metadata:\n  - name: prefix\n    value: DAPR_\n",
            ),
        );
    let environment = [
        ("MY_KEY", "v"),
        ("EMPTY", ""),
        ("DAPR_API_TOKEN", "t"),
        ("APP_API_TOKEN", "t"),
    ];
    let started = files
        .start_with(|config| config.environment = environment.into_iter().collect())
        .await;
    assert_eq!(started.value("all", "MY_KEY").await.as_deref(), Ok("v"));
    assert_eq!(started.value("all", "EMPTY").await.as_deref(), Ok(""));
    assert_eq!(started.value("some", "KEY").await.as_deref(), Ok("v"));
    assert_eq!(started.bulk("some").await.unwrap(), ["KEY"]);
    assert_eq!(started.bulk("all").await.unwrap(), ["EMPTY", "MY_KEY"]);
    assert_eq!(started.bulk("sly").await, Ok(Vec::new()));
    for (store, key) in [
        ("all", "UNSET"),
        ("all", "DAPR_API_TOKEN"),
        ("all", "APP_API_TOKEN"),
        ("sly", "API_TOKEN"),
        ("some", "MY_KEY"),
    ] {
        let answer = started.get(store, key).await;
        assert_eq!(answer, Err(Reason::SecretNotFound), "{store}/{key}");
    }
}

#[tokio::test]
async fn names_keep_their_odd_characters() {
    let files = Files::new();
    let started = files
        .file_store(r#"{"a/b": "1", "a b": "2", "a+b": "3", "ä😀\"": "4", "n": {"x": ["y"]}}"#)
        .start()
        .await;
    for (key, value) in [
        ("a/b", "1"),
        ("a b", "2"),
        ("a+b", "3"),
        ("ä😀\"", "4"),
        ("n:x:0", "y"),
    ] {
        assert_eq!(
            started.value("file", key).await.as_deref(),
            Ok(value),
            "{key}"
        );
    }
    assert_eq!(started.get("file", "n").await, Err(Reason::SecretNotFound));
}

#[tokio::test]
async fn multi_valued_secrets_have_several_keys() {
    let files = Files::new();
    files.write(
        "s.json",
        r#"{"db": {"user": "u", "n": {"port": 1.50}}, "plain": "p"}"#,
    );
    let rest = "  - name: multiValued\n    value: true\n  - name: nestedSeparator\n    value: .\n";
    files.resource("a.yaml", &local_file("multi", &files.path("s.json"), rest));
    let started = files.start().await;
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let expected = [pair("n.port", "1.50"), pair("user", "u")];
    assert_eq!(started.get("multi", "db").await.unwrap(), expected);
    assert_eq!(
        started.get("multi", "plain").await.unwrap(),
        [pair("plain", "p")]
    );
    let capabilities = started.registry.snapshot().components[0]
        .capabilities
        .clone();
    assert_eq!(capabilities, ["MULTIPLE_KEY_VALUES_PER_SECRET"]);
}

#[tokio::test]
async fn scopes_of_several_configurations_add_up() {
    let files = Files::new();
    files.file_store(r#"{"a": "1", "b": "2"}"#);
    files.write(
        "1.yaml",
        &scopes("    - storeName: file\n      deniedSecrets: [a]\n"),
    );
    files.write(
        "2.yaml",
        &scopes("    - storeName: other\n      defaultAccess: deny\n"),
    );
    files.write(
        "3.yaml",
        &scopes("    - storeName: file\n      deniedSecrets: [b]\n"),
    );
    let names = ["1.yaml", "2.yaml", "3.yaml"];
    let paths: Vec<_> = names.iter().map(|name| files.path(name)).collect();
    let two = paths[..2].to_vec();
    let started = files.start_with(|config| config.config_files = two).await;
    assert_eq!(started.get("file", "a").await, Err(Reason::SecretDenied));
    // The last word on a store replaces the earlier ones.
    let started = files.start_with(|config| config.config_files = paths).await;
    assert_eq!(started.value("file", "a").await.as_deref(), Ok("1"));
    assert_eq!(started.get("file", "b").await, Err(Reason::SecretDenied));
}
