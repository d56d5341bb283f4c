//! What a SidecarPolicy from a file does.

use sidegate::resources::sidecar_policy::DefaultAccess;

use super::*;

/// A policy of that name with a `spec.secrets`.
fn policy(name: &str, secrets: &str) -> String {
    format!(
        "apiVersion: sidegate.dev/v1alpha1\nkind: SidecarPolicy\nmetadata: {{name: {name}}}\n\
         spec: {{secrets: {secrets}}}\n"
    )
}

fn named(config: &mut RegistryConfig) {
    config.policy = Some("strict".to_owned());
}

#[tokio::test]
async fn a_store_without_a_scope_is_closed_where_the_policy_denies() {
    let files = Files::new();
    files
        .file_store(r#"{"k": "1", "l": "2"}"#)
        .resource("policy.yaml", &policy("strict", "{defaultAccess: deny}"))
        .resource("unnamed.yaml", &policy("other", "{nonsense: true}"));
    let started = files.start_with(named).await;
    assert_eq!(started.value("file", "k").await, Err(Reason::SecretDenied));
    assert_eq!(started.bulk("file").await, Err(Reason::SecretDenied));
    // A scope decides by itself.
    files.write(
        "scopes.yaml",
        "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nspec:\n  secrets:\n    scopes:\n    \
         - {storeName: file, allowedSecrets: [k]}\n",
    );
    let configuration = files.path("scopes.yaml");
    let scoped = files
        .start_with(|config| {
            named(config);
            config.config_files.push(configuration);
        })
        .await;
    assert_eq!(scoped.value("file", "k").await.as_deref(), Ok("1"));
    assert_eq!(scoped.value("file", "l").await, Err(Reason::SecretDenied));
}

#[tokio::test]
async fn what_the_flag_denies_no_policy_allows() {
    let files = Files::new();
    files
        .file_store(r#"{"k": "1"}"#)
        .resource("policy.yaml", &policy("strict", "{defaultAccess: allow}"));
    for policy in [None, Some("strict".to_owned())] {
        let started = files
            .start_with(|config| {
                config.policy = policy;
                config.default_access = DefaultAccess::Deny;
            })
            .await;
        assert_eq!(started.value("file", "k").await, Err(Reason::SecretDenied));
    }
}

#[tokio::test]
async fn scopes_limit_components_where_the_policy_says_so() {
    let files = Files::new();
    files
        .file_store(r#"{"open": "A_", "closed": "B_"}"#)
        .resource("a.yaml", &env_store("a", "file", "open"))
        .resource("b.yaml", &env_store("b", "file", "closed"))
        .write(
            "scopes.yaml",
            &scopes("      - {storeName: file, deniedSecrets: [closed]}\n"),
        );
    let configuration = files.path("scopes.yaml");
    let scoped = |config: &mut RegistryConfig| {
        config.config_files.push(configuration);
        config.environment = [("A_K", "1"), ("B_K", "2")].into_iter().collect();
    };
    let started = files.start_with(scoped.clone()).await;
    assert_eq!(started.components(), ["a", "b", "file"]);
    files.resource(
        "policy.yaml",
        &policy("strict", "{scopesApplyToComponents: true}"),
    );
    let started = files
        .start_with(|config| {
            scoped(config);
            named(config);
        })
        .await;
    assert_eq!(started.components(), ["a", "file"]);
    assert_eq!(
        started.failures(),
        [
            "component \"b\", property \"prefix\": access denied by policy to secret \"closed\" of \
          secret store \"file\": the SidecarPolicy makes scopes count for components"
        ]
    );
}

#[tokio::test]
async fn a_policy_that_is_not_named_limits_nothing() {
    let files = Files::new();
    files
        .file_store(r#"{"k": "1"}"#)
        .resource("policy.yaml", &policy("strict", "{defaultAccess: deny}"));
    let started = files.start().await;
    assert_eq!(started.value("file", "k").await.as_deref(), Ok("1"));
}

#[tokio::test]
async fn a_named_policy_that_cannot_be_read_stops_the_start() {
    let files = Files::new();
    assert_eq!(
        files.refusal(named).await,
        "policy \"strict\" is not there: none of the resources is a SidecarPolicy \
         (sidegate.dev/v1alpha1) of that name"
    );
    files.resource("policy.yaml", &policy("strict", "{defaultAcces: deny}"));
    assert_eq!(
        files.refusal(named).await,
        "policy \"strict\" cannot be used: file \"DIR/resources/policy.yaml\", document 1: field \
         \"spec.secrets.defaultAcces\": unknown field \"defaultAcces\", expected one of \
         \"defaultAccess\", \"allowedNamespaces\", \"scopesApplyToComponents\", \"audit\"; did you \
         mean \"defaultAccess\"?"
    );
    files.resource("policy.yaml", &policy("strict", "{}"));
    files.resource("second.yaml", &policy("strict", "{}"));
    assert_eq!(
        files.refusal(named).await,
        "policy \"strict\" is there twice: file \"DIR/resources/policy.yaml\", document 1 and file \
         \"DIR/resources/second.yaml\", document 1"
    );
}

#[tokio::test]
async fn a_policy_of_another_namespace_is_not_ours() {
    let files = Files::new();
    let policy = policy("strict", "{}").replace("name: strict", "name: strict, namespace: theirs");
    files.resource("policy.yaml", &policy);
    let config = |config: &mut RegistryConfig| {
        named(config);
        config.namespace = Some("ours".to_owned());
    };
    assert!(files.refusal(config).await.contains("is not there"));
}

#[tokio::test]
async fn a_changed_policy_counts_at_once_and_a_broken_one_changes_nothing() {
    let files = Files::new();
    files
        .file_store(r#"{"k": "1"}"#)
        .resource("policy.yaml", &policy("strict", "{}"));
    let started = files.start_with(named).await;
    assert_eq!(started.value("file", "k").await.as_deref(), Ok("1"));
    files.resource("policy.yaml", &policy("strict", "{defaultAccess: deny}"));
    started
        .becomes("file", "k", Err(Reason::SecretDenied))
        .await;
    // Neither a broken policy nor none opens what was closed. The second store shows that the
    // change was seen.
    for (change, store) in [(Some("{defaultAccess: open}"), "second"), (None, "third")] {
        match change {
            Some(broken) => {
                files.resource("policy.yaml", &policy("strict", broken));
            }
            None => files.remove("resources/policy.yaml"),
        }
        let component = local_file(store, &files.path("secrets.json"), "");
        files.resource(&format!("{store}.yaml"), &component);
        started.becomes(store, "k", Err(Reason::SecretDenied)).await;
        assert_eq!(started.value("file", "k").await, Err(Reason::SecretDenied));
    }
    files.resource("policy.yaml", &policy("strict", "{defaultAccess: allow}"));
    started.becomes("file", "k", Ok("1")).await;
    started.becomes("third", "k", Ok("1")).await;
}
