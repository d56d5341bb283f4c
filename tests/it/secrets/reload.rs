//! What happens when files change.

use sidegate::testing::mounted_secret::MountedSecret;

use super::*;

#[tokio::test]
async fn reads_follow_the_secrets_file() {
    let files = Files::new();
    let started = files.file_store(r#"{"k": "1"}"#).start().await;
    started.becomes("file", "k", Ok("1")).await;
    files.write("secrets.json", r#"{"k": "2"}"#);
    started.becomes("file", "k", Ok("2")).await;
    // A broken edit changes nothing; the edit after it counts again.
    files.write("secrets.json", r#"{"k": "#);
    files.write("secrets.json", r#"{"k": "3", "new": "n"}"#);
    started.becomes("file", "new", Ok("n")).await;
    started.becomes("file", "k", Ok("3")).await;
    files.write("secrets.json", "{}");
    started
        .becomes("file", "k", Err(Reason::SecretNotFound))
        .await;
}

#[tokio::test]
async fn reads_follow_the_resources() {
    let files = Files::new();
    files.file_store(r#"{"k": "1"}"#);
    let started = files.start().await;
    // A store is added.
    files.write("second.json", r#"{"k": "2"}"#);
    let second = local_file("second", &files.path("second.json"), "");
    files.resource("second.yaml", &second);
    started.becomes("second", "k", Ok("2")).await;
    // It changes, without a moment in which it is not there.
    files.write("other.json", r#"{"k": "3"}"#);
    let changed = local_file("second", &files.path("other.json"), "");
    files.resource("second.yaml", &changed);
    started.becomes("second", "k", Ok("3")).await;
    // It gets another name.
    files.resource(
        "second.yaml",
        &changed.replace("name: second", "name: renamed"),
    );
    started.becomes("renamed", "k", Ok("3")).await;
    started
        .becomes("second", "k", Err(Reason::SecretStoreNotFound))
        .await;
    // It goes, and so does the last one.
    files.remove("resources/second.yaml");
    started
        .becomes("renamed", "k", Err(Reason::SecretStoreNotFound))
        .await;
    files.remove("resources/file.yaml");
    started
        .becomes("file", "k", Err(Reason::SecretStoresNotConfigured))
        .await;
    files.file_store(r#"{"k": "4"}"#);
    started.becomes("file", "k", Ok("4")).await;
}

#[tokio::test]
async fn a_bad_change_keeps_what_runs() {
    let files = Files::new();
    files.file_store(r#"{"k": "1"}"#);
    let started = files.start().await;
    let marker = |name: &str| component(name, "secretstores.local.env", "");
    let broken = local_file("file", Path::new("/no/such/file"), "");
    // Each change adds a store too, so that the test sees when it was taken over.
    for (change, name) in [
        (format!("{broken}---\n{}", marker("a")), "a"),
        (format!("{}---\nkind: [\n", marker("b")), "b"),
        (
            format!(
                "{}---\n{}",
                broken.replace("local.file", "nope"),
                marker("c")
            ),
            "c",
        ),
    ] {
        files.resource("file.yaml", &change);
        eventually(name, async || {
            started
                .components()
                .contains(&name.to_owned())
                .then_some(())
        })
        .await;
        assert_eq!(
            started.value("file", "k").await.as_deref(),
            Ok("1"),
            "{change}"
        );
    }
    let snapshot = started.registry.snapshot();
    assert!(snapshot.failed[0].keeps_running);
    assert_eq!(snapshot.failed[0].name, "file");
}

#[tokio::test]
async fn two_components_of_one_name_change_nothing_that_runs() {
    let files = Files::new();
    files.file_store(r#"{"k": "1"}"#);
    let started = files.start().await;
    let double = component("file", "secretstores.local.env", "");
    files.resource("double.yaml", &double);
    files.write("secrets.json", r#"{"k": "2"}"#);
    started.becomes("file", "k", Ok("2")).await;
    files.remove("resources/double.yaml");
    files.resource(
        "late.yaml",
        &component("late", "secretstores.local.env", ""),
    );
    eventually("late", async || {
        (started.components().len() == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_parked_component_starts_when_its_store_appears() {
    let files = Files::new();
    files.resource("a.yaml", &env_store("a", "file", "p"));
    let started = files
        .start_with(|config| config.environment = [("MY_K", "v")].into_iter().collect())
        .await;
    assert_eq!(started.components(), Vec::<String>::new());
    files.file_store(r#"{"p": "MY_"}"#);
    started.becomes("a", "K", Ok("v")).await;
    assert_eq!(started.failures(), Vec::<String>::new());
}

#[tokio::test]
async fn a_rotated_secret_reaches_the_components_that_refer_to_it() {
    let files = Files::new();
    files.file_store(r#"{"p": "A_"}"#);
    files.resource("a.yaml", &env_store("a", "file", "p"));
    let environment = [("A_K", "1"), ("B_K", "2")];
    let started = files
        .start_with(|config| config.environment = environment.into_iter().collect())
        .await;
    // Long before the interval, each time.
    for (secret, value) in [("A_", "1"), ("B_", "2"), ("A_", "1")] {
        files.write("secrets.json", &format!(r#"{{"p": "{secret}"}}"#));
        started.becomes("a", "K", Ok(value)).await;
    }
    // One that is gone leaves the component as it was.
    files.write("secrets.json", "{}");
    eventually("the reference fails", async || {
        (started.failures().len() == 1).then_some(())
    })
    .await;
    assert_eq!(started.value("a", "K").await.as_deref(), Ok("1"));
    assert!(started.registry.snapshot().failed[0].keeps_running);
    files.write("secrets.json", r#"{"p": "B_"}"#);
    started.becomes("a", "K", Ok("2")).await;
    assert_eq!(started.failures(), Vec::<String>::new());
}

#[tokio::test]
async fn stores_on_stores_follow_a_change_through() {
    let files = Files::new();
    files
        .file_store(r#"{"p": "first.json"}"#)
        .write("first.json", r#"{"p": "A_"}"#)
        .write("second.json", r#"{"p": "B_"}"#);
    let on = |path: &str| format!(r#"{{"p": "{}"}}"#, files.path(path).display());
    files.write("secrets.json", &on("first.json"));
    let middle = "  metadata:\n  - name: secretsFile\n    secretKeyRef:\n      name: p\n\
                  auth:\n  secretStore: file\n";
    files
        .resource(
            "m.yaml",
            &component("middle", "secretstores.local.file", middle),
        )
        .resource("a.yaml", &env_store("a", "middle", "p"));
    let environment = [("A_K", "1"), ("B_K", "2")];
    let started = files
        .start_with(|config| config.environment = environment.into_iter().collect())
        .await;
    assert_eq!(started.value("a", "K").await.as_deref(), Ok("1"));
    files.write("secrets.json", &on("second.json"));
    started.becomes("a", "K", Ok("2")).await;
    files.write("second.json", r#"{"p": "A_"}"#);
    started.becomes("a", "K", Ok("1")).await;
}

#[tokio::test]
async fn follows_every_swap_of_mounted_folders() {
    let mut secret = MountedSecret::new(&[("s.json", r#"{"k": "1"}"#)]);
    let store = |name: &str| local_file(name, &secret.file("s.json"), "");
    let manifests = ["first", "second", "third"].map(store);
    let mut resources = MountedSecret::new(&[("c.yaml", &manifests[0])]);
    let files = Files::new();
    let folder = resources.dir().to_owned();
    let started = files
        .start_with(|config| config.resource_paths = vec![folder])
        .await;
    started.becomes("first", "k", Ok("1")).await;
    for (name, manifest, value) in [
        ("second", &manifests[1], "2"),
        ("third", &manifests[2], "3"),
    ] {
        resources.swap(&[("c.yaml", manifest)]);
        eventually(name, async || {
            (started.components() == [name]).then_some(())
        })
        .await;
        secret.swap(&[("s.json", &format!(r#"{{"k": "{value}"}}"#))]);
        started.becomes(name, "k", Ok(value)).await;
    }
    assert_eq!(started.components(), ["third"]);
}
