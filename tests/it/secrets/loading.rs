//! From files to components: what loads, what waits and what stops the start.

use super::*;

#[tokio::test]
async fn ignore_errors_decides_whether_the_sidecar_starts() {
    let files = Files::new();
    let path = PathBuf::from("/no/such/file.json");
    files.resource("a.yaml", &local_file("broken", &path, ""));
    assert_eq!(
        files.refusal(|_| {}).await,
        "process component broken error: [INIT_COMPONENT_FAILURE]: initialization error occurred \
         for broken (secretstores.local.file/v1): cannot read secrets file \
         \"/no/such/file.json\": No such file or directory (os error 2)"
    );
    files.resource(
        "a.yaml",
        &local_file("broken", &path, "  ignoreErrors: true\n"),
    );
    files.file_store(r#"{"k": "v"}"#);
    let started = files.start().await;
    assert_eq!(started.components(), ["file"]);
    assert_eq!(started.failures().len(), 1);
}

#[tokio::test]
async fn refuses_types_that_do_not_exist() {
    for (component_type, expected) in [
        (
            "secretstores.nope",
            "[CREATE_COMPONENT_FAILURE]: initialization error occurred for x \
             (secretstores.nope/v1): couldn't find secret store secretstores.nope/v1; accepted are \
             secretstores.aws.parameterstore/v1, secretstores.aws.secretmanager/v1, \
             secretstores.aws.secretsmanager/v1, secretstores.azure.keyvault/v1, \
             secretstores.gcp.secretmanager/v1, secretstores.hashicorp.vault/v1, \
             secretstores.kubernetes/v1, secretstores.local.env/v1, secretstores.local.file/v1; \
             nor is there a pluggable component: there is no socket \
             /tmp/dapr-components-sockets/nope.sock",
        ),
        (
            "SecretStores.local.env",
            "[CREATE_COMPONENT_FAILURE]: initialization error occurred for x \
             (SecretStores.local.env/v1): incorrect type SecretStores.local.env; accepted are \
             types that begin with one of bindings., configuration., conversation., crypto., \
             lock., middleware., nameresolution., pubsub., secretstores., state., workflowbackend.",
        ),
    ] {
        let files = Files::new();
        files.resource("a.yaml", &component("x", component_type, ""));
        let expected = format!("process component x error: {expected}");
        assert_eq!(files.refusal(|_| {}).await, expected);
    }
}

#[tokio::test]
async fn a_component_of_a_category_that_is_not_served_does_not_stop_the_others() {
    let files = Files::new();
    files.file_store(r#"{"k": "v"}"#);
    files.resource("a.yaml", &component("keys", "crypto.dapr.jwks", ""));
    assert_eq!(files.start().await.components(), ["file"]);
}

#[tokio::test]
async fn refuses_two_components_of_one_name() {
    let files = Files::new();
    files.resource("a.yaml", &component("x", "secretstores.local.env", ""));
    // Even where the other one is scoped to another app.
    let scoped = component("x", "state.redis", "scopes: [other]");
    files.resource("b.yaml", &format!("---\n{scoped}"));
    assert_eq!(
        files.refusal(|_| {}).await,
        "failed to load components: duplicate definition of Component name x (state.redis/v1, in \
         file \"DIR/resources/b.yaml\", document 1) with existing x (secretstores.local.env/v1, in \
         file \"DIR/resources/a.yaml\", document 1)"
    );
}

#[tokio::test]
async fn namespace_and_scopes_choose_components() {
    let files = Files::new();
    let here = component("here", "secretstores.local.env", "");
    let there = here.replace("name: here", "name: there\n  namespace: elsewhere");
    let ours = component("ours", "secretstores.local.env", "scopes: [other, app]");
    let theirs = component("theirs", "secretstores.local.env", "scopes: [other]");
    let all = [here, there, ours, theirs].join("---\n");
    files.resource("all.yaml", &all);
    assert_eq!(files.start().await.components(), ["here", "ours", "there"]);
    let started = files
        .start_with(|config| config.namespace = Some("production".to_owned()))
        .await;
    assert_eq!(started.components(), ["here", "ours"]);
}

#[tokio::test]
async fn loads_documents_of_any_size_and_only_yaml_of_the_folder_itself() {
    let files = Files::new();
    let large = "x".repeat(200_000);
    let prefix = format!("  metadata:\n  - name: prefix\n    value: {large}\n");
    let store = component("large", "secretstores.local.env", &prefix);
    let other = "apiVersion: v1\nkind: ConfigMap\n";
    files.resource(
        "a.yaml",
        &format!("# comment\n---\n{other}---\n{store}---\n"),
    );
    files.resource("b.json", "{");
    std::fs::create_dir(files.path("resources/below")).unwrap();
    files.resource(
        "below/c.yaml",
        &component("c", "secretstores.local.env", ""),
    );
    assert_eq!(files.start().await.components(), ["large"]);
}

#[tokio::test]
async fn what_cannot_be_read_stops_the_start_with_file_document_and_field() {
    let good = component("good", "secretstores.local.env", "");
    let bad_name = component("a/b", "secretstores.local.env", "");
    let no_type = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: x}\nspec: {}\n";
    let late = component("x", "secretstores.local.env", "  initTimeout: soon\n");
    let no_name = component(
        "x",
        "secretstores.local.env",
        "  metadata:\n  - value: secret\n",
    );
    let tab = "kind: Component\nspec:\n\tpassword: hunter2\n";
    for (document, expected) in [
        (
            bad_name.as_str(),
            ": field \"metadata.name\": invalid name \"a/b\" for \"Component\": \
             may not contain '/'",
        ),
        (no_type, ": field \"spec\": missing field \"type\""),
        (
            &late,
            ": field \"spec.initTimeout\": \"soon\" is not a duration: accepted are numbers with \
             the units ns, us, ms, s, m, h, such as \"1m30s\"",
        ),
        (
            &no_name,
            ": field \"spec.metadata[0]\": missing field \"name\"",
        ),
        (
            tab,
            ", line 12: tabs disallowed within this context (block indentation)",
        ),
        ("[1]", ", line 9: the document is not a mapping"),
    ] {
        let files = Files::new();
        files.resource("a.yaml", &format!("{good}---\n{document}"));
        let expected = format!("file \"DIR/resources/a.yaml\", document 2{expected}");
        assert_eq!(files.refusal(|_| {}).await, expected);
    }
    let files = Files::new();
    let missing = files.path("missing");
    let refusal = files
        .refusal(|config| config.resource_paths.push(missing))
        .await;
    assert!(refusal.contains("\"DIR/missing\""), "{refusal}");
}

#[tokio::test]
async fn a_configuration_that_cannot_be_read_stops_the_start() {
    let files = Files::new();
    let scope = "    - storeName: s\n";
    let handler = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nspec:\n  httpPipeline:\n    \
                   handlers:\n    - name: h\n      kind: middleware.http.oauth2\n";
    for (text, expected) in [
        (
            scopes(&scope.repeat(2)),
            "file \"DIR/c.yaml\", document 1: field \"spec.secrets.scopes[1]\": s storeName is \
             repeated in secrets configuration",
        ),
        (
            scopes(&format!("{scope}      defaultAccess: maybe\n")),
            "file \"DIR/c.yaml\", document 1: field \"spec.secrets.scopes[0].defaultAccess\": \
             defaultAccess maybe can be either allow or deny",
        ),
        (
            scopes(&format!("{scope}      denySecrets: [a]\n")),
            "file \"DIR/c.yaml\", document 1: field \"spec.secrets.scopes[0].denySecrets\": \
             unknown field \"denySecrets\", expected one of \"storeName\", \"defaultAccess\", \
             \"allowedSecrets\", \"deniedSecrets\"; did you mean \"deniedSecrets\"?",
        ),
        (
            handler.to_owned(),
            "file \"DIR/c.yaml\", document 1: field \"spec.httpPipeline.handlers[0].kind\": \
             unknown field \"kind\", expected one of \"name\", \"type\", \"version\", \"selector\"",
        ),
        (
            "kind: Nothing\n".to_owned(),
            "file \"DIR/c.yaml\" holds no document of kind \"Configuration\" (dapr.io/v1alpha1)",
        ),
    ] {
        files.write("c.yaml", &text);
        let path = files.path("c.yaml");
        let refusal = files.refusal(|config| config.config_files.push(path)).await;
        assert_eq!(refusal, expected);
    }
    let missing = files.path("missing.yaml");
    assert_eq!(
        files
            .refusal(|config| config.config_files.push(missing))
            .await,
        "cannot read \"DIR/missing.yaml\": No such file or directory (os error 2)"
    );
    let with_control_plane = |config: &mut RegistryConfig| {
        config.is_kubernetes = true;
        config.reads_cluster = false;
        config.config_files = vec![PathBuf::from("appconfig")];
    };
    assert_eq!(
        files.refusal(with_control_plane).await,
        "configuration \"appconfig\" is not a file, and with --control-plane-address this build \
         reads none from the cluster; mount it and give its path to --config (annotation \
         \"dapr.io/config\")"
    );
}

#[tokio::test]
async fn without_a_service_account_only_what_is_named_is_missed() {
    let files = Files::new();
    files.file_store(r#"{"k": "1"}"#);
    let in_pod = |config: &mut RegistryConfig| config.is_kubernetes = true;
    let started = files.start_with(in_pod).await;
    assert_eq!(started.value("file", "k").await.as_deref(), Ok("1"));
    let account = "the pod's service account cannot be used (is automountServiceAccountToken false \
                   for the pod or its service account?): ";
    let refusal = files
        .refusal(|config| {
            in_pod(config);
            config.config_files = vec![PathBuf::from("appconfig")];
        })
        .await;
    let expected = format!("configuration \"appconfig\" cannot be read: {account}");
    assert!(refusal.starts_with(&expected), "{refusal}");
    let refusal = files
        .refusal(|config| {
            in_pod(config);
            config.policy = Some("strict".to_owned());
        })
        .await;
    let expected = format!("of that name; no resources are read from the cluster: {account}");
    assert!(refusal.contains(&expected), "{refusal}");
    let two = files
        .refusal(|config| {
            in_pod(config);
            config.config_files = vec![PathBuf::from("one"), PathBuf::from("two")];
        })
        .await;
    assert_eq!(
        two,
        "--config names two Configurations of the cluster, \"one\" and \"two\"; accepted are one, \
         and any number of files"
    );
}

#[tokio::test]
async fn references_are_read_from_stores_that_stand_after_their_users() {
    let files = Files::new();
    // Quotes and placeholders of a secret stay as they are.
    files.file_store(r#"{"p": "MY_", "odd": "\"{appID}\"_"}"#);
    let both = [env_store("a", "file", "p"), env_store("b", "file", "odd")];
    files.resource("a.yaml", &both.join("---\n"));
    let environment = [("MY_K", "1"), ("\"{appID}\"_K", "2")];
    let started = files
        .start_with(|config| config.environment = environment.into_iter().collect())
        .await;
    assert_eq!(started.components(), ["a", "b", "file"]);
    assert_eq!(started.value("a", "K").await.as_deref(), Ok("1"));
    assert_eq!(started.value("b", "K").await.as_deref(), Ok("2"));
}

#[tokio::test]
async fn a_reference_that_cannot_be_filled_in_keeps_only_its_component_out() {
    let env_ref = |variable: &str| {
        let metadata = format!("  metadata:\n  - name: prefix\n    envRef: {variable}\n");
        component("x", "secretstores.local.env", &metadata)
    };
    for (document, problem) in [
        (
            env_store("x", "file", "gone"),
            "secret store \"file\" has no secret \"gone\"",
        ),
        (
            env_store("x", "vault", "k"),
            "secret \"k\" is in secret store \"vault\", which is not loaded",
        ),
        (
            env_store("x", "''", "k"),
            "secretKeyRef \"k\" needs a secret store: name one in \"auth.secretStore\"",
        ),
        (
            env_store("x", "file", "k\n      key: other"),
            "secret \"k\" of secret store \"file\" has no key \"other\"",
        ),
        (
            env_ref("DAPR_API_TOKEN"),
            "envRef \"DAPR_API_TOKEN\" is not allowed: it is the sidecar's own",
        ),
        (
            env_ref("FOO_BAR"),
            "envRef \"FOO_BAR\" is not allowed: \"DAPR_ENV_KEYS\" does not list it",
        ),
        (env_ref("UNSET"), "envRef \"UNSET\" is not set"),
    ] {
        let files = Files::new();
        files
            .file_store(r#"{"k": "v"}"#)
            .resource("x.yaml", &document);
        let environment = [
            ("DAPR_ENV_KEYS", "FOO_BARBAZ UNSET FOO"),
            ("DAPR_API_TOKEN", "t"),
            ("FOO_BAR", "f"),
        ];
        let started = files
            .start_with(|config| config.environment = environment.into_iter().collect())
            .await;
        assert_eq!(started.components(), ["file"]);
        let expected = format!("component \"x\", property \"prefix\": {problem}");
        assert_eq!(started.failures(), [expected]);
        assert_eq!(
            started.get("x", "k").await,
            Err(Reason::SecretStoreNotFound)
        );
    }
}

#[tokio::test]
async fn names_the_stores_that_need_each_other() {
    let files = Files::new();
    let ring = [
        env_store("a", "b", "k"),
        env_store("b", "c", "k"),
        env_store("c", "b", "k"),
    ];
    files.resource("a.yaml", &ring.join("---\n"));
    assert_eq!(
        files.refusal(|_| {}).await,
        "failed to load components: secret stores need each other's secrets: b -> c -> b"
    );
}

#[tokio::test]
async fn placeholders_are_replaced_in_literals() {
    let files = Files::new();
    let prefix = "  metadata:\n  - name: prefix\n    value: '{namespace}|{podName}|{appID}|'\n";
    files.resource("a.yaml", &component("a", "secretstores.local.env", prefix));
    let environment = [("POD_NAME", "pod-1"), ("ns.app|pod-1|app|K", "v")];
    let started = files
        .start_with(|config| {
            config.environment = environment.into_iter().collect();
            config.namespace = Some("ns".to_owned());
        })
        .await;
    assert_eq!(started.value("a", "K").await.as_deref(), Ok("v"));
}
